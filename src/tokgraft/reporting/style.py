"""How figures look, and how they are written: one palette for light and dark, SVG and PNG, the same bytes for the same data."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

# Near Okabe and Ito's palette for colour vision deficiencies, black left out, each at least 3:1 against its ground (WCAG 1.4.11);
# the second value is for a dark ground. Text is never in these colours.
SERIES = (
    ("#0072b2", "#4aa8e0"), ("#d55e00", "#f0823a"), ("#009e73", "#2fc298"), ("#a64d8a", "#dd8fc0"),
    ("#9a7400", "#e6b94d"), ("#1f8fc4", "#8fd0f5"), ("#6a5acd", "#a89cf5"), ("#8c564b", "#c99486"),
)  # fmt: skip
CONTROL_COLOUR = ("#5a6270", "#b4bcc9")
GROUND = {
    "ink": ("#1b2230", "#e8ebf1"), "muted": ("#5d6678", "#9aa4b5"), "grid": ("#dfe3ea", "#333a46"), "paper": ("#fffffe", "#171b22"),
    "wash": ("#f4f6f9", "#1f242d"), "line": ("#dfe3eb", "#343a46"), "good": ("#00704f", "#5fd6ac"), "good-wash": ("#d9f2e8", "#143c30"),
    "bad": ("#a63d00", "#ffab7d"), "bad-wash": ("#fde6d8", "#472614"),
}  # fmt: skip
MARKERS = "osD^vPX"
NAME_SIZE = 8.5  # of names beside points, in points
NAME_LETTERS = 22  # of a line of a name
LOG_TICKS = tuple(2.0**power for power in range(-4, 8))
BETWEEN = tuple(1.5 * tick for tick in LOG_TICKS)  # ticks more where the axis spans little
INK, MUTED, GRID, PAPER = (GROUND[name][0] for name in ("ink", "muted", "grid", "paper"))


def variables(dark: bool) -> str:
    """CSS custom properties of the palette."""
    pairs = {**GROUND, "control": CONTROL_COLOUR, **{f"c{index}": pair for index, pair in enumerate(SERIES)}}
    return "".join(f"--{name}:{pair[int(dark)]};" for name, pair in pairs.items())


def look(methods: Sequence[str], control: str) -> dict[str, tuple[str, str]]:
    """Method -> (colour, marker): the same in every figure of a report, and no two alike up to 56 methods."""
    others = [name for name in sorted(set(methods)) if name != control]
    found = {name: (SERIES[index % len(SERIES)][0], MARKERS[index % len(MARKERS)]) for index, name in enumerate(others)}
    return {**found, control: (CONTROL_COLOUR[0], "o")}


def colour_variable(colour: str) -> str:
    """The CSS form of a colour of the palette: `var(--c0)`."""
    return _css()[colour]


def _css() -> dict[str, str]:
    names = {pair[0]: f"var(--{name})" for name, pair in GROUND.items()}
    names[CONTROL_COLOUR[0]] = "var(--control)"
    return {**names, **{pair[0]: f"var(--c{index})" for index, pair in enumerate(SERIES)}}


def axes(width: float, height: float, columns: int = 1) -> tuple[Any, Any]:
    """A figure of `width` x `height` inches in the house style, and its axes."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams.update({
        "svg.fonttype": "none", "svg.hashsalt": "tokgraft", "font.family": "DejaVu Sans", "font.size": 9, "axes.edgecolor": GRID,
        "axes.labelcolor": MUTED, "text.color": INK, "xtick.color": MUTED, "ytick.color": INK, "axes.facecolor": PAPER,
        "figure.facecolor": PAPER, "axes.grid": True, "grid.color": GRID, "grid.linewidth": 0.6, "axes.axisbelow": True,
        "axes.spines.top": False, "axes.spines.right": False, "axes.spines.left": False, "xtick.major.size": 0, "ytick.major.size": 0,
        "axes.labelsize": 8.5, "xtick.labelsize": 8.5, "ytick.labelsize": 9, "figure.constrained_layout.use": True,
    })  # fmt: skip
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    return figure, figure.subplots(1, columns)


def spread(wanted: Sequence[float], gap: float) -> list[float]:
    """Positions near the wanted ones with at least `gap` between neighbours: for labels that must not overlap."""
    order = sorted(range(len(wanted)), key=lambda index: wanted[index])
    clusters: list[tuple[list[int], float]] = []
    for index in order:
        clusters.append(([index], wanted[index]))
        while len(clusters) > 1 and clusters[-1][1] - clusters[-2][1] < gap * (len(clusters[-1][0]) + len(clusters[-2][0])) / 2:
            (right, right_at), (left, left_at) = clusters.pop(), clusters.pop()
            members = left + right
            clusters.append((members, (left_at * len(left) + right_at * len(right)) / len(members)))
    placed = [0.0] * len(wanted)
    for members, centre in clusters:
        for offset, index in enumerate(members):
            placed[index] = centre + gap * (offset - (len(members) - 1) / 2)
    return placed


