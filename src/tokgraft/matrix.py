"""From an experiment to its cells."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from tokgraft import methods, resources
from tokgraft.config import harness_files, layout
from tokgraft.config.base import SLUG, read_yaml, slugs
from tokgraft.config.evaluation import TokenizerEvaluation
from tokgraft.config.experiment import PLAIN, Experiment, Grid, MethodSettings
from tokgraft.config.language import CorpusSettings, Language
from tokgraft.config.model import BaseModelConfig, ScratchModel
from tokgraft.config.recipe import TrainingRecipe
from tokgraft.config.task import Task
from tokgraft.config.tokenizer import TokenizerRecipe
from tokgraft.errors import ConfigError, unknown
from tokgraft.training.objectives import OBJECTIVES


@dataclass(frozen=True, order=True)
class Cell:
    """One combination of the matrix; all fields are slugs."""

    model: str
    language: str
    tokenizer: str
    method: str
    recipe: str
    seed: int


@dataclass(frozen=True)
class Matrix:
    """A validated experiment with every configuration file it names, loaded.

    Args:
        experiment: The experiment.
        root: The `config/` folder.
    """

    experiment: Experiment
    root: Path = field(default=Path("config"))

    @cached_property
    def cells(self) -> list[Cell]:
        """All cells, each once, sorted."""
        return sorted({cell for grid in self.experiment.grids for cell in self._expand(grid)})

    def _expand(self, grid: Grid) -> list[Cell]:
        self._check(grid)
        found = []
        for model in grid.models:
            for language in grid.languages:
                for method in _methods(grid):
                    # The control keeps the original tokenizer, whatever recipes the grid lists.
                    original = self.method(method)[0].partition("+")[0] == layout.CONTROL
                    recipes = [layout.ORIGINAL] if original else grid.tokenizers
                    for tokenizer in recipes:
                        for recipe in grid.recipes:
                            found += [Cell(model, language, tokenizer, method, recipe, seed) for seed in grid.seeds]
        return found

    def _check(self, grid: Grid) -> None:
        where = f"experiment {self.experiment.name}"
        for kind, named, folder in (
            ("model", grid.models, "models"),
            ("language", grid.languages, "languages"),
            ("tokenizer", grid.tokenizers, "tokenizers"),
            ("recipe", grid.recipes, "recipes"),
            ("task", grid.tasks, "tasks"),
        ):
            known = slugs(folder, self.root)
            if layout.ANY in known:
                raise ConfigError(f"{where}: a {kind} may not be called {layout.ANY!r}")
            if kind == "recipe":
                if reserved := {layout.INIT, layout.BASE, layout.UNTRAINED} & set(known):
                    raise ConfigError(f"{where}: a training recipe may not be called {min(reserved)!r}")
                known = [*known, layout.INIT]
            for name in named:
                if name not in known:
                    raise unknown(kind, name, known, where, Language.aliases(self.root) if kind == "language" else None)
        for method in _methods(grid):
            if not SLUG.match(method):
                raise ConfigError(f"{where}: {method!r} cannot be part of a path", "use letters, digits, _, - and + only")

    def tasks(self, model: str, language: str, tokenizer: str, method: str, seed: int, stage: str) -> list[str]:
        """Slugs of the tasks a model is scored on: those of every grid that holds it."""
        found: set[str] = set()
        for grid in self.experiment.grids:
            recipes = grid.recipes if stage == layout.INIT else [stage]
            for recipe in recipes:
                if Cell(model, language, tokenizer, method, recipe, seed) in self._grid_cells(grid):
                    found.update(grid.tasks)
        return sorted(found)

    def task(self, name: str, language: str) -> Task:
        """A task as it is scored on a language."""
        task = self.task_files[name]
        slug = layout.ENGLISH if task.language == "english" else language
        return task.of_language(slug, self.languages[slug].hub_tasks)

    def _grid_cells(self, grid: Grid) -> set[Cell]:
        cache: dict[int, set[Cell]] = self.__dict__.setdefault("_by_grid", {})
        if id(grid) not in cache:
            cache[id(grid)] = set(self._expand(grid))
        return cache[id(grid)]

    def method(self, name: str) -> tuple[str, dict[str, Any]]:
        """(registered chain, parameters) of a method named in the experiment.

        A chain that is no entry itself takes the settings of its first part and of its refiners from theirs.
        """
        own, entry, refiners = self._entry(name)
        first, params = (own, {}) if entry is None else (entry.method or own, entry.params)
        if not refiners:
            return first, params
        settings = dict(params) if "+" in first else {first: params}
        settings |= {refiner: self.experiment.refiners[refiner] for refiner in refiners if refiner in self.experiment.refiners}
        return "+".join([first, *refiners]), {part: given for part, given in settings.items() if given}

    def _entry(self, name: str) -> tuple[str, MethodSettings | None, list[str]]:
        """What a name stands on: the name of an entry under `methods` or of a method, the entry, and the refiners after it."""
        first, refiners = (name, []) if name in self.experiment.methods else (name.split("+")[0], name.split("+")[1:])
        return first, self.experiment.methods.get(first), refiners

    def resource(self, name: str) -> tuple[str, dict[str, Any]]:
        """(registered resource, parameters) of a resource named in the experiment."""
        entry = self.experiment.resources.get(name)
        return (name, {}) if entry is None else (entry.resource or name, entry.params)

    def resources(self, method: str) -> dict[str, str]:
        """Resources that a method of the experiment gets other than the plain ones: required name -> entry."""
        _, entry, _ = self._entry(method)
        return {} if entry is None else entry.resources

    def overrides(self, method: str) -> dict[str, str]:
        """Rows of single tokens that a method of the experiment gets set: token -> how."""
        _, entry, _ = self._entry(method)
        return {} if entry is None else entry.overrides

    @cached_property
    def models(self) -> dict[str, BaseModelConfig]:
        """Configuration of each base model used."""
        return {name: BaseModelConfig.load(name, self.root) for name in sorted({cell.model for cell in self.cells})}

    @cached_property
    def languages(self) -> dict[str, Language]:
        """Configuration of each language used: targets, English, and what scratch models are trained on."""
        names = {cell.language for cell in self.cells} | {layout.ENGLISH} | {source.language for source in self.scratch.values()}
        for slug, recipe in self.tokenizers.items():
            for name in recipe.corpora:
                if name not in (known := slugs(Language.folder, self.root)):
                    raise unknown("language", name, known, f"tokenizer {slug}")
            names.update(recipe.corpora)
        return {name: Language.load(name, self.root) for name in sorted(names)}

    @cached_property
    def scratch(self) -> dict[str, ScratchModel]:
        """The base models that the pipeline trains itself."""
        return {name: model.source for name, model in self.models.items() if isinstance(model.source, ScratchModel)}

    @cached_property
    def tokenizers(self) -> dict[str, TokenizerRecipe]:
        """Configuration of each tokenizer recipe used."""
        names = {cell.tokenizer for cell in self.cells} | {source.tokenizer for source in self.scratch.values()}
        return {name: TokenizerRecipe.load(name, self.root) for name in sorted(names)}

    @cached_property
    def recipes(self) -> dict[str, TrainingRecipe]:
        """Configuration of each training recipe used."""
        names = {cell.recipe for cell in self.cells} - {layout.INIT} | {source.recipe for source in self.scratch.values()}
        return {name: TrainingRecipe.load(name, self.root) for name in sorted(names)}

    @cached_property
    def task_files(self) -> dict[str, Task]:
        """Configuration of each task used."""
        names = sorted({task for grid in self.experiment.grids for task in grid.tasks})
        return {name: Task.load(name, self.root) for name in names}

    def corpus_settings(self, language: str) -> CorpusSettings:
        """What the corpus stage is given for a language."""
        experiment = self.experiment
        return CorpusSettings(
            slug=language, language=self.languages[language], splits=experiment.splits, max_bytes=experiment.max_corpus_bytes
        )

    def owns_tokenizer(self, model: str, language: str, tokenizer: str) -> bool:
        """Whether this tokenizer is the one a scratch model is built on, so that it cannot have the model as its base."""
        source = self.scratch.get(model)
        return source is not None and (source.language, source.tokenizer) == (language, tokenizer)

    def load_all(self) -> None:
        """Read and validate every file the experiment names, its methods and its resources.

        Raises:
            ConfigError: One of them is missing or wrong.
        """
        if not self.cells:
            raise ConfigError(f"experiment {self.experiment.name} has no cells")
        for files in ("models", "languages", "tokenizers", "recipes", "task_files"):
            getattr(self, files)
        self._validate()

    def evaluation(self, language: str) -> TokenizerEvaluation:
        """How tokenizers of a language are evaluated."""
        return (self.experiment.tokenizer_evaluation or TokenizerEvaluation()).of(language)

    def _validate(self) -> None:
        """Raise unless every method, refiner and resource that the experiment names exists and takes the parameters it is given."""
        where = f"experiment {self.experiment.name}"
        used = {cell.method for cell in self.cells}
        for task in self.task_files.values():
            for name in task.own_files:
                harness_files.files(Path(name))
        for slug, recipe in self.recipes.items():
            for stage in recipe.stages:
                OBJECTIVES.demand(stage.objective, f"recipe {slug}, stage {stage.name}")
        for name in sorted(used | set(self.experiment.methods)):
            chain, params = self.method(name)
            methods.parse(chain, params)
            self._validate_resources(name, chain)
        for name in self.experiment.resources:
            resources.validate(*self.resource(name))
        for name, params in self.experiment.refiners.items():
            methods.parse(f"{layout.CONTROL}+{name}", {name: params})
        named = {part for name in used for part in (name, name.partition("+")[0])}
        for name in self.experiment.methods:
            if name not in named:
                raise unknown("method", name, used, f"{where}, methods (no grid uses it)")

    def _validate_resources(self, method: str, chain: str) -> None:
        """The entries that a method names must exist, and be of the resources that it requires."""
        where, required = f"experiment {self.experiment.name}, method {method}", methods.parse(chain).requires
        for name, entry in self.resources(method).items():
            if name not in required:
                raise unknown("resource", name, required, f"{where} (it requires no such resource)")
            if entry not in self.experiment.resources:
                raise unknown("resource", entry, self.experiment.resources, where)
            if (kind := self.resource(entry)[0]) != name:
                raise ConfigError(f"{where}: {entry} is a setting of {kind}, not of {name}", f"name an entry with `resource: {name}`")


def _methods(grid: Grid) -> list[str]:
    """Names of the grid's methods, with each of its refiners."""
    return [method if refiners == PLAIN else f"{method}+{refiners}" for method in grid.methods for refiners in grid.refiners]


