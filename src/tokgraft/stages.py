"""The stages of the pipeline. Each is one record: what a job of it reads, its settings, what it writes, and which code decides that.

A rule takes them from the record by the stage's name (`tokgraft.workflow`). No science, and no paths: config/layout.py has them.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tokgraft import methods, resources, sources
from tokgraft.artifacts import canonical_json
from tokgraft.config import harness_files, layout
from tokgraft.config.language import Local
from tokgraft.config.model import LocalModel
from tokgraft.corpus.sources import SOURCES
from tokgraft.models.sources import MODEL_SOURCES
from tokgraft.places import Places
from tokgraft.scoring.tasks import TASKS
from tokgraft.tokenizers.trainers import TRAINERS
from tokgraft.training.objectives import OBJECTIVES


class Job:
    """One job of a stage: the experiment, and as attributes the slugs in the job's path (`job.language`), without their keys.

    Args:
        places: Where the artifacts of the experiment live.
        wildcards: Snakemake's wildcards: names in paths.
    """

    def __init__(self, places: Places, wildcards: Any) -> None:
        self.places, self.matrix, self._wildcards = places, places.matrix, wildcards

    def __getattr__(self, wildcard: str) -> str:
        return layout.plain(str(getattr(self._wildcards, wildcard)))

    def folders(self, *artifacts: str) -> dict[str, str]:
        """Folders of artifacts (`base`, `corpus`, `english`, `tokenizer`) for the job's model, language and tokenizer."""
        return {name: _FOLDERS[name](self) for name in artifacts}

    def adapted(self, stage: str) -> str:
        """Folder of the job's model after the transplant (`init`) or after training by a recipe."""
        return self.places.adapted(self.model, self.language, self.tokenizer, self.method, self.seed, stage)

    def tasks(self) -> list[str]:
        """Slugs of the tasks that the job's model is scored on."""
        return self.matrix.tasks(self.model, self.language, self.tokenizer, self.method, int(self.seed), self.stage)


_FOLDERS: dict[str, Callable[[Job], str]] = {
    "base": lambda job: job.places.base(job.model),
    "corpus": lambda job: job.places.corpus(job.language),
    "english": lambda job: job.places.corpus(layout.ENGLISH),
    "tokenizer": lambda job: job.places.tokenizer(job.model, job.language, job.tokenizer),
}


@dataclass(frozen=True)
class Stage:
    """A stage of the pipeline. Its functions take one of its jobs.

    Attributes:
        name: What rules call it.
        entry: Module whose function its command calls (below `tokgraft`).
        output: File that stands for what it writes, with wildcards: the manifest of an artifact, or a file of the `{experiment}`.
        reads: Role -> folder of each artifact that it reads.
        settings: What its command is told, as a JSON value.
        files: Input of the rule -> files without a role: the user's own, and manifests of any number of shards.
        params: Further parameters of the rule.
        parts: Modules of the registered parts that it runs; with `entry`, they decide which source files count.
        templates: Files outside the package that decide what it writes, as source files do.
    """

    name: str
    entry: str
    output: str
    reads: Callable[[Job], dict[str, str]] | None = None
    settings: Callable[[Job], Any] | None = None
    files: Mapping[str, Callable[[Job], list[str]]] = field(default_factory=dict)
    params: Mapping[str, Callable[[Job], str]] = field(default_factory=dict)
    parts: Callable[[Job], Iterable[str]] = lambda job: ()
    templates: Callable[[Job], Iterable[Path]] = lambda job: ()

    def inputs(self, job: Job) -> dict[str, str | list[str]]:
        """Inputs of the rule: the manifests of what a job reads, and its files."""
        folders = self.reads(job) if self.reads else {}
        manifests = {role: layout.manifest(folder) for role, folder in folders.items()}
        return {**manifests, **{name: files(job) for name, files in self.files.items()}}

    def parameters(self) -> dict[str, Callable[[Job], str]]:
        """Parameters of the rule: `code`, a hash of the source files that decide what a job writes; `flags`, what it reads as `--role folder`;
        `settings`, a JSON text; and further ones.
        """
        reads, settings = self.reads, self.settings
        found: dict[str, Callable[[Job], str]] = {"code": lambda job: sources.digest(self.entry, self.parts(job), self.templates(job))}
        if reads:
            found["flags"] = lambda job: shlex.join(word for edge in reads(job).items() for word in _flag(*edge))
        if settings:
            found["settings"] = lambda job: canonical_json(settings(job))
        return found | dict(self.params)


def _flag(role: str, folder: str) -> tuple[str, str]:
    flag, _, name = role.partition("_")
    several = flag in ("resource", "learn")  # of these a job may have more than one: learn_deu_Latn, learn_nld_Latn
    return (f"--{flag}", f"{name}={folder}") if several else (f"--{role}", folder)