def bits_limits(ends: Sequence[float]) -> tuple[float, float, bool]:
    """Ends of an axis of bits per byte that holds all values, never below 0, and whether it should be logarithmic.

    Logarithmic where the values span more than a factor of 4: a model that knows nothing would squeeze all others.

    Args:
        ends: Everything that must be seen: means and both ends of their intervals.
    """
    low, high = min(ends), max(ends)
    if low > 0 and high > 4 * low:
        room = (high / low) ** 0.05
        return low / room, high * room, True
    room = 0.06 * (high - low) or 0.05 * high or 0.1
    return max(0.0, low - room), high + room, False


def bits_axis(ax: Any, which: str, ends: Sequence[float]) -> str:
    """Limits, scale and ticks of an axis (`x` or `y`) of bits per byte; what its label has to add."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    low, high, logarithmic = bits_limits(ends)
    axis = getattr(ax, f"{which}axis")
    if logarithmic:
        getattr(ax, f"set_{which}scale")("log")
        steps = (*LOG_TICKS, *BETWEEN) if high < 12 * low else LOG_TICKS
        axis.set_major_locator(FixedLocator([tick for tick in sorted(steps) if low <= tick <= high]))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    getattr(ax, f"set_{which}lim")(low, high)
    return "\n(logarithmic axis)" if logarithmic else ""


def names_beside(ax: Any, points: Sequence[tuple[float, float, str]]) -> None:
    """Write a name right of each point (x, y, name), never one over another: moved names have a line to their point."""
    figure = ax.figure
    figure.draw_without_rendering()  # heights in pixels are known only when everything has its place
    pixel = 72 / figure.dpi
    heights = [float(ax.transData.transform((x, y))[1]) * pixel for x, y, _ in points]
    for (x, y, name), height, placed in zip(points, heights, spread(heights, 1.3 * NAME_SIZE), strict=True):
        line = {"arrowstyle": "-", "color": MUTED, "lw": 0.6, "alpha": 0.7, "shrinkA": 0, "shrinkB": 4}
        ax.annotate(
            name, (x, y), xytext=(9, placed - height), textcoords="offset points", fontsize=NAME_SIZE, va="center", annotation_clip=False,
            arrowprops=line if abs(placed - height) > 3 else None,
        )  # fmt: skip


def wrapped(name: str) -> str:
    """A long name in lines, broken where the parts of a chain meet, so that a figure on a telephone has room for its data."""
    lines = [""]
    for part in re.split(r"(?=\+)|(?<= · )|(?<=, )", name):
        if lines[-1] and len(lines[-1]) + len(part) > NAME_LETTERS:
            lines.append("")
        lines[-1] += part
    return "\n".join(line.strip() for line in lines)


def legend(figure: Any, handles: Sequence[Any], columns: int = 2) -> None:
    """What marks and strokes mean, below the axes."""
    figure.legend(
        handles=list(handles), loc="outside lower center", ncols=columns, fontsize=8, frameon=False, handlelength=1.6, columnspacing=1.4,
        labelspacing=0.35, borderaxespad=0.2,
    )  # fmt: skip


def mark(label: str, colour: str = CONTROL_COLOUR[0], marker: str = "o", filled: bool = True) -> Any:
    """A legend entry for a marker."""
    from matplotlib.lines import Line2D

    return Line2D([], [], ls="none", marker=marker, ms=6, mfc=colour if filled else PAPER, mec=colour, mew=1.5, label=label)


def stroke(label: str, **style: Any) -> Any:
    """A legend entry for a line."""
    from matplotlib.lines import Line2D

    return Line2D([], [], label=label, **style)


def save(figure: Any, folder: Path, name: str, tips: Mapping[str, str], label: str) -> str:
    """Write `<name>.svg` and `<name>.png` for a light ground; the SVG for a page of either ground.

    Args:
        figure: The figure.
        folder: Where the files go.
        name: Their name.
        tips: gid of a drawn thing -> text shown when the pointer rests on it.
        label: What the figure shows, for people who cannot see it.
    """
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # placed once is enough for both files
    text = _svg(figure, tips, label)
    (folder / f"{name}.svg").write_text(text, encoding="utf-8")
    figure.savefig(folder / f"{name}.png", dpi=160, metadata={"Software": None})
    return _inline(text)


def _svg(figure: Any, tips: Mapping[str, str], label: str) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    for gid, tip in tips.items():
        text = text.replace(f'<g id="{gid}">', f'<g id="{gid}"><title>{escape(tip)}</title>', 1)
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = text.replace("'DejaVu Sans'", "'DejaVu Sans', Verdana, sans-serif")
    return text.replace("<svg", f'<svg role="img" aria-label="{escape(label, quote=True)}"', 1)


def _inline(text: str) -> str:
    """Colours as CSS variables, and no fixed size, so that the page decides both."""
    for colour, name in _css().items():
        text = re.sub(re.escape(colour), name, text, flags=re.IGNORECASE)
    salt = re.search(r'aria-label="([^"]*)"', text)
    prefix = f"f{abs(hash_text(salt.group(1) if salt else text)):x}-"
    text = re.sub(r'(\bid="|url\(#|href="#)', lambda found: found.group(1) + prefix, text)
    return re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1), count=1)


def hash_text(text: str) -> int:
    """A small number that depends on the text only: ids of several figures must not clash in one page."""
    import zlib

    return zlib.crc32(text.encode())
