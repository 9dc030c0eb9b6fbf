"""What the Snakefile asks: inputs, settings and targets of each rule. No science and no paths of its own (config/layout.py has them)."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from tokgraft import methods, resources, sources
from tokgraft.artifacts import canonical_json
from tokgraft.cells import CellList
from tokgraft.config import harness_files, layout
from tokgraft.config.language import Local
from tokgraft.config.model import LocalModel
from tokgraft.corpus.sources import SOURCES
from tokgraft.errors import ConfigError
from tokgraft.matrix import Matrix, claim, demand_own, file_of, load_matrix
from tokgraft.models.sources import MODEL_SOURCES
from tokgraft.places import Places, listing
from tokgraft.scoring.tasks import TASKS
from tokgraft.tokenizers.trainers import TRAINERS

# Where the experiment is read when none is named.
DEFAULT = Path("config/config.yaml")


def experiment_file(settings: Any) -> Path:
    """The file of the experiment that Snakemake was called with.

    Args:
        settings: Snakemake's `ConfigSettings`: `configfiles` of --configfile, `config` of --config.

    Raises:
        ConfigError: Several files, or single keys. An experiment is one file, so that its name stands for what was run.
    """
    if settings.config:
        keys = ", ".join(sorted(settings.config))
        raise ConfigError(
            f"an experiment is one file; --config would change {keys} of it", "write it into a copy of the file with a name of its own"
        )
    if len(settings.configfiles) > 1:
        named = ", ".join(map(str, settings.configfiles))
        raise ConfigError(f"an experiment is one file; --configfile names {len(settings.configfiles)}: {named}", "run one after the other")
    return _relative(Path(settings.configfiles[0])) if settings.configfiles else DEFAULT


class Workflow:
    """The experiment as the rules see it. Wildcards hold names in paths (`tokgraft.places`): slugs, some with a key.

    Args:
        experiment: File of the experiment, its slug, or a JSON text.
        root: The `config/` folder.

    Raises:
        ConfigError: The experiment, or a file that it names, is missing or wrong; its tables would replace those of another file.
    """

    def __init__(self, experiment: str | Path = DEFAULT, root: Path = Path("config")) -> None:
        self.matrix: Matrix = load_matrix(str(experiment), root)
        self.config = canonical_json(self.matrix.experiment.model_dump(mode="json"))
        self.name = self.matrix.experiment.name
        self.root = Path(root)
        self.at = Places(self.matrix)
        self.file = file_of(str(experiment), self.root)
        if self.file is not None:
            demand_own(self.file, self.name)
        # Asked for every cell by several rules, with the same answer.
        self._edges = cache(self._find_edges)

    def begin(self) -> None:
        """Called once a run starts: the tables of the experiment are those of its file from now on."""
        if self.file is not None:
            claim(self.file, self.name)

    # --- the artifacts a job reads: as rule inputs (manifests) and as flags (folders) --------------------------------

    def inputs(self, stage: str) -> Callable[[Any], dict[str, str]]:
        """Input function of a stage's rule: role -> manifest."""
        folders = getattr(self, f"_{stage}_folders")
        return lambda wildcards: {role: layout.manifest(folder) for role, folder in folders(Slugs(wildcards)).items()}

    def flags(self, stage: str) -> Callable[[Any], str]:
        """Params function of a stage's rule: the same artifacts as `--role folder`."""
        folders = getattr(self, f"_{stage}_folders")
        return lambda wildcards: shlex.join(word for edge in folders(Slugs(wildcards)).items() for word in _flag(*edge))

    def _corpus_folders(self, at: Slugs) -> dict[str, str]:
        # English first: other languages are aligned with it and split like it.
        return {} if at.language == layout.ENGLISH else {"english": self.at.corpus(layout.ENGLISH)}

    def _shards(self, at: Slugs) -> list[str]:
        count = self.matrix.languages[at.language].shards
        return [self.at.shard(at.language, number) for number in range(count)] if count > 1 else []

    def shards(self, wildcards: Any) -> list[str]:
        """Manifests of the shards that a corpus is merged from; none when one job makes it."""
        return list(map(layout.manifest, self._shards(Slugs(wildcards))))

    def shard_flags(self, wildcards: Any) -> str:
        """The same as a flag."""
        folders = self._shards(Slugs(wildcards))
        return shlex.join(["--shards", *folders]) if folders else ""

    def _tokenizer_folders(self, at: Slugs) -> dict[str, str]:
        found = self._texts(at)
        if not self.matrix.owns_tokenizer(at.model, at.language, at.tokenizer):
            found["base"] = self.at.base(at.model)
        return found | {f"learn_{slug}": self.at.corpus(slug) for slug in self.matrix.tokenizers[at.tokenizer].corpora}

    def _evaluation_folders(self, at: Slugs) -> dict[str, str]:
        read = {role: folder for role, folder in self._tokenizer_folders(at).items() if not role.startswith("learn_")}
        return {"tokenizer": self.at.tokenizer(at.model, at.language, at.tokenizer), **read}

    def _model_folders(self, at: Slugs) -> dict[str, str]:
        source = self.matrix.scratch.get(at.model)
        return {} if source is None else {"tokenizer": self.at.tokenizer(at.model, source.language, source.tokenizer)}

    def _pretrain_folders(self, at: Slugs) -> dict[str, str]:
        corpus = self.at.corpus(self.matrix.scratch[at.model].language)
        return {"model": self.at.untrained(at.model), "corpus": corpus, "english": self.at.corpus(layout.ENGLISH)}

    def _resource_folders(self, at: Slugs) -> dict[str, str]:
        makers: dict[str, Callable[[], str]] = {
            "corpus": lambda: self.at.corpus(at.language),
            "english": lambda: self.at.corpus(layout.ENGLISH),
            "tokenizer": lambda: self.at.tokenizer(at.model, at.language, at.tokenizer),
            "base": lambda: self.at.base(at.model),
        }  # of `ANY` there is neither, and none is needed
        return {need: makers[need]() for need in sorted(resources.needs(self.matrix.resource(at.resource)[0]))}

    def _transplant_folders(self, at: Slugs) -> dict[str, str]:
        place = (at.model, at.language, at.tokenizer)
        required = {f"resource_{role}": folder for role, folder in self.at.required(at.method, *place).items()}
        return {"model": self.at.base(at.model), "tokenizer": self.at.tokenizer(*place), "corpus": self.at.corpus(at.language), **required}

    def _train_folders(self, at: Slugs) -> dict[str, str]:
        return {"model": self._adapted(at, layout.INIT), **self._texts(at)}

    def _score_folders(self, at: Slugs) -> dict[str, str]:
        return {"model": self._adapted(at, at.stage), **self._texts(at)}

    def _speed_folders(self, at: Slugs) -> dict[str, str]:
        tokenizer = self.at.tokenizer(at.model, at.language, at.tokenizer)
        return {"base": self.at.base(at.model), "tokenizer": tokenizer, "corpus": self.at.corpus(at.language)}

    def _adapted(self, at: Slugs, stage: str) -> str:
        return self.at.adapted(at.model, at.language, at.tokenizer, at.method, at.seed, stage)

    def _texts(self, at: Slugs) -> dict[str, str]:
        return {"corpus": self.at.corpus(at.language), "english": self.at.corpus(layout.ENGLISH)}

    def local_texts(self, wildcards: Any) -> list[str]:
        """The user's own files that a corpus is made from: when their content changes, so does the corpus."""
        sources = self.matrix.languages[Slugs(wildcards).language].sources
        return [file for source in sources if isinstance(source, Local) for file in _files(Path(source.path))]

    def local_weights(self, wildcards: Any) -> list[str]:
        """The user's own model files."""
        source = self.matrix.models[Slugs(wildcards).model].source
        return _files(Path(source.path)) if isinstance(source, LocalModel) else []

    # --- source code: a change of it reruns the stage ------------------------------------------------------------------

    def code(self, stage: str) -> Callable[[Any], str]:
        """Params function of a stage's rule: hash of the source files that decide what the job writes."""
        parts: Callable[[Slugs], list[str]] = getattr(self, f"_{stage}_parts", lambda at: [])
        more: Callable[[Slugs], list[Path]] = getattr(self, f"_{stage}_files", lambda at: [])
        return lambda wildcards: sources.digest(stage, parts(Slugs(wildcards)), more(Slugs(wildcards)))

    def _score_files(self, at: Slugs) -> list[Path]:
        # What the harness reads: the tasks' templates, which are configuration, and task files of the user's own; with all that these name.
        own = [name for task in self._tasks(at) for name in self.matrix.task(task, at.language).own_files]
        read = [*sorted((self.root / "lm_eval").glob("*.yaml")), *map(Path, own)]
        return list(dict.fromkeys(file for path in read for file in harness_files.files(path)))

    def _corpus_parts(self, at: Slugs) -> list[str]:
        return [SOURCES.module(source.kind) for source in self.matrix.languages[at.language].sources]

    def _tokenizer_parts(self, at: Slugs) -> list[str]:
        return [TRAINERS.module(self.matrix.tokenizers[at.tokenizer].trainer)]

    def _model_parts(self, at: Slugs) -> list[str]:
        return [MODEL_SOURCES.module(self.matrix.models[at.model].source.kind)]

    def _resource_parts(self, at: Slugs) -> list[str]:
        return [resources.module(self.matrix.resource(at.resource)[0])]

    def _transplant_parts(self, at: Slugs) -> list[str]:
        return self._chain_parts(at.method)

    def _cells_parts(self, at: Slugs) -> list[str]:
        # What a method requires decides where its artifacts lie.
        return [part for name in {cell.method for cell in self.matrix.cells} for part in self._chain_parts(name)]

    def _check_parts(self, at: Slugs) -> list[str]:
        # It also says what could not be published.
        return ["tokgraft.tracking.record"]

    def _chain_parts(self, name: str) -> list[str]:
        chain = self.matrix.method(name)[0]
        return [*methods.modules(chain), *map(resources.module, methods.requirements(chain))]

    def _score_parts(self, at: Slugs) -> list[str]:
        return [TASKS.module(self.matrix.task_files[name].builder) for name in self._tasks(at)]

    # --- settings: one canonical JSON text a job --------------------------------------------------------------------

    def corpus_settings(self, wildcards: Any) -> str:
        """Settings of the corpus stage."""
        return canonical_json(self.matrix.corpus_settings(Slugs(wildcards).language).canonical())

    def tokenizer_settings(self, wildcards: Any) -> str:
        """The tokenizer recipe."""
        return canonical_json(self.matrix.tokenizers[Slugs(wildcards).tokenizer].canonical())

    def evaluation_settings(self, wildcards: Any) -> str:
        """How tokenizers are evaluated."""
        return canonical_json(self.matrix.evaluation(Slugs(wildcards).language).canonical())

    def evaluation_files(self, wildcards: Any) -> list[str]:
        """The user's own word lists and texts that tokenizers are evaluated with."""
        return [file for path in self.matrix.evaluation(Slugs(wildcards).language).files() for file in _files(Path(path))]

    def model_settings(self, wildcards: Any) -> str:
        """The base model's configuration."""
        return canonical_json(self.matrix.models[Slugs(wildcards).model].canonical())

    def scratch_recipe(self, wildcards: Any) -> str:
        """The recipe that pretrains a scratch model."""
        return canonical_json(self.matrix.recipes[self.matrix.scratch[Slugs(wildcards).model].recipe].canonical())

    def resource_settings(self, wildcards: Any) -> str:
        """Parameters of the resource."""
        return canonical_json(self.matrix.resource(Slugs(wildcards).resource)[1])

    def resource_name(self, wildcards: Any) -> str:
        """The registered resource behind the name in the path."""
        return self.matrix.resource(Slugs(wildcards).resource)[0]

    def method_chain(self, wildcards: Any) -> str:
        """The registered chain behind the method's name."""
        return self.matrix.method(Slugs(wildcards).method)[0]

    def method_settings(self, wildcards: Any) -> str:
        """Parameters of the method."""
        return canonical_json(self.matrix.method(Slugs(wildcards).method)[1])

    def method_overrides(self, wildcards: Any) -> str:
        """Rows of single tokens that the method gets set, as flags."""
        given = self.matrix.overrides(Slugs(wildcards).method)
        return shlex.join(f"--override={token}={how}" for token, how in sorted(given.items()))

    def recipe_settings(self, wildcards: Any) -> str:
        """The training recipe."""
        return canonical_json(self.matrix.recipes[wildcards.recipe].canonical())

    def task_settings(self, wildcards: Any) -> str:
        """Every task that the model is scored on."""
        at = Slugs(wildcards)
        tasks = {name: self.matrix.task(name, at.language).canonical() for name in self._tasks(at)}
        for settings in tasks.values():  # a path below this folder is the same in every checkout
            settings["names"] = [str(_relative(Path(name))) for name in settings["names"]]
        return canonical_json(tasks)

    def _tasks(self, at: Slugs) -> list[str]:
        return self.matrix.tasks(at.model, at.language, at.tokenizer, at.method, int(at.seed), at.stage)

    # --- targets and wildcards --------------------------------------------------------------------------------------

    def finished(self, wildcards: Any = None) -> list[str]:
        """What tables and tracking wait for: every cell scored before and (unless it is zero-shot) after training, its tokenizer, evaluations, speed.

        An input function, so that a job on a cluster, which reads the rules anew, does not list every cell.
        """
        speed = self.edges("speed") if self.matrix.experiment.speed else []
        return [*self.edges("score_init", "score_trained", "tokenizer"), *self.evaluations_wanted(), *speed]

    def evaluations(self, wildcards: Any = None) -> list[str]:
        """Evaluations of every tokenizer of the matrix."""
        return self.edges("evaluation")

    def evaluations_wanted(self, wildcards: Any = None) -> list[str]:
        """The same if the experiment asks for them."""
        return self.evaluations() if self.matrix.experiment.tokenizer_evaluation is not None else []

    def cells(self) -> CellList:
        """The cells of the experiment, with their folders."""
        return CellList.model_validate(listing(self.matrix))

    def edges(self, *parts: str) -> list[str]:
        """Manifests of the named artifacts of every cell ("corpus", "init", "score_trained", ...)."""
        return self._edges(parts)

    @cached_property
    def _paths(self) -> list[dict[str, str]]:
        return [self.at.cell(cell) for cell in self.matrix.cells]

    def _find_edges(self, parts: tuple[str, ...]) -> list[str]:
        folders = {paths[part] for paths in self._paths for part in parts if part in paths}
        return sorted(map(layout.manifest, folders))

    # Wildcards match the names in paths of this experiment, so that no job can write in the place of another experiment's artifact.

    def languages(self) -> str:
        """Regular expression of the languages, with their key."""
        return _any_of(map(self.at.language, self.matrix.languages))

    def models(self, scratch: bool | None = None) -> str:
        """Regular expression of the base models: those that the pipeline trains itself, the others, or both."""
        names = [name for name in self.matrix.models if scratch in (None, name in self.matrix.scratch)]
        return _any_of(map(self.at.model, names))

    def tokenizers(self) -> str:
        """Regular expression of the tokenizer recipes."""
        return _any_of(self.matrix.tokenizers)

    def evaluated(self) -> str:
        """Regular expression of the tokenizer recipes in the paths of their evaluations."""
        return _any_of(Path(paths["evaluation"]).name for paths in self._paths)

    def methods(self) -> str:
        """Regular expression of the methods, with their keys."""
        return _any_of(map(self.at.method, {cell.method for cell in self.matrix.cells}))

    def resources(self) -> str:
        """Regular expression of the resources, with their keys."""
        return _any_of(layout.parts(folder)[1] for folder in self._required())

    def _required(self) -> set[str]:
        places = {(cell.method, cell.model, cell.language, cell.tokenizer) for cell in self.matrix.cells}
        return {folder for place in places for folder in self.at.required(*place).values()}

    def recipes(self) -> str:
        """Regular expression of the training recipes."""
        return _any_of(self.matrix.recipes)

    def stages(self) -> str:
        """Regular expression of what is scored: the transplanted model and what each recipe makes of it, with a key for the tasks."""
        return _any_of(Path(paths[role]).name for paths in self._paths for role in ("score_init", "score_trained") if role in paths)


class Slugs:
    """The slugs in a job's wildcards: the names in its path without their keys."""

    def __init__(self, wildcards: Any) -> None:
        self._wildcards = wildcards

    def __getattr__(self, name: str) -> str:
        return layout.plain(str(getattr(self._wildcards, name)))


def _any_of(names: Iterable[str]) -> str:
    """Regular expression of some names, longest first; of none: one that nothing matches."""
    return "|".join(sorted(map(re.escape, set(names)), key=lambda name: (-len(name), name))) or "(?!)"


def _flag(role: str, folder: str) -> tuple[str, str]:
    for flag in ("resource", "learn"):  # roles that a job has several of
        if (name := role.removeprefix(f"{flag}_")) != role:
            return f"--{flag}", f"{name}={folder}"
    return f"--{role}", folder


def _files(path: Path) -> list[str]:
    return [str(path)] if path.is_file() else sorted(str(file) for file in path.rglob("*") if file.is_file())


def _relative(path: Path) -> Path:
    """The path from where the run started, if it lies below; for messages."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
