"""Everything the report stands on, read once from finished artifacts: scores, samples, curves, costs, tokenizers, corpora."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Any, TypeVar

from tokgraft import artifacts
from tokgraft.cells import (
    CellList,
    RunCell,
    Score,
    Stage,
    TaskScore,
    bits_task,
    flatten,
    missing,
    of_stage,
    read_facts,
    read_json,
    read_jsonl,
    read_score,
    stale,
)
from tokgraft.config.layout import CONTROL
from tokgraft.errors import TokgraftError
from tokgraft.scoring.statistics import Samples, read_samples


@dataclass(frozen=True)
class Outcome:
    """A cell at a stage: its score, or why there is none; `damage`: a file that it cannot be told without is damaged."""

    cell: RunCell
    stage: Stage
    score: Score | None
    reason: str = ""
    damage: str = ""


@dataclass(frozen=True)
class Group:
    """The seeds of one combination model x language x tokenizer x method x recipe.

    Attributes:
        cells: Its cells, by seed.
        outcomes: Stage -> outcome of each cell, in the same order; `init` alone when the cells are zero-shot.
    """

    cells: tuple[RunCell, ...]
    outcomes: dict[Stage, tuple[Outcome, ...]]

    @property
    def method(self) -> str:
        """Name of the method or chain."""
        return self.cells[0].method

    @property
    def keeps_tokenizer(self) -> bool:
        """Whether it is the original model with its own tokenizer, alone or with refiners: no transplant."""
        return self.method.partition("+")[0] == CONTROL

    @property
    def place(self) -> tuple[str, str, str]:
        """What is compared with each other: model, language, training recipe."""
        return (self.cells[0].model, self.cells[0].language, self.cells[0].recipe)

    @property
    def final(self) -> Stage:
        """The last stage that its cells have."""
        return self.cells[0].final

    @property
    def tokenizer(self) -> str:
        """Slug of the tokenizer recipe."""
        return self.cells[0].tokenizer

    def scored(self, stage: Stage) -> list[RunCell]:
        """The seeds that have a score."""
        return [outcome.cell for outcome in self.outcomes.get(stage, ()) if outcome.score is not None]

    def example(self, stage: Stage) -> RunCell:
        """The first seed that has a score; without any, the first."""
        return [*self.scored(stage), self.cells[0]][0]

    def scores(self, stage: Stage) -> list[Score]:
        """Scores of the seeds that have one."""
        return [outcome.score for outcome in self.outcomes.get(stage, ()) if outcome.score is not None]

    def bits_task(self, english: bool = False) -> str:
        """Slug of the task that says its bits per byte, at all of its stages; empty when it was not scored on one."""
        return bits_task([score for stage in self.outcomes for score in self.scores(stage)], english)

    def tasks(self, stage: Stage, slug: str) -> list[TaskScore]:
        """One task's score for each seed that has it."""
        return [task for score in self.scores(stage) for task in score.tasks if task.slug == slug]


