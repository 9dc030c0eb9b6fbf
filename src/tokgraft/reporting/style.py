"""How figures look, and how they are written: one palette for light and dark, SVG and PNG, the same bytes for the same data."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

# Okabe and Ito's palette for colour vision deficiencies, black left out; the second value is for a dark ground.
SERIES = (
    ("#0072b2", "#4aa8e0"), ("#d55e00", "#f0823a"), ("#009e73", "#2fc298"), ("#a64d8a", "#dd8fc0"),
    ("#b58900", "#e6b94d"), ("#3aa0d8", "#8fd0f5"), ("#6a5acd", "#a89cf5"), ("#8c564b", "#c99486"),
)  # fmt: skip
CONTROL_COLOUR = ("#5a6270", "#b4bcc9")
GROUND = {"ink": ("#1b2230", "#e8ebf1"), "muted": ("#667085", "#9aa4b5"), "grid": ("#dfe3ea", "#333a46"), "paper": ("#fffffe", "#171b22")}
MARKERS = "osD^vPX"
INK, MUTED, GRID, PAPER = (GROUND[name][0] for name in ("ink", "muted", "grid", "paper"))


def variables(dark: bool) -> str:
    """CSS custom properties of the palette."""
    pairs = {**GROUND, "control": CONTROL_COLOUR, **{f"c{index}": pair for index, pair in enumerate(SERIES)}}
    return "".join(f"--{name}:{pair[int(dark)]};" for name, pair in pairs.items())


def look(methods: Sequence[str], control: str) -> dict[str, tuple[str, str]]:
    """Method -> (colour, marker): the same in every figure of a report."""
    found = {}
    others = [name for name in sorted(set(methods)) if name != control]
    for index, name in enumerate(others):
        found[name] = (SERIES[index % len(SERIES)][0], MARKERS[(index // len(SERIES)) % len(MARKERS)])
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


def axis_end(values: Sequence[float], high: float) -> float:
    """Where an axis ends that reaches to `high`: a few models that know less than nothing must not squeeze all others."""
    means = sorted(values)
    far = means[int(0.85 * (len(means) - 1))]
    end = far + 2 * (far - means[0])
    return means[0] + 1.06 * (min(end, high) - means[0]) if end > means[0] else high + 0.1


def at_edge(ax: Any, values: Sequence[float], at: tuple[float, float], gid: str) -> None:
    """Values beyond the right end of the axis, written where it ends."""
    text = ", ".join(f"{value:.2f}" for value in values) + " ▸"
    ax.annotate(
        text, at, xytext=(-6, 0), textcoords="offset points", ha="right", va="center", fontsize=8, color=MUTED, gid=gid, zorder=6,
        bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 1},
    )  # fmt: skip


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
