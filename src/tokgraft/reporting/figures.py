"""The figures. Each takes summaries, draws, and gives the SVG for the page; small panels, so that a phone can show them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokgraft.cells import STAGES, Combination, Stage
from tokgraft.config.layout import CONTROL
from tokgraft.frame import curve
from tokgraft.reporting import origins
from tokgraft.reporting.sections import Section, asked_on
from tokgraft.reporting.style import (
    CONTROL_COLOUR,
    GRID,
    INK,
    MUTED,
    NAME_SIZE,
    PAPER,
    SERIES,
    axes,
    bits_axis,
    legend,
    look,
    mark,
    names_beside,
    save,
    stroke,
    wrapped,
)  # fmt: skip
from tokgraft.reporting.words import measured_on, stage_name
from tokgraft.scoring.statistics import Interval

WIDTH = 4.4
NAMED = 8  # points of a figure that all have their names beside them
UNTOUCHED: dict[str, Any] = {"color": INK, "lw": 1, "ls": (0, (4, 3))}
BASELINE: dict[str, Any] = {"color": MUTED, "lw": 1.4, "ls": (0, (1, 1))}
# What rows come from -> its colour, in the order of the bars.
PROVENANCE = {
    "copied": CONTROL_COLOUR[0], "combined": SERIES[0][0], "mapped": SERIES[2][0], "trained": SERIES[3][0], "fallback": SERIES[1][0],
    "random": SERIES[4][0], "override": SERIES[6][0],
}  # fmt: skip
BASELINE_WORDS = "every token equally likely: log2 of the vocabulary x tokens per byte"
Look = dict[str, tuple[str, str]]


@dataclass(frozen=True)
class Canvas:
    """Where figures go and how methods look in all of them."""

    folder: Path
    looks: Look

    def of(self, section: Section, row: Combination) -> tuple[str, str]:
        """(colour, marker) of a method."""
        return self.looks[section.label(row)]


def canvas(folder: Path, sections: Sequence[Section]) -> Canvas:
    """A canvas on which a method has the same colour in every figure."""
    return Canvas(folder, look([section.label(row) for section in sections for row in section.rows], CONTROL))


def before_and_after(on: Canvas, section: Section) -> str:
    """Bits per byte of every method from init (hollow) to trained (filled), with intervals, uniform baseline and untouched original.

    The numbers stand in columns beside the axes, where nothing can lie over them.
    """
    rows = section.scored[::-1]
    names = [wrapped(section.label(row)) for row in rows]
    figure, ax = axes(WIDTH, 1.5 + 0.15 * len(rows) * (1.6 + max((name.count("\n") for name in names), default=0)))
    tips: dict[str, str] = {}
    baselines = [baseline for row in rows if (baseline := section.fact(row, "uniform_baseline")) is not None]
    found = [one for row in rows for one in section.intervals(row).values()]
    scale = bits_axis(ax, "x", [*(end for one in found for end in (one.low, one.high, one.mean)), *baselines])
    for y, row in enumerate(rows):
        _journey(ax, section, row, y, on.of(section, row), tips)
        if (baseline := section.fact(row, "uniform_baseline")) is not None:
            (line,) = ax.plot([baseline] * 2, [y - 0.3, y + 0.3], gid=f"baseline{y}", **BASELINE)
            tips[str(line.get_gid())] = f"uniform baseline of {section.label(row)}: {baseline:.2f} bits per byte ({BASELINE_WORDS})"
    if section.untouched is not None:
        ax.axvline(section.untouched.mean, zorder=1, **UNTOUCHED)
    for column, stage in enumerate(section.stages):
        _numbers(ax, [section.bits(row, stage) for row in rows], stage, 34 + 36 * column, stage == section.final)
    ax.set_yticks(range(len(rows)), names)
    ax.set_ylim(-0.6, len(rows) - 0.4)
    ax.grid(axis="y", visible=False)
    ax.set_xlabel(f"bits per byte, lower is better{scale}")
    untouched = [stroke(f"untouched original {section.untouched.mean:.2f}", **UNTOUCHED)] if section.untouched else []
    baseline_line = [stroke("uniform baseline", **BASELINE)] if baselines else []
    legend(figure, [*_stage_marks(section), stroke("95% interval", color=MUTED, lw=3.6, alpha=0.5), *baseline_line, *untouched])
    return save(figure, on.folder, f"bits-{section.slug}", tips, f"Bits per byte by method, {section.model}, {section.language}")


def _stage_marks(section: Section) -> list[Any]:
    return [mark(stage_name(stage), filled=stage == "trained") for stage in section.stages]


def _numbers(ax: Any, bits: Sequence[Interval | None], stage: Stage, offset: float, bold: bool) -> None:
    """A column of numbers right of the axes, `offset` points from them to its right end."""
    texts = [(y, f"{found.mean:.2f}" if found else "n/a") for y, found in enumerate(bits)]
    for y, text in [*texts, (len(bits) - 0.4, stage)]:
        heading = text == stage
        ax.annotate(
            text, (1, y), xycoords=ax.get_yaxis_transform(), xytext=(offset, 2 if heading else 0), textcoords="offset points", ha="right",
            va="bottom" if heading else "center", fontsize=8 if heading else NAME_SIZE, color=MUTED if heading else INK,
            weight="bold" if bold and not heading else "normal", annotation_clip=False,
        )  # fmt: skip


def _journey(ax: Any, section: Section, row: Combination, y: float, style: tuple[str, str], tips: dict[str, str]) -> None:
    colour, marker = style
    bits = section.intervals(row)
    if len(bits) == 2:
        ax.plot([found.mean for found in bits.values()], [y, y], color=colour, lw=2.2, alpha=0.35, solid_capstyle="round", zorder=2)
    for stage, found in bits.items():
        gid = f"dot-{stage}-{y:g}"
        tips[gid] = f"{section.label(row)}, {stage_name(stage)}: {_words(found)} bits per byte"
        ax.plot([found.low, found.high], [y, y], color=colour, lw=3.6, alpha=0.5, solid_capstyle="butt", zorder=3)
        face = colour if stage == "trained" else PAPER
        ax.plot([found.mean], [y], marker, ms=7, mfc=face, mec=colour, mew=1.8, zorder=4, gid=gid, ls="none")


def _words(found: Interval) -> str:
    return f"{found.mean:.3f} (95% interval {found.low:.3f} to {found.high:.3f}, n = {found.n})"


def learning_curves(on: Canvas, section: Section, english: bool = False) -> str:
    """Validation bits per byte against bytes of training text; empty when nothing was validated."""
    key = "val_bpb_english" if english else "val_bpb"
    lines = [(row, points) for row in section.rows if len(points := _curve(section, row, key)) > 1]
    if not lines:
        return ""
    figure, ax = axes(WIDTH, 3.0 + _key_height(section, [row for row, _ in lines]))
    tips = {}
    for index, (row, points) in enumerate(lines):
        colour, marker = on.of(section, row)
        xs, ys = zip(*points, strict=True)
        ax.plot(xs, ys, color=colour, lw=1.8, marker=marker, ms=3.4, clip_on=False, gid=f"line{index}")
        tips[f"line{index}"] = f"{section.label(row)}: {ys[0]:.3f} to {ys[-1]:.3f} bits per byte on validation pages"
    scale = bits_axis(ax, "y", [y for _, points in lines for _, y in points])
    ax.set_xlim(0, max(x for _, points in lines for x, _ in points))
    ax.xaxis.set_major_locator(_few_ticks())
    ax.xaxis.set_major_formatter(lambda value, _: quantity(value))
    what = "English" if english else section.language
    ax.set_xlabel("bytes of training text")
    ax.set_ylabel(f"bits per byte, {what} validation pages{scale}")
    if len(lines) <= NAMED:
        names_beside(ax, [(*points[-1], f"{wrapped(section.label(row))} {points[-1][1]:.2f}") for row, points in lines])
    else:
        _key(on, figure, section, [row for row, _ in lines])
    name = "english" if english else "curve"
    return save(figure, on.folder, f"{name}-{section.slug}", tips, f"Learning curves on {what}, {section.model}, {section.language}")


def _few_ticks() -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(5)


def _key(on: Canvas, figure: Any, section: Section, rows: Sequence[Combination]) -> None:
    """A legend of methods, for figures with too many for names beside their points."""
    legend(figure, [mark(wrapped(section.label(row)), *on.of(section, row)) for row in rows])


def _key_height(section: Section, rows: Sequence[Combination]) -> float:
    """Inches that the legend takes; 0 where names stand beside the points."""
    lines = sum(1 + wrapped(section.label(row)).count("\n") for row in rows)
    return 0.09 * lines + 0.2 if len(rows) > NAMED else 0.0


def _curve(section: Section, row: Combination, key: str) -> list[tuple[float, float]]:
    """(bytes, value) averaged over the seeds that have a record at the same bytes."""
    by_bytes: dict[float, list[float]] = {}
    for cell in section.frame.combinations[row]:
        for record in curve(cell) if cell.reason is None else []:
            if isinstance(record.get(key), int | float) and isinstance(record.get("bytes"), int | float):
                by_bytes.setdefault(float(record["bytes"]), []).append(float(record[key]))
    return [(at, sum(values) / len(values)) for at, values in sorted(by_bytes.items())]


def against_cost(on: Canvas, section: Section, cost: str) -> str:
    """Bits per byte at the last stage against what it costs: `flops` to train, or `tokens` per byte to run.

    Of many points those that nothing beats in both have their names beside them, and all are in the legend.
    """
    costs = [
        (section.cost(row, "training_flops") if cost == "flops" else section.fact(row, "tokens_per_byte"), row) for row in section.rows
    ]
    bits = {row: found for row in section.rows if (found := section.bits(row, section.final)) is not None}
    points = [(x, row) for x, row in costs if x is not None and row in bits]
    if not points:
        return ""
    figure, ax = axes(WIDTH, 2.9 + _key_height(section, [row for _, row in points]))
    tips = {}
    for index, (x, row) in enumerate(points):
        colour, marker = on.of(section, row)
        found = bits[row]
        ax.plot([x, x], [found.low, found.high], color=colour, lw=2.4, alpha=0.5)
        ax.plot([x], [found.mean], marker, ms=7, color=colour, gid=f"point{index}", ls="none")
        tips[f"point{index}"] = f"{section.label(row)}: {_words(found)} bits per byte; {_cost_words(x, cost)}"
    scale = bits_axis(ax, "y", [end for _, row in points for end in (bits[row].low, bits[row].high)])
    reach, left = max(x for x, _ in points), min(x for x, _ in points)
    room = 0.12 * ((reach - left) or reach or 1.0)
    ax.set_xlim(max(0.0, left - room), reach + room)
    ax.xaxis.set_major_locator(_few_ticks())
    if cost == "flops":
        ax.xaxis.set_major_formatter(lambda value, _: quantity(value))
    ax.set_xlabel("FLOPs of the continual training" if cost == "flops" else "tokens per byte of text: the cost of every later use")
    ax.set_ylabel(f"bits per byte {stage_name(section.final)}{scale}")
    few = len(points) <= NAMED
    named = [point for point in points if few or not any(_beats((x, bits[row].mean), (point[0], bits[point[1]].mean)) for x, row in points)]
    if not few:
        _key(on, figure, section, [row for _, row in points])
    names_beside(
        ax, [(x, bits[row].mean, wrapped(section.label(row)).split("\n")[0] if not few else section.label(row)) for x, row in named]
    )
    label = f"Bits per byte against cost ({cost}), {section.model}, {section.language}"
    return save(figure, on.folder, f"cost-{cost}-{section.slug}", tips, label)


def _beats(one: tuple[float, float], other: tuple[float, float]) -> bool:
    """Whether of two pairs (cost, bits per byte) `one` costs no more and scores better, or costs less and scores as well."""
    (cheap, bits), (dear, more) = one, other
    return (cheap <= dear and bits < more) or (cheap < dear and bits <= more)


def _cost_words(value: float, cost: str) -> str:
    return f"{quantity(value)} FLOPs" if cost == "flops" else f"{value:.3f} tokens per byte"


def tasks(on: Canvas, section: Section) -> str:
    """Accuracy on choice tasks with intervals, against chance; hollow before, filled after training."""
    rows = [row for row in section.scored if any(section.accuracies(row, stage) for stage in section.stages)]
    if not rows or not section.tasks:
        return ""
    block = len(rows) + 1.6
    names = [wrapped(section.label(row)) for row in rows]
    figure, ax = axes(WIDTH, 0.9 + (0.17 + 0.1 * max(name.count("\n") for name in names)) * block * len(section.tasks))
    tips: dict[str, str] = {}
    ticks = []
    for number, task in enumerate(section.tasks):
        base = (len(section.tasks) - 1 - number) * block
        ax.plot([task.chance, task.chance], [base - 0.5, base + len(rows) - 0.5], **UNTOUCHED)
        heading = f"{task.task}: {asked_on([task])}, chance {task.chance:.0%}"
        ax.text(0, base + len(rows) - 0.3, heading, transform=ax.get_yaxis_transform(), fontsize=8, weight="bold", va="bottom")
        for index, row in enumerate(rows):
            y = base + len(rows) - 1 - index
            ticks.append((y, names[index]))
            _accuracies(ax, section, row, task.task, y, on.of(section, row), tips)
    ax.set_yticks([at for at, _ in ticks], [text for _, text in ticks], fontsize=7.5)
    ax.set_ylim(-0.7, len(section.tasks) * block - 0.2)
    ax.grid(axis="y", visible=False)
    found = [one for row in rows for stage in section.stages for one in section.accuracies(row, stage).values()]
    ends = [*(end for one in found for end in (one.low, one.high, one.mean)), *(task.chance or 0.0 for task in section.tasks)]
    ax.set_xlim(max(0.0, min(ends) - 0.03), min(1.0, max(ends) + 0.03))
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    ax.set_xlabel("accuracy, higher is better")
    legend(figure, [*_stage_marks(section), stroke("95% interval", color=MUTED, lw=2, alpha=0.55), stroke("chance", **UNTOUCHED)])
    return save(figure, on.folder, f"tasks-{section.slug}", tips, f"Accuracy against chance, {section.model}, {section.language}")


def _accuracies(ax: Any, section: Section, row: Combination, task: str, y: float, style: tuple[str, str], tips: dict[str, str]) -> None:
    colour, marker = style
    for stage in STAGES:
        found = section.accuracies(row, stage).get(task)
        if found is None:
            continue
        gid = f"{task}-{stage}-{y:g}"
        if stage == section.final:
            ax.plot([found.low, found.high], [y, y], color=colour, lw=2, alpha=0.55, zorder=2)
        face = colour if stage == "trained" else PAPER
        ax.plot([found.mean], [y], marker, ms=4.8, mfc=face, mec=colour, mew=1.2, ls="none", gid=gid, zorder=3, clip_on=False)
        tips[gid] = (
            f"{section.label(row)}, {task}, {stage_name(stage)}: {found.mean:.1%} (95% interval {found.low:.1%} to {found.high:.1%}, {measured_on(found)})"
        )


def sources(on: Canvas, section: Section) -> str:
    """Where the rows of each method come from, in shares of the new vocabulary."""
    known = [(row, found) for row in section.rows[::-1] if not row.is_control and (found := origins.origins(section.frame, row))]
    if not known:
        return ""
    names = [wrapped(section.label(row)) for row, _ in known]
    figure, ax = axes(WIDTH, 1.1 + (0.22 + 0.11 * max(name.count("\n") for name in names)) * len(known))
    tips: dict[str, str] = {}
    seen = []
    for y, (row, found) in enumerate(known):
        left = 0.0
        for kind, colour in PROVENANCE.items():
            share = found.share(*(origins.COPIED if kind == "copied" else (kind,)))
            if share:
                seen.append(kind)
                ax.barh(y, share, left=left, height=0.7, color=colour, zorder=2, gid=f"share{len(tips)}")
                tips[f"share{len(tips)}"] = f"{section.label(row)}: {share:.1%} {kind}"
                left += share
    ax.set_xlim(0, 1)
    ax.set_yticks(range(len(known)), names)
    ax.grid(axis="y", visible=False)
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    ax.set_xlabel("share of the rows of the new vocabulary")
    legend(figure, [mark(kind, colour, "s") for kind, colour in PROVENANCE.items() if kind in seen], columns=3)
    label = f"Where the rows of the new vocabulary come from, {section.model}, {section.language}"
    return save(figure, on.folder, f"rows-{section.slug}", tips, label)


def tokenizers(on: Canvas, sections: Sequence[Section]) -> str:
    """Tokens per byte of every tokenizer, by model and language."""
    bars: list[tuple[str, list[tuple[str, float]]]] = []
    seen = set()
    for section in sections:
        if section.group[:2] not in seen:
            seen.add(section.group[:2])
            measured = {row.tokenizer: value for row in section.scored if (value := section.fact(row, "tokens_per_byte")) is not None}
            if measured:
                bars.append((f"{section.language}\n{section.model}", sorted(measured.items(), key=lambda item: -item[1])))
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
            colour = on.looks[CONTROL][0] if name == "original" else SERIES[0][0]
            ax.barh(y, value, height=0.78, color=colour, alpha=0.85, zorder=2, gid=f"bar{len(tips)}")
            change = "" if name == "original" or not original else f" ({value / original - 1:+.0%})"
            tips[f"bar{len(tips)}"] = f"{label.replace(chr(10), ', ')}, {name}: {value:.3f} tokens per byte{change}"
            ax.annotate(
                f"{name} {value:.3f}{change}", (value, y), xytext=(5, 0), textcoords="offset points", va="center", fontsize=NAME_SIZE
            )
            y += 1 if index < len(found) - 1 else 1.5
    ax.set_yticks([at for at, _ in ticks], [text for _, text in ticks])
    ax.set_xlim(0, max(value for _, found in bars for _, value in found) * 1.02)
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