@dataclass
class Evidence:
    """All that was read. Samples are read when asked for and kept."""

    cells: CellList
    outcomes: list[Outcome]
    groups: list[Group]
    _samples: dict[tuple[Path, str], Samples] = field(default_factory=dict)

    def samples(self, task: TaskScore) -> Samples:
        """Per-unit samples of a task's main metric."""
        key = (task.samples, task.metric)
        if key not in self._samples:
            self._samples[key] = read_samples(task.samples, task.metric)
        return self._samples[key]

    @cached_property
    def places(self) -> list[tuple[str, str, str]]:
        """Every (model, language, recipe) in which methods are compared, in the order of the cell list."""
        return list(dict.fromkeys(group.place for group in self.groups))

    def within(self, place: tuple[str, str, str]) -> list[Group]:
        """The groups of one place."""
        return [group for group in self.groups if group.place == place]

    def stages(self, place: tuple[str, str, str]) -> tuple[Stage, ...]:
        """The stages of a place: zero-shot and trained cells never share one."""
        return tuple(self.within(place)[0].outcomes)

    def control(self, group: Group, method: str) -> Group | None:
        """The group of a reference method that `group` is compared with: same place, and same tokenizer unless it is the control."""
        for other in self.within(group.place):
            if other.method == method and (method == CONTROL or other.tokenizer == group.tokenizer):
                return other
        return None

    def plain(self, group: Group) -> Group | None:
        """The plain initialiser of a chain (`mean` of `mean+prior`); None when it has no refiner or was not run."""
        initialiser, plus, _ = group.method.partition("+")
        return self.control(group, initialiser) if plus else None

    def task_slugs(self, groups: Sequence[Group] | None = None) -> list[str]:
        """Slugs of all tasks scored anywhere, bits per byte first."""
        found: dict[str, TaskScore] = {}
        for group in self.groups if groups is None else groups:
            for stage in group.outcomes:
                for score in group.scores(stage):
                    found.update({task.slug: task for task in score.tasks if task.metric})
        return sorted(found, key=lambda slug: (found[slug].builder != "bits_per_byte", found[slug].english, slug))


def gather(cells: CellList, refuse: bool = True) -> Evidence:
    """Read the scores of every cell.

    A cell whose scores are not there, or not its own, is kept with the reason, so that a partly pulled tree still gives an honest table.

    Args:
        cells: The cells.
        refuse: Raise where a file is damaged; else keep the cell, and what is wrong as `Outcome.damage`.

    Raises:
        ArtifactError, DataError: A file is damaged.
    """
    read = [_read(cell, refuse) for cell in cells.cells]
    cells = cells.model_copy(update={"cells": [cell for cell, _ in read]})
    outcomes = [outcome for _, of_cell in read for outcome in of_cell]
    by_group: dict[tuple[str, ...], list[RunCell]] = {}
    for cell in cells.cells:
        by_group.setdefault((cell.model, cell.language, cell.tokenizer, cell.method, cell.recipe), []).append(cell)
    found = {(outcome.cell.key, outcome.stage): outcome for outcome in outcomes}
    groups = []
    for members in by_group.values():
        ordered = tuple(sorted(members, key=lambda cell: cell.seed))
        groups.append(Group(ordered, {stage: tuple(found[cell.key, stage] for cell in ordered) for stage in ordered[0].stages}))
    return Evidence(cells, outcomes, groups)


def _read(cell: RunCell, refuse: bool) -> tuple[RunCell, list[Outcome]]:
    """The cell, with the reasons why scores are not those of its model, and its outcomes."""
    if cell.reason is not None:
        return cell, [Outcome(cell, stage, None, f"skipped: {cell.reason}") for stage in cell.stages]
    scores: dict[Stage, Score] = {}
    unfit: dict[Stage, str] = {}
    damage: dict[Stage, str] = {}
    for stage in cell.stages:
        try:
            foreign = stale(cell, *of_stage(stage))
            if problem := missing(cell.score_folder(stage)) or foreign:
                unfit[stage] = problem
            else:
                scores[stage] = read_score(cell.score_folder(stage))
        except TokgraftError as error:
            if refuse:
                raise
            unfit[stage] = damage[stage] = error.what
    cell = cell.model_copy(update={"unfit": unfit})
    return cell, [
        Outcome(cell, stage, scores.get(stage), f"not scored: {unfit[stage]}" if stage in unfit else "", damage.get(stage, ""))
        for stage in cell.stages
    ]


@dataclass(frozen=True)
class Cost:
    """What training a cell took; a figure that its artifact does not hold is None."""

    bytes: float | None = None
    tokens: float | None = None
    steps: float | None = None
    flops: float | None = None
    seconds: float | None = None


