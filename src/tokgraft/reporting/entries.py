"""Entries of the page's tables: what is read, what is sorted by, and which artifact a number comes from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tokgraft.cells import Combination, Stage, identity
from tokgraft.frame import Frame
from tokgraft.reporting.figures import quantity
from tokgraft.reporting.sections import Section
from tokgraft.reporting.words import measured_on
from tokgraft.scoring.statistics import Interval


@dataclass(frozen=True)
class Entry:
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
    entry: Callable[[Combination], Entry]


def absent(reason: str) -> Entry:
    """No number, and why."""
    return Entry("n/a", "", reason if len(reason) < 40 else reason[:38] + "…", reason)


def of_scores(frame: Frame, one: Combination | None, stage: Stage) -> str:
    """The scores that a number was computed from."""
    keys = [(cell.key, stage) for cell in (frame.scored(one, stage) if one else ())]
    return "; ".join(f"{frame.scores[key].folder} · manifest {frame.scores[key].hash[:12]}" for key in keys)


def of_model(frame: Frame, one: Combination, stage: Stage) -> str:
    """The model whose records a number comes from."""
    cell = frame.example(one, stage)
    return f"{cell.model_folder(stage)} · manifest {identity(cell.records(stage))[:12]}"


def bits(interval: Interval | None, origin: str, why: str = "", limits: tuple[float, float] | None = None) -> Entry:
    """Bits per byte with their interval, or why there are none; with `limits` also as a bar between these."""
    if interval is None:
        return absent(why)
    bar = None
    if limits and limits[1] > limits[0]:
        low, high, at = (4 + 92 * (value - limits[0]) / (limits[1] - limits[0]) for value in (interval.low, interval.high, interval.mean))
        bar = (low, high, at)
    tip = f"{interval.mean:.6f} on {measured_on(interval)}. {origin}"
    return Entry(f"{interval.mean:.3f}", f"{interval.mean}", f"{interval.low:.2f}–{interval.high:.2f}", tip, bar)


def versus(section: Section, row: Combination, reference: str) -> Entry:
    """The paired difference of a row to a reference method at the last stage."""
    frame, one = section.frame, section.against(row, reference, section.final)
    if row.method == reference or row.is_control:
        return Entry("–", "", "", "the reference itself" if row.method == reference else "see the row of that method")
    if one is None:
        return absent(f"{reference} has no score to compare with")
    both = f"{of_scores(frame, row, one.stage)} minus {of_scores(frame, frame.control(row, reference), one.stage)}"
    tone = {True: "good", False: "bad", None: ""}[one.better]
    return difference(one.difference, f"Holm {one.p_holm:.4f}: {one.claim}. {both}", tone)


def difference(interval: Interval | None, origin: str, tone: str | None = None) -> Entry:
    """A paired difference of bits per byte, coloured only where a claim is made."""
    if interval is None:
        return Entry("–")
    if tone is None:
        tone = ("good" if interval.mean < 0 else "bad") if interval.claimed else ""
    tip = f"{interval.mean:+.4f} [{interval.low:+.4f}, {interval.high:+.4f}], p = {interval.p:.4f}, {measured_on(interval)}. {origin}"
    return Entry(f"{interval.mean:+.3f}", f"{interval.mean}", "" if tone else "no claim", tip, None, tone)


def accuracy(interval: Interval | None, chance: float, origin: str, why: str) -> Entry:
    """Accuracy on a choice task, and whether it can be told from chance; or why there is none."""
    if interval is None:
        return absent(why)
    tone = {True: "good", False: "bad", None: ""}[interval.above(chance)]
    words = {"good": "above chance", "bad": "below chance", "": "not distinguishable from chance"}[tone]
    tip = f"{interval.mean:.4f} [{interval.low:.4f}, {interval.high:.4f}], {measured_on(interval)}, chance {chance:.2f}: {words}. {origin}"
    return Entry(f"{interval.mean:.1%}", f"{interval.mean}", "" if tone else "≈ chance", tip, None, tone)


def number(value: float | None, form: str, origin: str) -> Entry:
    """A plain number, or that it was not measured."""
    return absent("not measured") if value is None else Entry(form.format(value), f"{value}", "", f"{value:.6g}. {origin}")


def amount(value: float | None, unit: str, origin: str) -> Entry:
    """A large number in a few characters."""
    return absent("not recorded") if value is None else Entry(f"{quantity(value)}{unit}", f"{value}", "", f"{value:.6g}{unit}. {origin}")
