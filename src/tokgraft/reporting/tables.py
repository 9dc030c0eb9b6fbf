"""The CSV files: views of the table of all numbers, whose entries know which artifacts they come from; no entry is empty."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from tokgraft.cells import Combination, RunCell, Stage, flatten, read_facts, stale, walk
from tokgraft.frame import Frame, curve
from tokgraft.reporting.compare import Comparison
from tokgraft.reporting.origins import KINDS, cell_origins
from tokgraft.score_rows import FACTS, Row, bits_task, main_row

FORMULA_SIGNS = tuple("=+-@＝＋－＠")  # what makes a spreadsheet take an entry for a formula; some know the full-width forms
CELL = ("model", "language", "tokenizer", "method", "recipe", "seed", "stage")
SECONDS = ("transplant_seconds", "transplant_cpu_seconds", "resource_seconds", "resource_cpu_seconds")


class Value(NamedTuple):
    """A number with the folders of the artifacts it was computed from, or the reason why there is none."""

    number: float | None
    reason: str = ""
    sources: tuple[Path, ...] = ()

    def __str__(self) -> str:
        return f"n/a: {self.reason or 'not recorded'}" if self.number is None else plain_number(self.number)


Line = dict[str, Value | str]


@dataclass
class CsvTable:
    """Rows of one CSV file. `key` names the columns that identify a row."""

    name: str
    key: tuple[str, ...]
    rows: list[Line] = field(default_factory=list)

    @property
    def columns(self) -> list[str]:
        """All columns, in the order in which rows bring them."""
        return list(dict.fromkeys(column for row in self.rows for column in row))

    def write(self, folder: Path) -> None:
        """Write `<name>.csv`; a column that a row lacks reads n/a with the reason that the row gives for it."""
        with (folder / f"{self.name}.csv").open("w", encoding="utf-8", newline="") as handle:
            writer = csv.writer(handle, lineterminator="\n")
            writer.writerow([as_text(column) for column in self.columns])
            for row in self.rows:
                writer.writerow([_entry(row.get(column, "n/a: does not apply")) for column in self.columns])

    def numbers(self) -> Iterable[tuple[str, str, Value]]:
        """(row key, column, value) of every number."""
        for row in self.rows:
            name = "|".join(str(row[column]) for column in self.key)
            for column, value in row.items():
                if isinstance(value, Value) and value.number is not None:
                    yield name, column, value


def _entry(value: Value | str) -> str:
    if isinstance(value, Value) and value.number is not None:
        return str(value)
    return as_text(str(value)) or "n/a: none"


def as_text(entry: str) -> str:
    """An entry in one line that a spreadsheet shows as it is: one that it would run as a formula gets an apostrophe.

    Names and texts of others (a task, a token, the message of an error) may begin with a sign that spreadsheets take
    for the beginning of a formula, white space before it or not; numbers (-0.5) stay as they are.
    """
    entry = re.sub(r"[\r\n]+", " ", entry)
    try:
        float(entry)
    except ValueError:
        return f"'{entry}" if entry.lstrip().startswith(FORMULA_SIGNS) else entry
    return entry


def plain_number(number: float) -> str:
    """Six significant digits, whole numbers whole."""
    if isinstance(number, int) or (math.isfinite(number) and number == int(number) and abs(number) < 1e15):
        return str(int(number))
    return f"{number:.6g}"


def names(cell: RunCell) -> Line:
    """The columns that say which cell a row speaks of."""
    return {**cell.combination._asdict(), "seed": str(cell.seed)}


def leaderboard(frame: Frame) -> CsvTable:
    """One row per cell and stage: bits per byte with intervals, accuracies and cost; skipped cells with their reason."""
    table = CsvTable("leaderboard", CELL)
    choices = [task for task, row in frame.tasks(frame.combinations).items() if row.is_choice]
    for one in ordered(frame):
        for cell in frame.combinations[one]:
            table.rows += [_leaderboard_row(frame, one, cell, stage, choices) for stage in cell.stages]
    return table


def ordered(frame: Frame) -> list[Combination]:
    """Combinations by group; within it the controls first, and a chain after its plain initialiser."""
    rank = {name: index for index, name in enumerate(("none", "random", "mean"))}
    groups = list(frame.groups)

    def key(one: Combination) -> tuple[Any, ...]:
        _, _, refiners = one.method.partition("+")
        return (groups.index(one.group), rank.get(one.initialiser, len(rank)), one.initialiser, refiners, one.tokenizer)

    return sorted(frame.combinations, key=key)


def _leaderboard_row(frame: Frame, one: Combination, cell: RunCell, stage: Stage, choices: list[str]) -> Line:
    score, reason = frame.scores.get((cell.key, stage)), frame.reasons.get((cell.key, stage), "")
    sources, of_cell = (score.folder,) if score else (), frame.of_cell(cell, stage)
    bits, english = frame.bits_task(one), frame.bits_task(one, english=True)
    line: Line = {**names(cell), "stage": stage, "status": "scored" if score else reason, "bits_task": bits or "n/a: no bits-per-byte task"}
    for name, task in (("bits_per_byte", bits), ("bits_per_byte_english", english)):
        columns = {"value": name, **{part: f"{name}_{part}" for part in ("low", "high", "n")}}
        line |= _with_interval(frame, main_row(of_cell, task), columns, reason or "no bits-per-byte task in this experiment")
    for metric, name in {**FACTS, "vocabulary": "tokens"}.items():
        value = frame.value(cell, stage, metric, "" if metric == "vocabulary" else bits)
        line[metric] = Value(value, reason or f"the scores hold no {name}", sources)
    for task in choices:
        skipped = str((score.data.get("skipped", {}) if score else {}).get(task, "not among this cell's tasks"))
        row, columns = (
            main_row(of_cell, task),
            {"value": f"{task}_accuracy", "low": f"{task}_accuracy_low", "high": f"{task}_accuracy_high"},
        )
        columns |= {part: f"{task}_{part}" for part in ("n", "items", "chance")}
        line |= _with_interval(frame, row, columns, "no chance level" if row else reason or skipped)
    origins = cell_origins(frame, cell)
    shares = origins.shares if origins else dict.fromkeys(KINDS)
    line |= _values(
        {f"share_{kind}": share for kind, share in shares.items()}, reason or "the transplant left no record", (cell.paths.init,)
    )
    costs = ("training_bytes", "training_flops")
    if stage == "init":
        line |= _values(dict.fromkeys(costs, 0 if score else None), reason, (cell.paths.init,))
    else:
        trained = {metric: frame.value(cell, stage, metric) for metric in costs}
        line |= _values(trained, reason or "not recorded by the training", (cell.model_folder(stage),))
    line["plain_initialiser"], line["plain_bits_per_byte"] = _plain(frame, one, stage)
    line["model_hash"], line["score_manifest"] = (score.model, score.hash) if score else [f"n/a: {reason}"] * 2
    return line


def _values(numbers: Mapping[str, float | None], reason: str, sources: tuple[Path, ...]) -> Line:
    return {name: Value(number, reason, sources) for name, number in numbers.items()}


def _with_interval(frame: Frame, row: Row | None, columns: dict[str, str], reason: str) -> Line:
    """Parts of a score (value, low, high, n, items, chance) under the names of their columns."""
    if row is None:
        return _values(dict.fromkeys(columns.values()), reason, ())
    found = frame.interval_of([row])
    parts = {"value": row.value, "low": found.low, "high": found.high, "n": found.n, "items": row.items, "chance": row.chance}
    return _values({column: parts[part] for part, column in columns.items()}, reason, (frame.scores[row.cell.key, row.stage].folder,))


def _plain(frame: Frame, one: Combination, stage: Stage) -> tuple[str, Value]:
    if "+" not in one.method:
        return "n/a: not a chain", Value(None, "not a chain")
    plain = frame.plain(one)
    if plain is None:
        return "n/a: not run", Value(None, "the plain initialiser was not run beside the chain")
    for cell in frame.scored(plain, stage)[:1]:
        if row := main_row(frame.of_cell(cell, stage), frame.bits_task(one)):
            return plain.method, Value(row.value, "", (frame.scores[cell.key, stage].folder,))
    return plain.method, Value(None, "the plain initialiser has no score")


def scores(frame: Frame) -> CsvTable:
    """The scores of the table itself: one row per cell, stage, task and metric. Nothing in it depends on the machine."""
    return CsvTable("scores", (*CELL, "task", "metric"), [_score(frame, row) for row in frame.rows if row.builder])


def _score(frame: Frame, row: Row) -> Line:
    score = frame.scores[row.cell.key, row.stage]
    main = main_row(frame.of_cell(row.cell, row.stage), row.task)
    found = frame.interval_of([main]) if main else None
    shown = found if row.main else None
    ends = {"low": shown.low if shown else None, "high": shown.high if shown else None}
    return {
        **names(row.cell), "stage": row.stage, "task": row.task, "metric": row.metric, "value": Value(row.value, "", (score.folder,)),
        **_values(ends, "the interval is computed for the main metric", (score.folder,)),
        "n": Value(found.n if found else row.items, "", (score.folder,)), "unit": found.unit if found else "item",
        "items": Value(row.items, "", (score.folder,)),
        "chance": Value(row.chance, "bits per byte has no chance level", (score.folder,)), "score_manifest": score.hash,
    }  # fmt: skip


def measured(frame: Frame) -> CsvTable:
    """One row for each cell and stage with a score: seconds of transplant, resources and training.

    Beside it only speed.csv depends on the machine, so the other tables follow from the scores alone, and the manifest can hold their hashes.
    """
    table = CsvTable("measured", CELL)
    for cell, stage in walk(frame.cells):
        if (cell.key, stage) in frame.scores:
            seconds = {metric: frame.value(cell, "init", metric) for metric in SECONDS}
            training = {"training_seconds": frame.value(cell, "trained", "training_seconds") if stage == "trained" else 0.0}
            sources = (cell.model_folder(stage), cell.score_folder(stage))
            table.rows.append({**names(cell), "stage": stage, **_values(seconds | training, "not measured", sources)})
    return table


def differences(frame: Frame, comparisons: Iterable[Comparison]) -> CsvTable:
    """One row per comparison, with a claim only where there are enough pages (or items) and the interval excludes 0."""
    table = CsvTable("differences", ("model", "language", "recipe", "stage", "task", "tokenizer", "method", "reference"))
    for one in comparisons:
        found, sources = one.difference, sources_of(frame, one.combination, one.stage)
        table.rows.append({
            "model": one.combination.model, "language": one.combination.language, "recipe": one.combination.recipe, "stage": one.stage, "task": one.task,
            "metric": one.metric, "tokenizer": one.combination.tokenizer, "method": one.combination.method, "reference": one.reference,
            **_values({"difference": found.mean, "low": found.low, "high": found.high}, "", sources), "claim": one.claim,
            **_values({"p": found.p, "p_holm": one.p_holm, "detectable": found.detectable, "n": found.n}, "", sources), "unit": found.unit,
            "seeds": Value(found.seeds, "", sources),
        })  # fmt: skip
    return table


def sources_of(frame: Frame, one: Combination, stage: Stage) -> tuple[Path, ...]:
    """Folders of the scores of a combination's seeds."""
    return tuple(frame.scores[cell.key, stage].folder for cell in frame.scored(one, stage))