def training_cost(cell: RunCell) -> Cost:
    """Totals of a cell's continual training.

    Bytes, tokens, steps and FLOPs depend on the data and the settings alone; the seconds depend on the machine.
    """
    if cell.final != "trained":
        return Cost()
    totals, steps = _json(_record(cell, "trained", "training.json")), curve(cell)
    last = steps[-1] if steps else {}

    def number(*names: str) -> float | None:
        for source in (totals, last):
            for name in names:
                if isinstance(source.get(name), int | float):
                    return float(source[name])
        return None

    seconds = number("seconds", "wall_seconds")
    if seconds is None:
        wall = _json(_record(cell, "trained", artifacts.RUN)).get("wall_seconds")
        seconds = float(wall) if isinstance(wall, int | float) else None
    return Cost(number("bytes"), number("tokens"), number("steps", "step"), number("flops", "FLOPs"), seconds)


@dataclass(frozen=True)
class TransplantCost:
    """What a transplant took; a figure that its artifact does not hold is None.

    Attributes:
        seconds: Time to make the rows and write the model, on the machine that did it.
        resource_seconds: Time to make the resources that it required; several methods may share them.
        processor, resource_processor: The same in processor seconds, which other work on the machine leaves alone.
        flops: Operations of forward passes and of the refiners' matrix products.
    """

    seconds: float | None = None
    resource_seconds: float | None = None
    processor: float | None = None
    resource_processor: float | None = None
    flops: float | None = None


def transplant_cost(cell: RunCell) -> TransplantCost:
    """What a cell's transplant took, by the `timing.json` that lies beside the model or its scores."""
    timing = _json(_record(cell, "init", "timing.json"))
    if not timing:
        return TransplantCost()
    return TransplantCost(
        float(timing["rows"]) + float(timing["model"]),
        _sum(timing.get("resources") or {}),
        timing.get("processor"),
        _sum(timing["resources_processor"]) if "resources_processor" in timing else None,
        timing.get("flops"),
    )


C = TypeVar("C", Cost, TransplantCost)


def average(costs: Sequence[C]) -> C:
    """Each figure averaged over those that hold it; None where none does.

    Args:
        costs: One for each seed, at least one.
    """
    known = {each.name: [value for cost in costs if (value := getattr(cost, each.name)) is not None] for each in fields(costs[0])}
    return type(costs[0])(**{name: fmean(values) if values else None for name, values in known.items()})


def _sum(seconds: dict[str, float | None]) -> float | None:
    known = [value for value in seconds.values() if value is not None]
    return float(sum(known)) if len(known) == len(seconds) else None


def curve(cell: RunCell) -> list[dict[str, Any]]:
    """Learning curve of a cell: the records of its metrics.jsonl, empty before training."""
    path = _record(cell, "trained", "metrics.jsonl") if cell.final == "trained" else None
    return read_jsonl(path) if path else []


def tokenizer_facts(cell: RunCell) -> dict[str, Any]:
    """Flat metrics of a cell's tokenizer (nested keys joined by `/`); empty when the artifact is not here, or was made from other text."""
    if stale(cell, "tokenizer"):
        return {}
    return flatten(read_facts(cell.paths.tokenizer, "metrics.json", "tokenizer"))


def transplant_facts(cell: RunCell) -> dict[str, Any]:
    """Flat statistics of a cell's transplant."""
    return flatten(_json(_record(cell, "init", "transplant.json")))


def most_predicted(cell: RunCell) -> list[dict[str, Any]]:
    """The tokens that the untrained transplant predicts most: `token`, `share`, `frequency`, `suspect`; [] where that was not looked at."""
    return list(_json(_record(cell, "init", "transplant.json")).get("most_predicted", []))


def corpus_facts(folder: Path) -> dict[str, Any]:
    """Flat facts of a corpus card."""
    return flatten(read_facts(folder, "card.json", "corpus"))


def _record(cell: RunCell, stage: Stage, name: str) -> Path | None:
    """A file of what the scores of a stage say of their model; None when they are not there, or not those of the cell."""
    path = cell.records(stage) / name
    return path if stage not in cell.unfit and path.is_file() else None


def _json(path: Path | None) -> dict[str, Any]:
    data = read_json(path) if path else {}
    return data if isinstance(data, dict) else {}
