"""What the Snakefile asks: inputs, settings and targets of each rule. No science and no paths of its own (config/layout.py has them)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from tokgraft import methods, resources
from tokgraft.artifacts import canonical_json
from tokgraft.config import layout
from tokgraft.config.base import slugs
from tokgraft.config.evaluation import TokenizerEvaluation
from tokgraft.config.language import Local
from tokgraft.config.matrix import Matrix, load_matrix
from tokgraft.config.model import LocalModel
from tokgraft.errors import ConfigError, unknown

PACKAGE = Path(__file__).parent

# Loading, checking and saving model folders.
MODEL_IO = ["models/io.py", "models/checks.py", "models/tables.py"]

# What a method that runs the base model depends on beside these.
FORWARD = ["models/states.py", "models/bits.py"]

# The source files that decide what a stage writes: a change of their content reruns the stage.
SOURCES = {
    "corpus": ["corpus/**/*.py"],
    "tokenizer": ["tokenizers/**/*.py"],
    "evaluation": [
        "intrinsic/**/*",
        "tokenizers/audit.py",
        "tokenizers/base.py",
        "tokenizers/morphemes.py",
        "vocab.py",
        "reporting/style.py",
    ],
    "model": ["models/**/*.py"],
    "train": ["training/*.py", "tokenizers/growing.py", *MODEL_IO, "models/bits.py", "models/head.py"],
    "score": ["scoring/**/*.py", *MODEL_IO, "models/bits.py", "models/head.py"],
    "report": ["reporting/**/*", "scoring/statistics.py", "cells.py"],
    "publish": ["tracking/*.py", "cells.py"],
    "cells": ["config/matrix.py", "config/layout.py"],
}


class Workflow:
    """The experiment as the rules see it.

    Args:
        config: Snakemake's merged configuration.
        root: The `config/` folder.

    Raises:
        ConfigError: The configuration, a slug, a method's parameters or a resource's are wrong.
    """

    def __init__(self, config: Mapping[str, Any], root: Path = Path("config")) -> None:
        self.config = canonical_json(dict(config))
        self.matrix: Matrix = load_matrix(self.config, root)
        self.root = Path(root)
        # Asked for every cell, or for every cell by several rules, with the same answer.
        self._chain_sources = cache(_chain_sources)
        self._edges = cache(self._find_edges)
        self._validate()

    def _validate(self) -> None:
        where = f"experiment {self.matrix.experiment.name}"
        used = {cell.method for cell in self.matrix.cells}
        for name in sorted(used | set(self.matrix.experiment.methods)):
            chain, params = self.matrix.method(name)
            methods.validate(chain, params)
            self._validate_resources(name, chain)
        for name in self.matrix.experiment.resources:
            resources.validate(*self.matrix.resource(name))
        for name, params in self.matrix.experiment.refiners.items():
            methods.validate(f"{layout.CONTROL}+{name}", {name: params})
        named = {part for name in used for part in (name, name.partition("+")[0])}
        for name in self.matrix.experiment.methods:
            if name not in named:
                raise unknown("method", name, used, f"{where}, methods (no grid uses it)")

    def _validate_resources(self, method: str, chain: str) -> None:
        """The entries that a method names must exist, and be of the resources that it requires."""
        where, required = f"experiment {self.matrix.experiment.name}, method {method}", methods.requirements(chain)
        for name, entry in self.matrix.resources(method).items():
            if name not in required:
                raise unknown("resource", name, required, f"{where} (it requires no such resource)")
            if entry not in self.matrix.experiment.resources:
                raise unknown("resource", entry, self.matrix.experiment.resources, where)
            if (kind := self.matrix.resource(entry)[0]) != name:
                raise ConfigError(f"{where}: {entry} is a setting of {kind}, not of {name}", f"name an entry with `resource: {name}`")

    # --- the artifacts a job reads: as rule inputs (manifests) and as flags (folders) --------------------------------

    def inputs(self, stage: str) -> Callable[[Any], dict[str, str]]:
        """Input function of a stage's rule: role -> manifest."""
        folders = getattr(self, f"_{stage}_folders")
        return lambda wildcards: {role: layout.manifest(folder) for role, folder in folders(wildcards).items()}

    def flags(self, stage: str) -> Callable[[Any], str]:
        """Params function of a stage's rule: the same artifacts as `--role folder`."""
        folders = getattr(self, f"_{stage}_folders")
        return lambda wildcards: " ".join(_flag(role, folder) for role, folder in folders(wildcards).items())

    def _corpus_folders(self, wildcards: Any) -> dict[str, str]:
        # English first: other languages are aligned with it and split like it.
        return {} if wildcards.language == layout.ENGLISH else {"english": layout.corpus(layout.ENGLISH)}

    def _shard_count(self, wildcards: Any) -> int:
        count = self.matrix.languages[wildcards.language].shards
        return count if count > 1 else 0

    def shards(self, wildcards: Any) -> list[str]:
        """Manifests of the shards that a corpus is merged from; none when one job makes it."""
        return [layout.manifest(layout.shard(wildcards.language, number)) for number in range(self._shard_count(wildcards))]

    def shard_flags(self, wildcards: Any) -> str:
        """The same as a flag."""
        folders = [layout.shard(wildcards.language, number) for number in range(self._shard_count(wildcards))]
        return " ".join(["--shards", *folders]) if folders else ""

    def _tokenizer_folders(self, wildcards: Any) -> dict[str, str]:
        found = {"corpus": layout.corpus(wildcards.language), "english": layout.corpus(layout.ENGLISH)}
        if not self.matrix.owns_tokenizer(wildcards.model, wildcards.language, wildcards.tokenizer):
            found["base"] = layout.base(wildcards.model)
        return found | {f"learn_{slug}": layout.corpus(slug) for slug in self.matrix.tokenizers[wildcards.tokenizer].corpora}

    def _evaluation_folders(self, wildcards: Any) -> dict[str, str]:
        place = (wildcards.model, wildcards.language, wildcards.tokenizer)
        read = {role: folder for role, folder in self._tokenizer_folders(wildcards).items() if not role.startswith("learn_")}
        return {"tokenizer": layout.tokenizer(*place), **read}

    def _model_folders(self, wildcards: Any) -> dict[str, str]:
        source = self.matrix.scratch.get(wildcards.model)
        return {} if source is None else {"tokenizer": layout.tokenizer(wildcards.model, source.language, source.tokenizer)}

    def _pretrain_folders(self, wildcards: Any) -> dict[str, str]:
        source = self.matrix.scratch[wildcards.model]
        return {
            "model": layout.untrained(wildcards.model),
            "corpus": layout.corpus(source.language),
            "english": layout.corpus(layout.ENGLISH),
        }

    def _resource_folders(self, wildcards: Any) -> dict[str, str]:
        place = {
            "corpus": layout.corpus(wildcards.language),
            "english": layout.corpus(layout.ENGLISH),
            "tokenizer": layout.tokenizer(wildcards.model, wildcards.language, wildcards.tokenizer),
            "base": layout.base(wildcards.model),
        }  # of `ANY` there is neither, and none is needed
        return {need: place[need] for need in sorted(resources.needs(self.resource_name(wildcards)))}

    def _transplant_folders(self, wildcards: Any) -> dict[str, str]:
        place = (wildcards.model, wildcards.language, wildcards.tokenizer)
        found = {"model": layout.base(wildcards.model), "tokenizer": layout.tokenizer(*place)}
        chosen = self.matrix.resources(wildcards.method)
        for name in sorted(methods.requirements(self.method_chain(wildcards))):
            found[f"resource_{name}"] = self._resource(chosen.get(name, name), *place)
        return found

    def _resource(self, name: str, model: str, language: str, tokenizer: str) -> str:
        """Folder of a resource: made once for everything that it does not depend on."""
        needs = resources.needs(self.matrix.resource(name)[0])
        return layout.resource(
            name, model if needs & {"base", "tokenizer"} else layout.ANY, language, tokenizer if "tokenizer" in needs else layout.ANY
        )

    def _train_folders(self, wildcards: Any) -> dict[str, str]:
        return {"model": self._adapted(wildcards, layout.INIT), **self._texts(wildcards)}

    def _score_folders(self, wildcards: Any) -> dict[str, str]:
        return {"model": self._adapted(wildcards, wildcards.stage), **self._texts(wildcards)}

    def _adapted(self, wildcards: Any, stage: str) -> str:
        return layout.adapted(wildcards.model, wildcards.language, wildcards.tokenizer, wildcards.method, wildcards.seed, stage)

    def _texts(self, wildcards: Any) -> dict[str, str]:
        return {"corpus": layout.corpus(wildcards.language), "english": layout.corpus(layout.ENGLISH)}

    def local_texts(self, wildcards: Any) -> list[str]:
        """The user's own files that a corpus is made from: when their content changes, so does the corpus."""
        sources = self.matrix.languages[wildcards.language].sources
        return [file for source in sources if isinstance(source, Local) for file in _files(Path(source.path))]

    def local_weights(self, wildcards: Any) -> list[str]:
        """The user's own model files."""
        source = self.matrix.models[wildcards.model].source
        return _files(Path(source.path)) if isinstance(source, LocalModel) else []

    # --- source files: a change of their content reruns the stage -----------------------------------------------------

    def sources(self, stage: str) -> list[str]:
        """Source files of a stage; of scoring, the harness templates too."""
        templates = (self.root / "lm_eval").glob("*.yaml") if stage == "score" else ()
        found = [*templates, *(path for pattern in SOURCES[stage] for path in PACKAGE.glob(pattern) if _is_source(path))]
        return sorted(map(_relative, found))

    def transplant_sources(self, wildcards: Any) -> list[str]:
        """The shared ground and the one file of each method in the chain."""
        return self._chain_sources(self.method_chain(wildcards))

    def resource_sources(self, wildcards: Any) -> list[str]:
        """The shared ground and the one file of the resource."""
        shared = [PACKAGE / "vocab.py", *PACKAGE.glob("resources/_*.py")]
        return sorted(_relative(path) for path in [*shared, resources.file(self.resource_name(wildcards))])

    # --- settings: one canonical JSON text a job --------------------------------------------------------------------

    def corpus_settings(self, wildcards: Any) -> str:
        """Settings of the corpus stage."""
        return canonical_json(self.matrix.corpus_settings(wildcards.language).canonical())

    def tokenizer_settings(self, wildcards: Any) -> str:
        """The tokenizer recipe."""
        return canonical_json(self.matrix.tokenizers[wildcards.tokenizer].canonical())

    def evaluation_settings(self, wildcards: Any) -> str:
        """How tokenizers are evaluated."""
        return canonical_json(self._evaluation(wildcards).canonical())

    def _evaluation(self, wildcards: Any) -> TokenizerEvaluation:
        settings = self.matrix.experiment.tokenizer_evaluation or TokenizerEvaluation()
        return settings.of(wildcards.language)

    def evaluation_files(self, wildcards: Any) -> list[str]:
        """The user's own word lists and texts that tokenizers are evaluated with."""
        return [file for path in self._evaluation(wildcards).files() for file in _files(Path(path))]

    def model_settings(self, wildcards: Any) -> str:
        """The base model's configuration."""
        return canonical_json(self.matrix.models[wildcards.model].canonical())

    def scratch_recipe(self, wildcards: Any) -> str:
        """The recipe that pretrains a scratch model."""
        return canonical_json(self.matrix.recipes[self.matrix.scratch[wildcards.model].recipe].canonical())

    def resource_settings(self, wildcards: Any) -> str:
        """Parameters of the resource."""
        return canonical_json(self.matrix.resource(wildcards.resource)[1])

    def resource_name(self, wildcards: Any) -> str:
        """The registered resource behind the name in the path."""
        return self.matrix.resource(wildcards.resource)[0]

    def method_chain(self, wildcards: Any) -> str:
        """The registered chain behind the method's name."""
        return self.matrix.method(wildcards.method)[0]

    def method_settings(self, wildcards: Any) -> str:
        """Parameters of the method."""
        return canonical_json(self.matrix.method(wildcards.method)[1])

    def recipe_settings(self, wildcards: Any) -> str:
        """The training recipe."""
        return canonical_json(self.matrix.recipes[wildcards.recipe].canonical())

    def task_settings(self, wildcards: Any) -> str:
        """Every task that the model is scored on."""
        place = (wildcards.model, wildcards.language, wildcards.tokenizer, wildcards.method, int(wildcards.seed), wildcards.stage)
        return canonical_json({name: self.matrix.task_files[name].canonical() for name in self.matrix.tasks(*place)})

    # --- targets and wildcards --------------------------------------------------------------------------------------

    def finished(self, wildcards: Any = None) -> list[str]:
        """What tables and tracking wait for: every cell scored before and (unless it is zero-shot) after training, its tokenizer, evaluations.

        An input function, so that a job on a cluster, which reads the rules anew, does not list every cell.
        """
        return [*self.edges("score_init", "score_trained", "tokenizer"), *self.evaluations_wanted()]

    def evaluations(self, wildcards: Any = None) -> list[str]:
        """Evaluations of every tokenizer of the matrix."""
        return self.edges("evaluation")

    def evaluations_wanted(self, wildcards: Any = None) -> list[str]:
        """The same if the experiment asks for them."""
        return self.evaluations() if self.matrix.experiment.tokenizer_evaluation is not None else []

    def edges(self, *parts: str) -> list[str]:
        """Manifests of the named artifacts of every cell ("corpus", "init", "score_trained", ...)."""
        return self._edges(parts)

    def _find_edges(self, parts: tuple[str, ...]) -> list[str]:
        folders = {paths[part] for paths in (cell.paths() for cell in self.matrix.cells) for part in parts if part in paths}
        return sorted(map(layout.manifest, folders))

    def wildcard(self, folder: str, *more: str) -> str:
        """Regular expression of the slugs that exist as files in config/<folder>/, and more."""
        return "|".join([*slugs(folder, self.root), *more])

    def stages(self) -> str:
        """Regular expression of what is scored: the transplanted model, and what each recipe makes of it."""
        return "|".join([layout.INIT, *slugs("recipes", self.root)])

    def models(self, scratch: bool) -> str:
        """Regular expression of the base models that the pipeline trains itself, or of all others."""
        names = [name for name in self.matrix.models if (name in self.matrix.scratch) == scratch]
        return "|".join(names) or "(?!)"

    def methods(self) -> str:
        """Regular expression of the method names the experiment uses."""
        return "|".join(sorted({cell.method.replace("+", r"\+") for cell in self.matrix.cells}, key=len, reverse=True))


def _chain_sources(chain: str) -> list[str]:
    shared = [
        PACKAGE / "vocab.py",
        *(PACKAGE / name for name in [*MODEL_IO, *(FORWARD if methods.runs_model(chain) else [])]),
        *PACKAGE.glob("transplant/*.py"),
        *PACKAGE.glob("methods/_*.py"),
    ]
    return sorted(_relative(path) for path in [*shared, *methods.files(chain)])


def _flag(role: str, folder: str) -> str:
    for flag in ("resource", "learn"):  # roles that a job has several of
        if (name := role.removeprefix(f"{flag}_")) != role:
            return f"--{flag} {name}={folder}"
    return f"--{role} {folder}"


def _files(path: Path) -> list[str]:
    return [str(path)] if path.is_file() else sorted(str(file) for file in path.rglob("*") if file.is_file())


def _relative(path: Path) -> str:
    try:
        return str(path.resolve().relative_to(Path.cwd().resolve()))
    except ValueError:
        return str(path)


def _is_source(path: Path) -> bool:
    return path.is_file() and "__pycache__" not in path.parts
