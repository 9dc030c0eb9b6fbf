"""What the Snakefile asks of an experiment: what each stage reads and takes (`tokgraft.stages`), targets, and which wildcards match."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import cache, cached_property
from pathlib import Path
from typing import Any, TypeVar

from tokgraft.artifacts import canonical_json
from tokgraft.cells import CellList
from tokgraft.config import layout
from tokgraft.errors import ConfigError
from tokgraft.matrix import Matrix, claim, demand_own, file_of, load_matrix
from tokgraft.places import Places, listing
from tokgraft.stages import STAGES, Job, relative

Answer = TypeVar("Answer")
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
    return relative(Path(settings.configfiles[0])) if settings.configfiles else DEFAULT


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
        self.places = Places(self.matrix)
        self.file = file_of(str(experiment), self.root)
        if self.file is not None:
            demand_own(self.file, self.name)
        # Asked for every cell by several rules, with the same answer.
        self._edges = cache(self._find_edges)

    def begin(self) -> None:
        """Called once a run starts: the tables of the experiment are those of its file from now on."""
        if self.file is not None:
            claim(self.file, self.name)

    # --- of each stage: a function of the wildcards, as Snakemake wants it -------------------------------------------

    def inputs(self, stage: str) -> Callable[[Any], dict[str, str | list[str]]]:
        """Inputs of a stage's rule: role -> manifest, and files of the user's own."""
        return self._of_job(STAGES[stage].inputs)

    def output(self, stage: str) -> str:
        """The file that stands for what a stage writes, with wildcards."""
        return STAGES[stage].output.replace("{experiment}", self.name)

    def flags(self, stage: str) -> Callable[[Any], str]:
        """The artifacts that a stage reads, as `--role folder`."""
        return self._of_job(STAGES[stage].flags)

    def settings(self, stage: str) -> Callable[[Any], str]:
        """Settings of a stage as one canonical JSON text."""
        return self._of_job(STAGES[stage].settings_text)

    def param(self, stage: str, name: str) -> Callable[[Any], str]:
        """One of the further parameters of a stage's rule."""
        return self._of_job(STAGES[stage].params[name])

    def code(self, stage: str) -> Callable[[Any], str]:
        """Hash of the source files that decide what a stage writes."""
        return self._of_job(STAGES[stage].code)

    def _of_job(self, ask: Callable[[Job], Answer]) -> Callable[[Any], Answer]:
        return lambda wildcards: ask(Job(self.places, wildcards))

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
        return [self.places.cell(cell) for cell in self.matrix.cells]

    def _find_edges(self, parts: tuple[str, ...]) -> list[str]:
        folders = {paths[part] for paths in self._paths for part in parts if part in paths}
        return sorted(map(layout.manifest, folders))

    # Wildcards match the names in paths of this experiment, so that no job can write in the place of another experiment's artifact.

    def languages(self) -> str:
        """Regular expression of the languages, with their key."""
        return _any_of(map(self.places.language, self.matrix.languages))

    def models(self, scratch: bool | None = None) -> str:
        """Regular expression of the base models: those that the pipeline trains itself, the others, or both."""
        names = [name for name in self.matrix.models if scratch in (None, name in self.matrix.scratch)]
        return _any_of(map(self.places.model, names))

    def tokenizers(self) -> str:
        """Regular expression of the tokenizer recipes."""
        return _any_of(self.matrix.tokenizers)

    def evaluated(self) -> str:
        """Regular expression of the tokenizer recipes in the paths of their evaluations."""
        return _any_of(Path(paths["evaluation"]).name for paths in self._paths)

    def methods(self) -> str:
        """Regular expression of the methods, with their keys."""
        return _any_of(map(self.places.method, {cell.method for cell in self.matrix.cells}))

    def resources(self) -> str:
        """Regular expression of the resources, with their keys."""
        return _any_of(layout.parts(folder)[1] for folder in self._required())

    def _required(self) -> set[str]:
        places = {(cell.method, cell.model, cell.language, cell.tokenizer) for cell in self.matrix.cells}
        return {folder for place in places for folder in self.places.required(*place).values()}

    def recipes(self) -> str:
        """Regular expression of the training recipes."""
        return _any_of(self.matrix.recipes)

    def stages(self) -> str:
        """Regular expression of what is scored: the transplanted model and what each recipe makes of it, with a key for the tasks."""
        return _any_of(Path(paths[role]).name for paths in self._paths for role in ("score_init", "score_trained") if role in paths)


def _any_of(names: Iterable[str]) -> str:
    """Regular expression of some names, longest first; of none: one that nothing matches."""
    return "|".join(sorted(map(re.escape, set(names)), key=lambda name: (-len(name), name))) or "(?!)"
