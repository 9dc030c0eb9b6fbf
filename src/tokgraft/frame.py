"""Every number of an experiment in one long table: a row for each cell, stage, task and metric.

Tables, figures, sentences, the page and the tracking store are views of it. Intervals are computed here and nowhere else: of one row, of the
rows of several seeds, and of the paired difference of two sides.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Any

from tokgraft import artifacts
from tokgraft.cells import (
    CellList,
    CellSpeed,
    Combination,
    RunCell,
    Stage,
    cell_speed,
    missing,
    of_stage,
    read_json,
    read_jsonl,
    stale,
)
from tokgraft.config.layout import CONTROL
from tokgraft.errors import TokgraftError
from tokgraft.score_rows import BITS, Row, Score, bits_task, read_score, score_rows
from tokgraft.scoring.statistics import Interval, Samples, paired_difference, read_samples, score_interval

CellStage = tuple[str, Stage]  # key of a cell, and one of its stages
ROWS = "rows/"  # with a kind of provenance: how many rows of the new vocabulary are of it


def cost_rows(cell: RunCell) -> Iterator[Row]:
    """What a cell's transplant and training took, and how many of its rows come from where, as its records hold it.

    Bytes, FLOPs and rows depend on the data and the settings alone; seconds depend on the machine.
    """
    timing = record(cell, "init", "timing.json")
    costs: dict[str, Any] = {}
    if timing:
        costs = {
            "transplant_seconds": float(timing["rows"]) + float(timing["model"]),
            "resource_seconds": _sum(timing.get("resources") or {}),
            "transplant_cpu_seconds": timing.get("processor"),
            "resource_cpu_seconds": _sum(timing["resources_processor"]) if "resources_processor" in timing else None,
            "transplant_flops": timing.get("flops"),
        }
    how = record(cell, "init", "transplant.json").get("how")
    costs |= {f"{ROWS}{kind}": int(count) for kind, count in how.items()} if isinstance(how, dict) else {}
    yield from (Row(cell, "init", "", metric, value) for metric, value in costs.items() if value is not None)
    if cell.final == "trained":
        sources = (record(cell, "trained", "training.json"), *curve(cell)[-1:])
        wall = record(cell, "trained", artifacts.RUN).get("wall_seconds")
        for metric, names in (("bytes", ("bytes",)), ("flops", ("flops", "FLOPs")), ("seconds", ("seconds", "wall_seconds"))):
            known = [source[name] for source in sources for name in names if isinstance(source.get(name), int | float)]
            known += [wall] if metric == "seconds" and isinstance(wall, int | float) else []
            yield from (Row(cell, "trained", "", f"training_{metric}", float(value)) for value in known[:1])


def _sum(seconds: dict[str, float | None]) -> float | None:
    known = [value for value in seconds.values() if value is not None]
    return float(sum(known)) if len(known) == len(seconds) else None


def curve(cell: RunCell) -> list[dict[str, Any]]:
    """Learning curve of a cell: the records of its metrics.jsonl, empty before training."""
    return read_jsonl(cell.records("trained") / "metrics.jsonl") if cell.final == "trained" and "trained" not in cell.unfit else []


def record(cell: RunCell, stage: Stage, name: str) -> dict[str, Any]:
    """A JSON file of what the scores of a stage say of their model; empty when they are not there, or not those of the cell."""
    path = cell.records(stage) / name
    data = read_json(path) if stage not in cell.unfit and path.is_file() else {}
    return data if isinstance(data, dict) else {}


@dataclass
class Frame:
    """The table, with what is known of each cell and stage. Intervals are kept once they were asked for.

    Attributes:
        cells: The cells; each knows why its scores are not its own.
        rows: The rows, by cell, stage and task.
        scores: The scores artifact of each cell and stage that has one.
        reasons: Why a cell has no score at a stage.
        damage: Which file of those is damaged.
    """

    cells: CellList
    rows: list[Row] = field(default_factory=list)
    scores: dict[CellStage, Score] = field(default_factory=dict)
    reasons: dict[CellStage, str] = field(default_factory=dict)
    damage: dict[CellStage, str] = field(default_factory=dict)
    _samples: dict[tuple[Path, str], Samples] = field(default_factory=dict)
    _intervals: dict[object, Interval | None] = field(default_factory=dict)
    _speeds: dict[tuple[str, str, str], CellSpeed] = field(default_factory=dict)

    @cached_property
    def combinations(self) -> dict[Combination, list[RunCell]]:
        """Combination -> its cells, by seed."""
        members: dict[Combination, list[RunCell]] = {}
        for cell in sorted(self.cells.cells, key=lambda cell: cell.seed):
            members.setdefault(cell.combination, []).append(cell)
        return {cell.combination: members[cell.combination] for cell in self.cells.cells}

    @cached_property
    def groups(self) -> dict[tuple[str, str, str], list[Combination]]:
        """(model, language, recipe) in which methods are compared -> its combinations, in the order of the cell list."""
        groups: dict[tuple[str, str, str], list[Combination]] = {}
        for combination in self.combinations:
            groups.setdefault(combination.group, []).append(combination)
        return groups

    @cached_property
    def _by_stage(self) -> dict[CellStage, list[Row]]:
        rows: dict[CellStage, list[Row]] = {}
        for row in self.rows:
            rows.setdefault((row.cell.key, row.stage), []).append(row)
        return rows

    def stages(self, combination: Combination) -> tuple[Stage, ...]:
        """The stages of its cells: zero-shot and trained cells never share a group."""
        return self.combinations[combination][0].stages

    def control(self, combination: Combination, method: str) -> Combination | None:
        """The reference method that a combination is compared with: same group, and same tokenizer unless it is the control."""
        return next((
            other for other in self.groups[combination.group] if other.method == method and (method == CONTROL or other.tokenizer == combination.tokenizer)
        ), None)  # fmt: skip

    def plain(self, combination: Combination) -> Combination | None:
        """The plain initialiser of a chain (`mean` of `mean+prior`); None when it has no refiner or was not run."""
        return self.control(combination, combination.initialiser) if "+" in combination.method else None

    def scored(self, combination: Combination, stage: Stage) -> list[RunCell]:
        """The seeds that have a score."""
        return [cell for cell in self.combinations[combination] if (cell.key, stage) in self.scores]

    def example(self, combination: Combination, stage: Stage) -> RunCell:
        """The first seed that has a score; without any, the first."""
        return [*self.scored(combination, stage), self.combinations[combination][0]][0]

    def of_cell(self, cell: RunCell, stage: Stage) -> list[Row]:
        """The rows of a cell at a stage."""
        return self._by_stage.get((cell.key, stage), [])

    def all_rows(self, combination: Combination) -> list[Row]:
        """The rows of all seeds, by stage."""
        return [row for stage in self.stages(combination) for cell in self.combinations[combination] for row in self.of_cell(cell, stage)]

    def main_rows(self, combination: Combination, stage: Stage, task: str) -> list[Row]:
        """For each seed that was scored on a task at a stage the row that tables show of it."""
        return [row for cell in self.combinations[combination] for row in self.of_cell(cell, stage) if row.main and row.task == task]

    def bits_task(self, combination: Combination, english: bool = False) -> str:
        """Slug of the task that says its bits per byte, at all of its stages; empty when it was not scored on one."""
        return bits_task(self.all_rows(combination), english)

    def tasks(self, combinations: Iterable[Combination]) -> dict[str, Row]:
        """Every task that these were scored on -> one of its rows; bits per byte first."""
        rows = {row.task: row for combination in combinations for row in self.all_rows(combination) if row.main}
        return {task: rows[task] for task in sorted(rows, key=lambda task: (rows[task].builder != BITS, rows[task].english, task))}

    def value(self, cell: RunCell, stage: Stage, metric: str, task: str = "") -> float | None:
        """A number of one cell; None where it is not known."""
        return next((row.value for row in self.of_cell(cell, stage) if (row.task, row.metric) == (task, metric)), None)

    def average(self, cells: Iterable[RunCell], stage: Stage, metric: str) -> float | None:
        """What cells took at a stage, averaged over those that know it; None where none does."""
        known = [value for cell in cells if (value := self.value(cell, stage, metric)) is not None]
        return fmean(known) if known else None

    def interval(self, combination: Combination, stage: Stage, task: str) -> Interval | None:
        """Score on a task over the seeds, with its interval; None where no seed was scored on it."""
        key = (combination, stage, task)
        if key not in self._intervals:
            rows = self.main_rows(*key)
            self._intervals[key] = self.interval_of(rows) if rows else None
        return self._intervals[key]

    def interval_of(self, rows: Iterable[Row]) -> Interval:
        """Score of one row, or of several seeds, with its interval."""
        return score_interval([self.samples(row) for row in rows])

    def difference(self, combination: Combination, stage: Stage, other: Combination, other_stage: Stage, task: str) -> Interval | None:
        """Paired difference of two combinations on a task; None where one of them was not scored.

        A side that was run with a single seed is compared with every seed of the other. A side of several seeds of which one alone was
        scored is not spread over the others: that would count a score several times.

        Raises:
            DataError: The two were scored on different documents.
        """
        key = (combination, stage, other, other_stage, task)
        if key not in self._intervals:
            ours, theirs = (
                {row.cell.seed: row for row in self.main_rows(*side, task)} for side in ((combination, stage), (other, other_stage))
            )
            if len(self.combinations[combination]) > 1 and len(self.combinations[other]) > 1:
                shared = ours.keys() & theirs.keys()
                ours, theirs = ({seed: side[seed] for seed in shared} for side in (ours, theirs))
            left, right = ([self.samples(side[seed]) for seed in sorted(side)] for side in (ours, theirs))
            self._intervals[key] = paired_difference(left, right) if left and right else None
        return self._intervals[key]

    def samples(self, row: Row) -> Samples:
        """Per-unit samples of a row."""
        key = (row.samples, row.metric)
        if key not in self._samples:
            self._samples[key] = read_samples(*key)
        return self._samples[key]

    def speed(self, combination: Combination) -> CellSpeed:
        """How fast a model is with a combination's vocabulary; it depends on nothing else."""
        key = (combination.model, combination.language, combination.tokenizer)
        if key not in self._speeds:
            self._speeds[key] = cell_speed(self.combinations[combination][0])
        return self._speeds[key]

    def unscored(self, combination: Combination) -> dict[Stage, str]:
        """Stage -> why the last of the seeds without a score has none."""
        cells = self.combinations[combination]
        return {stage: self.reasons[cell.key, stage] for stage in cells[0].stages for cell in cells if (cell.key, stage) in self.reasons}