def load_matrix(settings: str, root: Path = Path("config")) -> Matrix:
    """The matrix of an experiment given as a JSON text, a file or a slug.

    Raises:
        ConfigError: The experiment, or a file that it names, is missing or wrong; or another experiment has its name.
    """
    experiment = Experiment.load(settings, root)
    if (file := file_of(settings, Path(root))) is not None:
        _only_one(file, experiment.name, Path(root))
    matrix = Matrix(experiment, Path(root))
    matrix.load_all()
    return matrix


def file_of(settings: str, root: Path = Path("config")) -> Path | None:
    """The file of an experiment given as a file or a slug; None for a JSON text."""
    if settings.lstrip().startswith("{"):
        return None
    return Path(settings) if Path(settings).suffix else root / Experiment.folder / f"{settings}.yaml"


def claim(file: Path, name: str) -> None:
    """Note beside the tables of an experiment which file they are of.

    Raises:
        ConfigError: As `demand_own`.
    """
    demand_own(file, name)
    note = Path(layout.source(name))
    note.parent.mkdir(parents=True, exist_ok=True)
    note.write_text(f"{file}\n", encoding="utf-8")


def demand_own(file: Path, name: str) -> None:
    """Refuse to run an experiment whose tables would replace those of another file with the same `name`.

    A file may be edited, moved and copied: refused is only what has another path and other content than a file that is still there.

    Raises:
        ConfigError: The tables are of such a file.
    """
    note = Path(layout.source(name))
    other = Path(note.read_text(encoding="utf-8").strip()) if note.is_file() else file
    if other.is_file() and other.resolve() != file.resolve() and _name(other) == name and read_yaml(other) != read_yaml(file):
        raise ConfigError(
            f"{note.parent} holds the tables of {other}, which has `name: {name}` as {file} has, and says something else",
            f"rename one of the two, or delete {note} to give the folder to {file}",
        )


def _only_one(own: Path, name: str, root: Path) -> None:
    """Raise if another file of the configuration has the same name: their tables would lie in the same place."""
    for path in [root / "config.yaml", *sorted((root / Experiment.folder).glob("*.yaml"))]:
        if path.is_file() and path.resolve() != own.resolve() and _name(path) == name:
            raise ConfigError(
                f"{own} and {path} both have `name: {name}`, so their tables would overwrite each other", "rename one of the two"
            )


def _name(path: Path) -> Any:
    """The name that a file gives its experiment, whatever else is wrong with it."""
    try:
        data = read_yaml(path)
    except ConfigError:
        return None
    return data.get("name") if isinstance(data, dict) else None
