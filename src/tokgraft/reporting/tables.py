"""The tables: rows of values that know which artifacts they come from, written as CSV with no empty cell."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tokgraft.cells import Stage, TaskScore, bits_task
from tokgraft.reporting.compare import Comparison
from tokgraft.reporting.evidence import Evidence, Group, Outcome, curve, tokenizer_facts, training_cost
from tokgraft.reporting.origins import origins
from tokgraft.scoring.statistics import Interval, score_interval

FORMULA_SIGNS = tuple("=+-@＝＋－＠")  # what makes a spreadsheet take an entry for a formula; some know the full-width forms


@dataclass(frozen=True)
class Value:
    """A number with its sources, or the reason why there is none.

    Attributes:
        number: The value.
        reason: Why there is none, when `number` is None.
        sources: Folders of the artifacts it was computed from.
    """

    number: float | None
    reason: str = ""
    sources: tuple[Path, ...] = ()

    def __str__(self) -> str:
        return f"n/a: {self.reason or 'not recorded'}" if self.number is None else plain_number(self.number)


@dataclass
class Table:
    """Rows of one CSV file. `key` names the columns that identify a row."""

    name: str
    key: tuple[str, ...]
    rows: list[dict[str, Value | str]] = field(default_factory=list)

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


def leaderboard(evidence: Evidence) -> Table:
    """One row per cell and stage: bits per byte with intervals, accuracies and cost; skipped cells with their reason."""
    table = Table("leaderboard", ("model", "language", "tokenizer", "method", "recipe", "seed", "stage"))
    tasks = evidence.task_slugs()
    for group in ordered(evidence):
        for index in range(len(group.cells)):
            for stage in group.outcomes:
                table.rows.append(_leaderboard_row(evidence, group, group.outcomes[stage][index], tasks))
    return table


def ordered(evidence: Evidence) -> list[Group]:
    """Groups by place; within it the controls first, and a chain after its plain initialiser."""
    rank = {name: index for index, name in enumerate(("none", "random", "mean"))}

    def key(group: Group) -> tuple[Any, ...]:
        first, _, rest = group.method.partition("+")
        return (evidence.places.index(group.place), rank.get(first, len(rank)), first, rest, group.tokenizer)

    return sorted(evidence.groups, key=key)


def _leaderboard_row(evidence: Evidence, group: Group, outcome: Outcome, tasks: list[str]) -> dict[str, Value | str]:
    score = outcome.score
    row: dict[str, Value | str] = {**names(outcome), "status": "scored" if score else outcome.reason}
    by_slug = {task.slug: task for task in score.tasks} if score else {}
    sources = (score.folder,) if score else ()
    bits = group.bits_task()
    row["bits_task"] = bits or "n/a: no bits-per-byte task"
    for name, measure in (("bits_per_byte", bits), ("bits_per_byte_english", group.bits_task(english=True))):
        row.update(_with_interval(evidence, name, by_slug.get(measure), outcome))
    for name, key in (("uniform_baseline", "flat_guess"), ("tokens_per_byte", "tokens_per_byte"), ("vocabulary", "tokens")):
        row[name] = _fact(key, bits, outcome, sources)
    for slug in tasks:
        task = by_slug.get(slug)
        if any(one.builder != "bits_per_byte" for one in _all(evidence, slug)):
            row.update(_accuracy(evidence, slug, task, outcome))
    row.update(_origins(outcome))
    row.update(_training(outcome))
    row["plain_initialiser"], row["plain_bits_per_byte"] = _plain(evidence, group, outcome)
    row["model_hash"] = score.model if score else f"n/a: {outcome.reason}"
    row["score_manifest"] = score.hash if score else f"n/a: {outcome.reason}"
    return row


def _all(evidence: Evidence, slug: str) -> list[TaskScore]:
    return [task for group in evidence.groups for stage in group.outcomes for task in group.tasks(stage, slug)][:1]


def _with_interval(evidence: Evidence, name: str, task: TaskScore | None, outcome: Outcome) -> dict[str, Value | str]:
    if task is None:
        reason = outcome.reason or "no bits-per-byte task in this experiment"
        return {column: Value(None, reason) for column in (name, f"{name}_low", f"{name}_high", f"{name}_n")}
    bounds = one_interval(evidence, task)
    source = (task.samples.parent.parent,)
    return {
        name: Value(task.value, "", source),
        f"{name}_low": Value(bounds.low, "", source),
        f"{name}_high": Value(bounds.high, "", source),
        f"{name}_n": Value(bounds.n, "", source),
    }


def one_interval(evidence: Evidence, task: TaskScore) -> Interval:
    """Interval of one model's score on one task."""
    return score_interval([evidence.samples(task)])