def read_frame(cells: CellList, refuse: bool = True) -> Frame:
    """Read what was scored of every cell, and what is recorded beside it.

    A cell whose scores are not there, or not its own, is kept with the reason, so that a partly pulled tree still gives an honest table.

    Args:
        cells: The cells.
        refuse: Raise where a file is damaged; else keep the cell, and what is wrong in `Frame.damage`.

    Raises:
        ArtifactError, DataError: A file is damaged.
    """
    frame = Frame(cells)
    frame.cells = cells.model_copy(update={"cells": [_read(frame, cell, refuse) for cell in cells.cells]})
    return frame


def _read(frame: Frame, cell: RunCell, refuse: bool) -> RunCell:
    """Enter a cell into the table; the cell, with the reasons why scores are not those of its model."""
    unfit: dict[Stage, str] = {}
    for stage in cell.stages:
        if cell.reason is not None:
            frame.reasons[cell.key, stage] = f"skipped: {cell.reason}"
            continue
        try:
            foreign = stale(cell, *of_stage(stage))
            if problem := missing(cell.score_folder(stage)) or foreign:
                unfit[stage] = problem
            else:
                score = frame.scores[cell.key, stage] = read_score(cell.score_folder(stage))
                frame.rows += score_rows(cell, stage, score)
        except TokgraftError as error:
            if refuse:
                raise
            unfit[stage] = frame.damage[cell.key, stage] = error.what
    frame.reasons |= {(cell.key, stage): f"not scored: {problem}" for stage, problem in unfit.items()}
    cell = cell.model_copy(update={"unfit": unfit})
    with suppress(*(() if refuse else (TokgraftError,))):
        frame.rows += cost_rows(cell)
    return cell
