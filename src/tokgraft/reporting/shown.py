"""Entries of the page's tables: what is read, what is sorted by, and which artifact a number comes from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tokgraft.cells import Stage, identity
from tokgraft.config.layout import CONTROL
from tokgraft.reporting.compare import Comparison
from tokgraft.reporting.evidence import Evidence, Group
from tokgraft.reporting.figures import quantity
from tokgraft.reporting.summary import Summary
from tokgraft.reporting.words import measured_on
from tokgraft.scoring.statistics import Difference, Interval


@dataclass(frozen=True)
class Shown:
    """A table cell of the page.

    Attributes:
        text: What is read.
        sort: What the column is sorted by; empty: last.
        note: Smaller text after it (the interval).
        tip: What hovering or tapping shows: the exact value and where it comes from.
        bar: Left end, right end and point of an inline interval bar, in percent; None: no bar.
        tone: good, bad or none: colour of a difference.
    """

    text: str
    sort: str = ""
    note: str = ""
    tip: str = ""
    bar: tuple[float, float, float] | None = None
    tone: str = ""


@dataclass(frozen=True)
class Column:
    """A column of a table of methods: its heading, an explanation, and the entry of each row."""

    name: str
    help: str
    entry: Callable[[Summary], Shown]


def absent(reason: str) -> Shown:
    """No number, and why."""
    return Shown("n/a", "", reason if len(reason) < 40 else reason[:38] + "…", reason)


def of_scores(group: Group | None, stage: Stage) -> str:
    """The scores that a number was computed from."""
    return "; ".join(f"{score.folder} · manifest {score.hash[:12]}" for score in (group.scores(stage) if group else ()))


def of_model(row: Summary, stage: Stage) -> str:
    """The model whose records a number comes from."""
    cell = row.group.example(stage)
    return f"{cell.model_folder(stage)} · manifest {identity(cell.records(stage))[:12]}"


def bits(row: Summary, stage: Stage, found: Interval | None, limits: tuple[float, float] | None = None) -> Shown:
    """Bits per byte with their interval; with `limits` also as a bar between these."""
    if found is None:
        return absent(row.reasons.get(stage, "not scored"))
    bar = None
    if limits and limits[1] > limits[0]:
        low, high, at = (4 + 92 * (value - limits[0]) / (limits[1] - limits[0]) for value in (found.low, found.high, found.mean))
        bar = (low, high, at)
    tip = f"{found.mean:.6f} on {measured_on(found)}. {of_scores(row.group, stage)}"
    return Shown(f"{found.mean:.3f}", f"{found.mean}", f"{found.low:.2f}–{found.high:.2f}", tip, bar)


def versus(evidence: Evidence, row: Summary, name: str, one: Comparison | None) -> Shown:
    """The paired difference of a row to a reference method."""
    if row.method == name or (row.is_control and name != CONTROL):
        return Shown("–", "", "", "the reference itself" if row.method == name else "see the row of that method")
    if one is None:
        return absent(f"{name} has no score to compare with")
    both = f"{of_scores(row.group, one.stage)} minus {of_scores(evidence.control(row.group, name), one.stage)}"
    tone = {True: "good", False: "bad", None: ""}[one.better]
    return difference(one.difference, f"Holm {one.p_holm:.4f}: {one.claim}. {both}", tone)


def difference(found: Difference | None, origin: str, tone: str | None = None) -> Shown:
    """A paired difference of bits per byte, coloured only where a claim is made."""
    if found is None:
        return Shown("–")
    if tone is None:
        tone = ("good" if found.mean < 0 else "bad") if found.claimed else ""
    tip = f"{found.mean:+.4f} [{found.low:+.4f}, {found.high:+.4f}], p = {found.p:.4f}, {measured_on(found)}. {origin}"
    return Shown(f"{found.mean:+.3f}", f"{found.mean}", "" if tone else "no claim", tip, None, tone)


def accuracy(row: Summary, task: str, chance: float) -> Shown:
    """Accuracy on a choice task, and whether it can be told from chance."""
    stage = row.group.final
    found = row.accuracy.get(stage, {}).get(task)
    if found is None:
        return absent(row.reasons.get(stage, "not among the tasks of this cell"))
    tone = {True: "good", False: "bad", None: ""}[found.above(chance)]
    words = {"good": "above chance", "bad": "below chance", "": "not distinguishable from chance"}[tone]
    interval = f"{found.mean:.4f} [{found.low:.4f}, {found.high:.4f}], {measured_on(found)}, chance {chance:.2f}"
    return Shown(
        f"{found.mean:.1%}", f"{found.mean}", "" if tone else "≈ chance", f"{interval}: {words}. {of_scores(row.group, stage)}", None, tone
    )


def number(value: float | None, form: str, origin: str, note: str = "") -> Shown:
    """A plain number, or that it was not measured."""
    if value is None:
        return absent("not measured")
    return Shown(form.format(value), f"{value}", note, f"{value:.6g}. {origin}")


def amount(value: float | None, unit: str, origin: str) -> Shown:
    """A large number in a few characters."""
    if value is None:
        return absent("not recorded")
    return Shown(f"{quantity(value)}{unit}", f"{value}", "", f"{value:.6g}{unit}. {origin}")