def tokenizer_facts(cell: RunCell) -> dict[str, Any]:
    """Flat metrics of a cell's tokenizer (nested keys joined by `/`); empty when the artifact is not here, or was made from other text."""
    return {} if stale(cell, "tokenizer") else flatten(read_facts(cell.paths.tokenizer, "metrics.json", "tokenizer"))


def tokenizers(frame: Frame) -> CsvTable:
    """One row per tokenizer: the metrics of its artifact, and the tokens per byte measured while scoring."""
    key = ("model", "language", "tokenizer")
    table = CsvTable("tokenizers", key)
    seen: dict[tuple[str, ...], tuple[RunCell, Stage]] = {}
    for cell, stage in sorted(walk(frame.cells), key=lambda pair: (pair[0].key, pair[1]) not in frame.scores):  # those with a score first
        seen.setdefault(cell.combination[:3], (cell, stage))
    for name, (cell, stage) in sorted(seen.items()):
        score, reason = frame.scores.get((cell.key, stage)), frame.reasons.get((cell.key, stage), "")
        task = bits_task(frame.of_cell(cell, stage))
        line: Line = dict(zip(key, name, strict=True))
        for metric, fact in reversed({**FACTS, "vocabulary": "tokens"}.items()):
            value = frame.value(cell, stage, metric, "" if metric == "vocabulary" else task)
            line[metric] = Value(value, reason or f"the scores hold no {fact}", (score.folder,) if score else ())
        facts = sorted(tokenizer_facts(cell).items())
        numbers = {f"artifact/{fact}": value for fact, value in facts if isinstance(value, int | float) and not isinstance(value, bool)}
        table.rows.append(line | _values(numbers, "", (cell.paths.tokenizer,)))
    return table


def curves(frame: Frame) -> CsvTable:
    """One row per step of each learning curve; loss and validation of the same step share it."""
    table = CsvTable("curves", (*CELL[:-1], "step"))
    for cell in frame.cells.cells:
        steps: dict[Any, dict[str, Any]] = {}
        for record in curve(cell):
            steps.setdefault(record.get("step"), {}).update(record)
        for record in steps.values():
            numbers = {key: value for key, value in record.items() if key != "step" and isinstance(value, int | float)}
            table.rows.append({
                **names(cell), "step": plain_number(record.get("step", 0)), **_values(numbers, "", (cell.model_folder("trained"),)),
                **{key: value for key, value in record.items() if isinstance(value, str)},
            })  # fmt: skip
    return table
