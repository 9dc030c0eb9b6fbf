"""The figures. Each takes summaries, draws, and gives the SVG for the page; small panels, so that a phone can show them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokgraft.cells import STAGES, Stage
from tokgraft.config.layout import CONTROL
from tokgraft.reporting.evidence import curve
from tokgraft.reporting.style import GRID, INK, MUTED, PAPER, at_edge, axes, axis_end, look, save, spread
from tokgraft.reporting.summary import PlaceSummary, Summary
from tokgraft.scoring.statistics import Interval

WIDTH = 4.4
FITS, LETTER = 20, 0.075  # letters of a name that fit beside a figure, and what each more makes it wider by
NAMED = 8  # points of a figure that all have their names beside them
Look = dict[str, tuple[str, str]]


@dataclass(frozen=True)
class Canvas:
    """Where figures go and how methods look in all of them."""

    folder: Path
    looks: Look

    def of(self, row: Summary) -> tuple[str, str]:
        """(colour, marker) of a method."""
        return self.looks[row.label]


def canvas(folder: Path, places: Sequence[PlaceSummary]) -> Canvas:
    """A canvas on which a method has the same colour in every figure."""
    return Canvas(folder, look([row.label for place in places for row in place.rows], CONTROL))


def stage_name(stage: Stage) -> str:
    """The stage in words."""
    return "right after the transplant" if stage == "init" else "after training"


def before_and_after(on: Canvas, place: PlaceSummary) -> str:
    """Bits per byte of every method from init (hollow) to trained (filled) with intervals, flat guess and untouched original."""
    rows = place.scored[::-1]
    longest = max((len(row.label) for row in rows), default=0)
    figure, ax = axes(WIDTH + LETTER * max(longest - FITS, 0), 1.1 + 0.42 * len(rows))
    tips: dict[str, str] = {}
    found = [found for row in rows for found in row.bits.values()]
    end = axis_end([one.mean for one in found], max(one.high for one in found))
    for y, row in enumerate(rows):
        _journey(ax, row, y, on.of(row), tips, end)
        flat = row.facts.get("flat_guess")
        if flat is not None:
            (mark,) = ax.plot([flat, flat], [y - 0.3, y + 0.3], color=MUTED, lw=1.4, ls=(0, (1, 1)), gid=f"flat{y}")
            tips[str(mark.get_gid())] = f"flat guess of {row.label}: {flat:.2f} bits per byte (log2 of the vocabulary x tokens per byte)"
    if place.untouched is not None:
        ax.axvline(place.untouched.mean, color=INK, lw=1, ls=(0, (4, 3)), zorder=1)
        left = place.untouched.mean > (min(one.mean for one in found) + min(end, max(one.mean for one in found))) / 2
        ax.annotate(
            f"untouched original {place.untouched.mean:.2f}", (place.untouched.mean, len(rows) - 0.42), xytext=(-4 if left else 4, 0),
            textcoords="offset points", fontsize=8, va="bottom", ha="right" if left else "left",
        )  # fmt: skip
    ax.set_yticks(range(len(rows)), [row.label for row in rows])
    ax.set_ylim(-0.6, len(rows) - 0.1)
    ax.margins(x=0.2)  # room for the numbers beside the dots
    if any(one.mean > end for one in found):
        ax.set_xlim(right=end)
    ax.grid(axis="y", visible=False)
    ax.set_xlabel(f"bits per byte, lower is better\n{_marks(place)}   ┊ flat guess")
    return save(figure, on.folder, f"bits-{place.slug}", tips, f"Bits per byte by method, {place.model}, {place.language}")


def _marks(place: PlaceSummary) -> str:
    return "   ".join(f"{'●' if stage == 'trained' else '○'} {stage_name(stage)}" for stage in place.stages)


def _journey(ax: Any, row: Summary, y: float, style: tuple[str, str], tips: dict[str, str], end: float) -> None:
    colour, marker = style
    if len(row.bits) == 2:
        ax.plot([row.bits[stage].mean for stage in STAGES], [y, y], color=colour, lw=2.2, alpha=0.35, solid_capstyle="round", zorder=2)
    for stage, found in row.bits.items():
        gid = f"dot-{stage}-{y:g}"
        tips[gid] = f"{row.label}, {stage_name(stage)}: {_words(found)} bits per byte"
        if found.mean > end:
            at_edge(ax, [found.mean], (end, y), gid)
            continue
        ax.plot([found.low, found.high], [y, y], color=colour, lw=3.6, alpha=0.5, solid_capstyle="butt", zorder=3)
        face = colour if stage == "trained" else PAPER
        ax.plot([found.mean], [y], marker, ms=7.5, mfc=face, mec=colour, mew=1.8, zorder=4, gid=gid, ls="none")
        right = stage == "init" and (len(row.bits) == 1 or found.mean >= row.bits["trained"].mean)
        right = right or (stage == "trained" and "init" in row.bits and row.bits["init"].mean < found.mean)
        ax.annotate(
            f"{found.mean:.2f}", (found.high if right else found.low, y), xytext=(7 if right else -7, 0), textcoords="offset points",
            ha="left" if right else "right", va="center", fontsize=8.5, color=INK, weight="bold" if stage == "trained" else "normal", zorder=5,
            bbox={"fc": PAPER, "ec": "none", "pad": 0.2},
        )  # fmt: skip


def _words(found: Interval) -> str:
    return f"{found.mean:.3f} (95% interval {found.low:.3f} to {found.high:.3f}, n = {found.n})"


def learning_curves(on: Canvas, place: PlaceSummary, english: bool = False) -> str:
    """Validation bits per byte against bytes of training text; empty when nothing was validated."""
    key = "val_bpb_english" if english else "val_bpb"
    lines = [(row, points) for row in place.rows if len(points := _curve(row, key)) > 1]
    if not lines:
        return ""
    figure, ax = axes(WIDTH, 3.0)
    tips = {}
    top = max(y for _, points in lines for _, y in points)
    bottom = min(y for _, points in lines for _, y in points)
    ends = spread([points[-1][1] for _, points in lines], (top - bottom) * 0.066 or 0.1)
    width = max(x for _, points in lines for x, _ in points)
    for index, ((row, points), label_at) in enumerate(zip(lines, ends, strict=True)):
        colour, marker = on.of(row)
        xs, ys = zip(*points, strict=True)
        ax.plot(xs, ys, color=colour, lw=1.8, marker=marker, ms=3.4, clip_on=False, gid=f"line{index}")
        tips[f"line{index}"] = f"{row.label}: {ys[0]:.3f} to {ys[-1]:.3f} bits per byte on validation pages"
        ax.plot([xs[-1], width * 1.025], [ys[-1], label_at], color=colour, lw=0.7, alpha=0.6, clip_on=False)
        ax.text(width * 1.035, label_at, f"{row.label} {ys[-1]:.2f}", color=colour, fontsize=8.5, va="center", clip_on=False)
    ax.set_xlim(0, width * 1.36)
    ax.xaxis.set_major_formatter(lambda value, _: quantity(value) if value <= width * 1.05 else "")
    what = "English" if english else place.language
    ax.set_xlabel("bytes of training text")
    ax.set_ylabel(f"bits per byte, {what} validation pages")
    name = "english" if english else "curve"
    return save(figure, on.folder, f"{name}-{place.slug}", tips, f"Learning curves on {what}, {place.model}, {place.language}")


def _curve(row: Summary, key: str) -> list[tuple[float, float]]:
    """(bytes, value) averaged over the seeds that have a record at the same bytes."""
    by_bytes: dict[float, list[float]] = {}
    for cell in row.group.cells:
        for record in curve(cell) if cell.reason is None else []:
            if isinstance(record.get(key), int | float) and isinstance(record.get("bytes"), int | float):
                by_bytes.setdefault(float(record["bytes"]), []).append(float(record[key]))
    return [(at, sum(values) / len(values)) for at, values in sorted(by_bytes.items())]


def against_cost(on: Canvas, place: PlaceSummary, cost: str) -> str:
    """Bits per byte after training against what it costs: `flops` to train, or `tokens` per byte to run.

    Of many points only those are named that nothing beats in both; the others tell their names to the pointer.
    """
    points = [(x, row) for row in place.rows if place.final in row.bits and (x := _cost(row, cost)) is not None]
    if not points:
        return ""
    figure, ax = axes(WIDTH, 2.9)
    tips = {}
    values = [row.bits[place.final].mean for _, row in points]
    end = axis_end(values, max(row.bits[place.final].high for _, row in points))
    reach, left = max(x for x, _ in points), min(x for x, _ in points)
    span = (reach - left) or reach
    for index, (x, row) in enumerate(points):
        colour, marker = on.of(row)
        found = row.bits[place.final]
        beyond = found.mean > end
        ax.plot([x, x], [found.low, found.high], color=colour, lw=2.4, alpha=0.5)
        ax.plot([x], [end if beyond else found.mean], "^" if beyond else marker, ms=7, color=colour, gid=f"point{index}", ls="none")
        tips[f"point{index}"] = f"{row.label}: {_words(found)} bits per byte; {_cost_words(x, cost)}"
    named = [(x, row) for x, row in points if len(points) <= NAMED or not any(_beats(other, (x, row), place.final) for other in points)]
    heights = [row.bits[place.final].mean for _, row in named]
    low = min(row.bits[place.final].low for _, row in points)
    for (x, row), height, label_at in zip(named, heights, spread(heights, (end - low) * 0.075), strict=True):
        ax.annotate(
            row.label, (x, height), xytext=(x + span * 0.035, label_at), textcoords="data", fontsize=8.5, va="center", color=on.of(row)[0],
        )  # fmt: skip
    ax.set_ylim(low - 0.06 * (end - low), end + 0.03 * (end - low))
    ax.set_xlim(left - span * 0.12, reach + span * 0.3)
    if cost == "flops":
        ax.xaxis.set_major_formatter(lambda value, _: quantity(value))
    ax.set_xlabel("FLOPs of the continual training" if cost == "flops" else "tokens per byte of text: the cost of every later use")
    ax.set_ylabel(f"bits per byte {stage_name(place.final)}")
    label = f"Bits per byte against cost ({cost}), {place.model}, {place.language}"
    return save(figure, on.folder, f"cost-{cost}-{place.slug}", tips, label)


def _beats(one: tuple[float, Summary], other: tuple[float, Summary], stage: Stage) -> bool:
    """Whether `one` costs no more and scores better, or costs less and scores as well."""
    (cheap, row), (dear, worse) = one, other
    bits, more = row.bits[stage].mean, worse.bits[stage].mean
    return (cheap <= dear and bits < more) or (cheap < dear and bits <= more)


def _cost(row: Summary, cost: str) -> float | None:
    return row.cost.flops if cost == "flops" else row.facts.get("tokens_per_byte")


def _cost_words(value: float, cost: str) -> str:
    return f"{quantity(value)} FLOPs" if cost == "flops" else f"{value:.3f} tokens per byte"


def tasks(on: Canvas, place: PlaceSummary) -> str:
    """Accuracy on choice tasks with intervals, against chance; hollow before, filled after training."""
    rows = [row for row in place.scored if any(row.accuracy.values())]
    if not rows or not place.tasks:
        return ""
    block = len(rows) + 1.6
    figure, ax = axes(WIDTH, 0.7 + 0.155 * block * len(place.tasks))
    tips: dict[str, str] = {}
    ticks = []
    for number, task in enumerate(place.tasks):
        base = (len(place.tasks) - 1 - number) * block
        ax.plot([task.chance, task.chance], [base - 0.6, base + len(rows) - 0.4], color=INK, lw=1, ls=(0, (4, 3)))
        ax.text(task.chance, base + len(rows) - 0.35, "chance", fontsize=7.5, color=MUTED, ha="center", va="bottom")
        ticks.append((base + (len(rows) - 1) / 2, f"{task.slug}\nn = {task.n}"))
        for index, row in enumerate(rows):
            y = base + len(rows) - 1 - index
            _accuracies(ax, row, task.slug, y, on.of(row), tips)
    ax.set_yticks([at for at, _ in ticks], [text for _, text in ticks])
    ax.grid(axis="y", visible=False)
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    ax.set_xlabel(f"accuracy   {_marks(place)}")
    return save(figure, on.folder, f"tasks-{place.slug}", tips, f"Accuracy against chance, {place.model}, {place.language}")


def _accuracies(ax: Any, row: Summary, task: str, y: float, style: tuple[str, str], tips: dict[str, str]) -> None:
    colour, marker = style
    for stage in STAGES:
        found = row.accuracy.get(stage, {}).get(task)
        if found is None:
            continue
        gid = f"{task}-{stage}-{y:g}"
        if stage == row.group.final:
            ax.plot([found.low, found.high], [y, y], color=colour, lw=2, alpha=0.55, zorder=2)
            ax.annotate(row.label, (found.high, y), xytext=(5, 0), textcoords="offset points", fontsize=7.5, va="center", color=colour)
        face = colour if stage == "trained" else PAPER
        ax.plot([found.mean], [y], marker, ms=4.8, mfc=face, mec=colour, mew=1.2, ls="none", gid=gid, zorder=3)
        tips[gid] = (
            f"{row.label}, {task}, {stage_name(stage)}: {found.mean:.1%} (95% interval {found.low:.1%} to {found.high:.1%}, n = {found.n})"
        )


def tokenizers(on: Canvas, places: Sequence[PlaceSummary]) -> str:
    """Tokens per byte of every tokenizer, by model and language."""
    bars: list[tuple[str, list[tuple[str, float]]]] = []
    seen = set()
    for place in places:
        if place.place[:2] not in seen:
            seen.add(place.place[:2])
            measured = {row.group.tokenizer: row.facts["tokens_per_byte"] for row in place.scored if "tokens_per_byte" in row.facts}
            if measured:
                bars.append((f"{place.language}\n{place.model}", sorted(measured.items(), key=lambda item: -item[1])))
    if not bars:
        return ""
    count = sum(len(found) for _, found in bars)
    figure, ax = axes(WIDTH, 0.7 + 0.32 * count + 0.16 * len(bars))
    tips: dict[str, str] = {}
    ticks: list[tuple[float, str]] = []
    y = 0.0
    for label, found in reversed(bars):
        ticks.append((y + (len(found) - 1) / 2, label))
        original = dict(found).get("original")
        for index, (name, value) in enumerate(reversed(found)):
            colour = on.looks[CONTROL][0] if name == "original" else "#0072b2"
            ax.barh(y, value, height=0.78, color=colour, alpha=0.85, zorder=2, gid=f"bar{len(tips)}")
            change = "" if name == "original" or not original else f" ({value / original - 1:+.0%})"
            tips[f"bar{len(tips)}"] = f"{label.replace(chr(10), ', ')}, {name}: {value:.3f} tokens per byte{change}"
            ax.annotate(f"{name} {value:.3f}{change}", (value, y), xytext=(5, 0), textcoords="offset points", va="center", fontsize=8.5)
            y += 1 if index < len(found) - 1 else 1.5
    ax.set_yticks([at for at, _ in ticks], [text for _, text in ticks])
    ax.set_xlim(0, max(value for _, found in bars for _, value in found) * 1.38)
    ax.grid(axis="y", visible=False)
    ax.spines["bottom"].set_color(GRID)
    ax.set_xlabel("tokens per byte of held-out text, fewer is cheaper")
    return save(figure, on.folder, "tokenizers", tips, "Tokens per byte of every tokenizer")


def quantity(value: float) -> str:
    """A large number in a few characters: 300k, 4.2M, 1.3T."""
    for factor, unit in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= factor:
            return f"{value / factor:.3g}{unit}"
    return f"{value:.3g}"
