"""What the Snakefile asks of an experiment: what each stage reads and takes (`tokgraft.stages`), targets, and which wildcards match."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from tokgraft.artifacts import canonical_json
from tokgraft.cells import CellList
from tokgraft.config import layout
from tokgraft.errors import ConfigError
from tokgraft.matrix import Matrix, claim, demand_own, file_of, load_matrix
from tokgraft.places import Places, listing
from tokgraft.stages import STAGES, Job, relative

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
        self.places = Places(self.matrix)
        self.file = file_of(str(experiment), Path(root))
        if self.file is not None:
            demand_own(self.file, self.name)
        # Asked for every cell by several rules, with the same answer.
        self._manifests = cache(self._find_manifests)

    def begin(self) -> None:
        """Called once a run starts: the tables of the experiment are those of its file from now on."""
        if self.file is not None:
            claim(self.file, self.name)

    # What a stage's rule takes from its record.

    def inputs(self, stage: str) -> Callable[[Any], dict[str, str | list[str]]]:
        """Input function: role -> manifest, and files of the user's own."""
        return self._of_job(STAGES[stage].inputs)

    def output(self, stage: str) -> str:
        """The file that stands for what the stage writes, with wildcards."""
        return STAGES[stage].output.replace("{experiment}", self.name)

    def params(self, stage: str) -> dict[str, Callable[[Any], str]]:
        """Name -> params function: `code`, `flags`, `settings`, and what else the stage has."""
        return {name: self._of_job(ask) for name, ask in STAGES[stage].parameters().items()}

    def _of_job(self, ask: Callable[[Job], Any]) -> Callable[[Any], Any]:
        return lambda wildcards: ask(Job(self.places, wildcards))

    def finished(self, wildcards: Any = None) -> list[str]:
        """What tables and tracking wait for: every cell scored before and (unless it is zero-shot) after training, its tokenizer, evaluations, speed.

        An input function, so that a job on a cluster, which reads the rules anew, does not list every cell.
        """
        evaluations = self.evaluations() if self.matrix.experiment.tokenizer_evaluation is not None else []
        speed = self._manifests("speed") if self.matrix.experiment.speed else []
        return [*self._manifests("score_init", "score_trained", "tokenizer"), *evaluations, *speed]

    def evaluations(self, wildcards: Any = None) -> list[str]:
        """Evaluations of every tokenizer of the matrix."""
        return self._manifests("evaluation")

    def cells(self) -> CellList:
        """The cells of the experiment, with their folders."""
        return CellList.model_validate(listing(self.matrix))

    @cached_property
    def _paths(self) -> list[dict[str, str]]:
        return [self.places.cell(cell) for cell in self.matrix.cells]

    def _find_manifests(self, *parts: str) -> list[str]:
        """Manifests of the named artifacts of every cell ("corpus", "init", "score_trained", ...)."""
        return sorted({layout.manifest(paths[part]) for paths in self._paths for part in parts if part in paths})

    # Wildcards match the names in paths of this experiment, so that no job can write in the place of another experiment's artifact.

    @cached_property
    def names(self) -> dict[str, str]:
        """Wildcard -> regular expression of the names in paths that it stands for, with their keys."""
        places, matrix = self.places, self.matrix
        required = {(cell.method, cell.model, cell.language, cell.tokenizer) for cell in matrix.cells}
        found: dict[str, Iterable[str]] = {
            "language": map(places.language, matrix.languages),
            "model": map(places.model, matrix.models),
            "tokenizer": matrix.tokenizers,
            "method": map(places.method, {cell.method for cell in matrix.cells}),
            "resource": (layout.parts(folder)[1] for place in required for folder in places.required(*place).values()),
            "recipe": matrix.recipes,
            # What is scored (the transplanted model, and what each recipe makes of it), with a key for the tasks.
            "stage": (Path(paths[role]).name for paths in self._paths for role in ("score_init", "score_trained") if role in paths),
        }
        return {wildcard: _any_of(names) for wildcard, names in found.items()}

    def models(self, scratch: bool) -> str:
        """Regular expression of the base models that the pipeline trains itself, or of the others."""
        return _any_of(self.places.model(name) for name in self.matrix.models if scratch == (name in self.matrix.scratch))

    def evaluated(self) -> str:
        """Regular expression of the tokenizer recipes in the paths of their evaluations."""
        return _any_of(Path(paths["evaluation"]).name for paths in self._paths)


def _any_of(names: Iterable[str]) -> str:
    """Regular expression of some names, longest first; of none: one that nothing matches."""
    return "|".join(sorted(map(re.escape, set(names)), key=lambda name: (-len(name), name))) or "(?!)"