def _accuracy(evidence: Evidence, slug: str, task: TaskScore | None, outcome: Outcome) -> dict[str, Value | str]:
    names = [f"{slug}_{part}" for part in ("accuracy", "accuracy_low", "accuracy_high", "n", "items", "chance")]
    if task is None:
        skipped = outcome.score.data.get("skipped", {}) if outcome.score else {}
        reason = outcome.reason or str(skipped.get(slug, "not among this cell's tasks"))
        return {name: Value(None, reason) for name in names}
    bounds, source = one_interval(evidence, task), (task.samples.parent.parent,)
    numbers = (task.value, bounds.low, bounds.high, bounds.n, task.n, task.chance)
    return {name: Value(number, "no chance level", source) for name, number in zip(names, numbers, strict=True)}


def _fact(key: str, task: str, outcome: Outcome, sources: tuple[Path, ...]) -> Value:
    found = outcome.score.fact(key, task) if outcome.score else None
    return Value(found, outcome.reason or f"the scores hold no {key}", sources)


def _origins(outcome: Outcome) -> dict[str, Value | str]:
    found = origins(outcome.cell)
    shares = found.shares if found else dict.fromkeys(("copied", "made", "fallback", "random"))
    reason = outcome.reason or "the transplant left no record"
    source = (outcome.cell.paths.init,)
    return {f"share_{name}": Value(value, reason, source) for name, value in shares.items()}


def _training(outcome: Outcome) -> dict[str, Value | str]:
    names = ("training_bytes", "training_flops")
    if outcome.stage == "init":
        return {name: Value(0 if outcome.score else None, outcome.reason, (outcome.cell.paths.init,)) for name in names}
    cost = training_cost(outcome.cell)
    reason = outcome.reason or "not recorded by the training"
    source = (outcome.cell.model_folder("trained"),)
    return {name: Value(number, reason, source) for name, number in zip(names, (cost.bytes, cost.flops), strict=True)}


def _plain(evidence: Evidence, group: Group, outcome: Outcome) -> tuple[str, Value]:
    if "+" not in group.method:
        return "n/a: not a chain", Value(None, "not a chain")
    plain = evidence.plain(group)
    if plain is None:
        return "n/a: not run", Value(None, "the plain initialiser was not run beside the chain")
    for score in plain.scores(outcome.stage)[:1]:
        if task := score.task(group.bits_task()):
            return plain.method, Value(task.value, "", (score.folder,))
    return plain.method, Value(None, "the plain initialiser has no score")


def scores(evidence: Evidence) -> Table:
    """The long form: one row per cell, stage, task and metric. Nothing in it depends on the machine."""
    table = Table("scores", ("model", "language", "tokenizer", "method", "recipe", "seed", "stage", "task", "metric"))
    for outcome in evidence.outcomes:
        for task in outcome.score.tasks if outcome.score else []:
            source = (task.samples.parent.parent,)
            bounds = one_interval(evidence, task) if task.metric else None
            for metric, value in sorted(task.metrics.items()):
                main = metric == task.metric and bounds is not None
                reason = "the interval is computed for the main metric"
                table.rows.append({
                    **names(outcome), "task": task.slug, "metric": metric, "value": Value(value, "", source),
                    "low": Value(bounds.low if main and bounds else None, reason, source),
                    "high": Value(bounds.high if main and bounds else None, reason, source),
                    "n": Value(bounds.n if bounds else task.n, "", source), "unit": bounds.unit if bounds else "item",
                    "items": Value(task.n, "", source), "chance": Value(task.chance, "bits per byte has no chance level", source),
                    "score_manifest": outcome.score.hash if outcome.score else "",
                })  # fmt: skip
    return table