def _files(paths: Iterable[str]) -> list[str]:
    """Files, and the files in folders."""
    found = []
    for path in map(Path, paths):
        found += [str(path)] if path.is_file() else sorted(str(file) for file in path.rglob("*") if file.is_file())
    return found


def _texts(job: Job) -> list[str]:
    """The user's own files that a corpus is made from: when their content changes, so does the corpus."""
    return _files(source.path for source in job.matrix.languages[job.language].sources if isinstance(source, Local))


def _shards(job: Job) -> list[str]:
    """Folders of the shards that a corpus is merged from; none when one job makes it."""
    count = job.matrix.languages[job.language].shards
    return [job.places.shard(job.language, number) for number in range(count)] if count > 1 else []


def _measured(job: Job) -> dict[str, str]:
    """What a tokenizer is measured on, and the base that it is measured beside, unless that is built on it."""
    owned = job.matrix.owns_tokenizer(job.model, job.language, job.tokenizer)
    return job.folders("corpus", "english", *([] if owned else ["base"]))


def _own_tokenizer(job: Job) -> dict[str, str]:
    """The tokenizer that a base model is made for, where the pipeline trains it."""
    source = job.matrix.scratch[job.model]
    return {"tokenizer": job.places.tokenizer(job.model, source.language, source.tokenizer)}


def _weights(job: Job) -> list[str]:
    """The user's own model files."""
    source = job.matrix.models[job.model].source
    return _files([source.path]) if isinstance(source, LocalModel) else []


def _required(job: Job) -> dict[str, str]:
    """Resources that the method requires."""
    folders = job.places.required(job.method, job.model, job.language, job.tokenizer)
    return {f"resource_{name}": folder for name, folder in folders.items()}


def _overrides(job: Job) -> str:
    """Rows of single tokens that the method gets set, as flags."""
    given = job.matrix.overrides(job.method)
    return shlex.join(f"--override={token}={how}" for token, how in sorted(given.items()))


def _chain_parts(chain: str) -> list[str]:
    """Modules of the methods of a chain, and of the resources that they require."""
    parsed = methods.parse(chain)
    return [*parsed.modules, *map(resources.module, parsed.requires)]


def _task_settings(job: Job) -> dict[str, Any]:
    """Every task that the model is scored on."""
    tasks = {name: job.matrix.task(name, job.language).canonical() for name in job.tasks()}
    for settings in tasks.values():  # a path below this folder is the same in every checkout
        settings["names"] = [str(relative(Path(name))) for name in settings["names"]]
    return tasks


def _harness_files(job: Job) -> Iterable[Path]:
    """What the harness reads: the tasks' templates, which are configuration, and task files of the user's own; with all that these name."""
    own = [name for task in job.tasks() for name in job.matrix.task(task, job.language).own_files]
    read = [*sorted((job.matrix.root / "lm_eval").glob("*.yaml")), *map(Path, own)]
    return dict.fromkeys(file for path in read for file in harness_files.files(path))


def _objectives(job: Job, recipe: str) -> list[str]:
    """Modules of the objectives that a training recipe names."""
    return [OBJECTIVES.module(stage.objective) for stage in job.matrix.recipes[recipe].stages]