def names(outcome: Outcome) -> dict[str, Value | str]:
    """The columns that say which cell and stage a row speaks of."""
    cell = outcome.cell
    return {
        "model": cell.model, "language": cell.language, "tokenizer": cell.tokenizer, "method": cell.method, "recipe": cell.recipe,
        "seed": str(cell.seed), "stage": outcome.stage,
    }  # fmt: skip


def differences(comparisons: Iterable[Comparison]) -> Table:
    """One row per comparison, with a claim only where there are enough pages (or items) and the interval excludes 0."""
    table = Table("differences", ("model", "language", "recipe", "stage", "task", "tokenizer", "method", "reference"))
    for one in comparisons:
        model, language, recipe = one.group.place
        sources = sources_of(one.group, one.stage)
        diff = one.difference
        table.rows.append({
            "model": model, "language": language, "recipe": recipe, "stage": one.stage, "task": one.task, "metric": one.metric,
            "tokenizer": one.group.tokenizer, "method": one.group.method, "reference": one.reference,
            "difference": Value(diff.mean, "", sources), "low": Value(diff.low, "", sources), "high": Value(diff.high, "", sources),
            "claim": one.claim, "p": Value(diff.p, "", sources), "p_holm": Value(one.p_holm, "", sources),
            "detectable": Value(diff.detectable, "", sources), "n": Value(diff.n, "", sources), "unit": diff.unit,
            "seeds": Value(diff.seeds, "", sources),
        })  # fmt: skip
    return table


def sources_of(group: Group, stage: Stage) -> tuple[Path, ...]:
    """Folders of the scores of a group's seeds."""
    return tuple(score.folder for score in group.scores(stage))


def tokenizers(evidence: Evidence) -> Table:
    """One row per tokenizer: the metrics of its artifact, and the tokens per byte measured while scoring."""
    table = Table("tokenizers", ("model", "language", "tokenizer"))
    seen: dict[tuple[str, str, str], Outcome] = {}
    for outcome in sorted(evidence.outcomes, key=lambda one: one.score is None):  # one with a score, where there is any
        seen.setdefault((outcome.cell.model, outcome.cell.language, outcome.cell.tokenizer), outcome)
    for (model, language, recipe), outcome in sorted(seen.items()):
        sources = (outcome.score.folder,) if outcome.score else ()
        row: dict[str, Value | str] = {"model": model, "language": language, "tokenizer": recipe}
        for name, key in (("vocabulary", "tokens"), ("tokens_per_byte", "tokens_per_byte"), ("uniform_baseline", "flat_guess")):
            row[name] = _fact(key, bits_task([outcome.score] if outcome.score else []), outcome, sources)
        facts = tokenizer_facts(outcome.cell)
        numbers = {key: value for key, value in facts.items() if isinstance(value, int | float) and not isinstance(value, bool)}
        row.update({f"artifact/{key}": Value(value, "", (outcome.cell.paths.tokenizer,)) for key, value in sorted(numbers.items())})
        table.rows.append(row)
    return table


def curves(evidence: Evidence) -> Table:
    """One row per step of each learning curve; loss and validation of the same step share it."""
    table = Table("curves", ("model", "language", "tokenizer", "method", "recipe", "seed", "step"))
    for cell in evidence.cells.cells:
        for record in _by_step(curve(cell)):
            row: dict[str, Value | str] = {
                "model": cell.model, "language": cell.language, "tokenizer": cell.tokenizer, "method": cell.method, "recipe": cell.recipe,
                "seed": str(cell.seed), "step": plain_number(record.get("step", 0)),
            }  # fmt: skip
            numbers = {key: value for key, value in record.items() if key != "step" and isinstance(value, int | float)}
            row.update({key: Value(value, "", (cell.model_folder("trained"),)) for key, value in numbers.items()})
            row.update({key: value for key, value in record.items() if isinstance(value, str)})
            table.rows.append(row)
    return table


def _by_step(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    steps: dict[Any, dict[str, Any]] = {}
    for record in records:
        steps.setdefault(record.get("step"), {}).update(record)
    return list(steps.values())