def relative(path: Path) -> Path:
    """The path from where the run started, if it lies below."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


# --- the stages, in the order of the pipeline -------------------------------------------------------------------------

_CELL = ("{model}", "{language}", "{tokenizer}", "{method}", "{seed}")
SHARD = Stage(
    "shard",
    entry="corpus.build",
    output=layout.manifest(layout.shard("{language}", "{shard}")),
    # English first: other languages are aligned with it and split like it.
    reads=lambda job: {} if job.language == layout.ENGLISH else job.folders("english"),
    settings=lambda job: job.matrix.corpus_settings(job.language).canonical(),
    files={"texts": _texts},
    parts=lambda job: (SOURCES.module(source.kind) for source in job.matrix.languages[job.language].sources),
)
CORPUS = replace(
    SHARD,
    name="corpus",
    output=layout.manifest(layout.corpus("{language}")),
    files={"texts": _texts, "shards": lambda job: list(map(layout.manifest, _shards(job)))},
    params={"shards": lambda job: shlex.join(["--shards", *folders]) if (folders := _shards(job)) else ""},
)
TOKENIZER = Stage(
    "tokenizer",
    entry="tokenizers.build",
    output=layout.manifest(layout.tokenizer("{model}", "{language}", "{tokenizer}")),
    # A recipe for several languages learns from their corpora.
    reads=lambda job: _measured(job) | {f"learn_{slug}": job.places.corpus(slug) for slug in job.matrix.tokenizers[job.tokenizer].corpora},
    settings=lambda job: job.matrix.tokenizers[job.tokenizer].canonical(),
    parts=lambda job: [TRAINERS.module(job.matrix.tokenizers[job.tokenizer].trainer)],
)
EVALUATION = Stage(
    "evaluation",
    entry="intrinsic.build",
    output=layout.manifest(layout.evaluation("{model}", "{language}", "{tokenizer}")),
    reads=lambda job: job.folders("tokenizer") | _measured(job),
    settings=lambda job: job.matrix.evaluation(job.language).canonical(),
    files={"files": lambda job: _files(job.matrix.evaluation(job.language).files())},
)
MODEL = Stage(
    "model",
    entry="models.build",
    output=layout.manifest(layout.base("{model}")),
    settings=lambda job: job.matrix.models[job.model].canonical(),
    files={"files": _weights},
    parts=lambda job: [MODEL_SOURCES.module(job.matrix.models[job.model].source.kind)],
)
UNTRAINED = replace(MODEL, name="untrained", output=layout.manifest(layout.untrained("{model}")), reads=_own_tokenizer, files={})
PRETRAIN = Stage(
    "pretrain",
    entry="training.run",
    output=layout.manifest(layout.base("{model}")),
    reads=lambda job: {
        "model": job.places.untrained(job.model),
        "corpus": job.places.corpus(job.matrix.scratch[job.model].language),
        **job.folders("english"),
    },
    settings=lambda job: job.matrix.recipes[job.matrix.scratch[job.model].recipe].canonical(),
    parts=lambda job: _objectives(job, job.matrix.scratch[job.model].recipe),
)
RESOURCE = Stage(
    "resource",
    entry="resources",
    output=layout.manifest(layout.resource("{resource}", "{model}", "{language}", "{tokenizer}")),
    reads=lambda job: job.folders(*sorted(resources.needs(job.matrix.resource(job.resource)[0]))),
    settings=lambda job: job.matrix.resource(job.resource)[1],
    params={"name": lambda job: job.matrix.resource(job.resource)[0]},
    parts=lambda job: [resources.module(job.matrix.resource(job.resource)[0])],
)
TRANSPLANT = Stage(
    "transplant",
    entry="transplant",
    output=layout.manifest(layout.adapted(*_CELL, layout.INIT)),
    reads=lambda job: {"model": job.places.base(job.model), **job.folders("tokenizer", "corpus"), **_required(job)},
    settings=lambda job: job.matrix.method(job.method)[1],
    params={"chain": lambda job: job.matrix.method(job.method)[0], "overrides": _overrides},
    parts=lambda job: _chain_parts(job.matrix.method(job.method)[0]),
)
TRAIN = Stage(
    "train",
    entry="training.run",
    output=layout.manifest(layout.adapted(*_CELL, "{recipe}")),
    reads=lambda job: {"model": job.adapted(layout.INIT), **job.folders("corpus", "english")},
    settings=lambda job: job.matrix.recipes[job.recipe].canonical(),
    parts=lambda job: _objectives(job, job.recipe),
)
SCORE = Stage(
    "score",
    entry="scoring.run",
    output=layout.manifest(layout.scores(*_CELL, "{stage}")),
    reads=lambda job: {"model": job.adapted(job.stage), **job.folders("corpus", "english")},
    settings=_task_settings,
    parts=lambda job: (TASKS.module(job.matrix.task_files[name].builder) for name in job.tasks()),
    templates=_harness_files,
)
SPEED = Stage(
    "speed",
    entry="scoring.timing",
    output=layout.manifest(layout.speed("{model}", "{language}", "{tokenizer}")),
    reads=lambda job: job.folders("base", "tokenizer", "corpus"),
)
CELLS = Stage(
    "cells",
    entry="places",
    output=layout.cells("{experiment}"),
    settings=lambda job: job.matrix.experiment.model_dump(mode="json"),
    # What a method requires decides where its artifacts lie.
    parts=lambda job: (part for name in {cell.method for cell in job.matrix.cells} for part in _chain_parts(job.matrix.method(name)[0])),
)
# It also says what could not be published.
CHECK = Stage("check", entry="reporting.checks", output=layout.checked("{experiment}"), parts=lambda job: ["tokgraft.tracking.record"])
REPORT = Stage("report", entry="reporting.build", output=layout.manifest(layout.tables("{experiment}")))
PUBLISH = Stage("publish", entry="tracking.publishing", output=layout.published("{experiment}"))

SHARED = (SHARD, CORPUS, TOKENIZER, EVALUATION, MODEL, UNTRAINED, PRETRAIN, RESOURCE, TRANSPLANT, TRAIN, SCORE, SPEED)  # by all experiments
VIEWS = (CELLS, CHECK, REPORT, PUBLISH)  # of finished artifacts, for one experiment
STAGES: dict[str, Stage] = {stage.name: stage for stage in SHARED + VIEWS}
