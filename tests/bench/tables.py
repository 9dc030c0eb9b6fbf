"""Tables and the figure of docs/benchmarks.md from the measurements.

    python -m tests.bench.tables --folder results/bench

Writes speed.md, memory.md and memory.svg beside speed.json and memory.json.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from tests.bench.memory import WIDTH
from tokgraft.reporting.style import INK, MUTED, SERIES, axes, spread

LIMIT = 8.0  # GB
TIMES, READS = 5.0, 2.0  # the target: so much faster than the reference, or so many reads of the tables
FEW = 6  # methods with a colour and a name of their own in the figure


def speed(told: dict[str, Any]) -> str:
    """The methods with a reference, the others, and what is reported apart; what meets the target is bold.

    "Prepared" is without overlap, segmentation and orders. The ratio is that of the prepared time where the reference is given the overlap.
    "Reads" is the prepared time in reads of the tables from safetensors, which are timed by turns with the method.
    """
    found = told["methods"]
    lines = ["| method | CPU s | prepared | reference | its CPU s | ratio | reads |", "|---" * 7 + "|"]
    ratios = {
        name: row["peer"] / (row["rows"] if row["excluded"] == "overlap" else row["ours"]) for name, row in found.items() if "peer" in row
    }
    for name, ratio in sorted(ratios.items(), key=lambda item: -item[1]):
        row, reads = found[name], found[name]["rows"] / found[name]["read"]
        lines.append(
            f"| `{name}` | {row['ours']:.2f} | {row['rows']:.2f} | {row['package']} | {row['peer']:.2f} "
            f"| {_met(f'{ratio:.1f}', ratio >= TIMES)} | {_met(f'{reads:.1f}', reads <= READS)} |"
        )
    others = sorted((row["ours"], name) for name, row in found.items() if "peer" not in row)
    lines += ["", "| method without a reference | CPU s | prepared | reads |", "|---|---|---|---|"]
    lines += [
        f"| `{name}` | {ours:.2f} | {found[name]['rows']:.2f} | {found[name]['rows'] / found[name]['read']:.1f} |" for ours, name in others
    ]
    lines += ["", "| apart | CPU s |", "|---|---|"]
    for title, rows in (("import of", told["imports"]), ("reading", told["reading"]), ("one read of the tables,", told["tables"]),
                        ("making", told["made"])):  # fmt: skip
        lines += [f"| {title} {name} | {seconds:.2f} |" for name, seconds in rows.items() if seconds]
    return "\n".join(lines) + "\n"


def _met(figure: str, meets: bool) -> str:
    return f"**{figure}**" if meets else figure


def sizes_of(told: dict[str, dict[str, Any]]) -> list[int]:
    """The sizes that were measured."""
    return sorted({int(size) for rows in told.values() for size in rows})


def memory(told: dict[str, dict[str, Any]]) -> str:
    """Peak memory by method and size, and how it grows."""
    sizes = sizes_of(told)
    first, last = str(sizes[0]), str(sizes[-1])
    lines = [f"| method | {' | '.join(f'{size}k' for size in sizes)} | growth | CPU s at {last}k |", "|---" * (len(sizes) + 3) + "|"]
    for name, rows in sorted(told.items(), key=lambda item: -item[1].get(last, {}).get("peak", 99)):
        cells = [_cell(rows.get(str(size))) for size in sizes]
        both = [rows.get(size, {}).get("peak") for size in (first, last)]
        growth = f"{both[1] / both[0]:.1f}" if all(both) and first != last else ""
        lines.append(f"| `{name}` | {' | '.join(cells)} | {growth} | {rows.get(last, {}).get('cpu', '')} |")
    return "\n".join(lines) + "\n"


def _cell(row: dict[str, Any] | None) -> str:
    return "" if row is None else f"{row['peak']:.2f}" if "peak" in row else row["failed"]


def figure(told: dict[str, dict[str, Any]], path: Path) -> None:
    """Peak memory over the number of tokens, both axes logarithmic, with the line of |Vt| x d and that of |Vt| x |Vs|."""
    figure, ax = axes(7.2, 4.4)
    sizes = sizes_of(told)
    peaks = {name: [(size, rows[str(size)]["peak"]) for size in sizes if "peak" in rows.get(str(size), {})] for name, rows in told.items()}
    peaks = {name: points for name, points in peaks.items() if points}
    order = sorted(peaks, key=lambda name: -peaks[name][-1][1])
    chosen = order[:FEW]
    for name in reversed(order):
        colour = SERIES[chosen.index(name)][0] if name in chosen else MUTED
        ax.plot(*zip(*peaks[name]), color=colour, lw=1.6 if name in chosen else 0.7, marker="o", ms=3, alpha=1 if name in chosen else 0.6)
    tables = [2 * size * 1024 * WIDTH * 4 / 1e9 for size in sizes]
    square = [(size * 1024) ** 2 * 4 / 1e9 for size in sizes]
    ax.plot(sizes, tables, color=INK, lw=1, ls=":")
    ax.plot(sizes, square, color=INK, lw=1, ls="--")
    ax.axhline(LIMIT, color=SERIES[1][0], lw=1)
    ax.set_xscale("log", base=2)
    ax.set_yscale("log")
    ax.set_xticks(sizes, [f"{size}k" for size in sizes])
    ax.set_yticks([0.25, 0.5, 1, 2, 4, 8, 16, 32, 64], ["0.25", "0.5", "1", "2", "4", "8", "16", "32", "64"])
    ax.minorticks_off()
    ax.set_xlim(sizes[0] * 0.93, sizes[-1] * 2.6)
    ax.set_xlabel("tokens of source and target")
    ax.set_ylabel("peak memory, GB")
    import math

    ends = [(tables[-1], "the two tables", INK), (square[-1], "|Vt| × |Vs| in float32", INK), (LIMIT, "limit", SERIES[1][0])]
    ends += [(peaks[name][-1][1], name, SERIES[index][0]) for index, name in enumerate(chosen)]
    places = spread([math.log(value) for value, _, _ in ends], 0.24)
    for place, (_, text, colour) in zip(places, ends):
        ax.text(sizes[-1] * 1.08, math.exp(place), text, color=colour, va="center", fontsize=8)
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    """Write the tables and the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("results/bench"))
    args = parser.parse_args()
    if (path := args.folder / "speed.json").exists():
        (args.folder / "speed.md").write_text(speed(json.loads(path.read_text())), encoding="utf-8")
    if (path := args.folder / "memory.json").exists():
        told = json.loads(path.read_text())
        (args.folder / "memory.md").write_text(memory(told), encoding="utf-8")
        figure(told, args.folder / "memory.svg")
    print(*sorted(str(path) for path in args.folder.glob("*.md")), args.folder / "memory.svg", sep="\n")


if __name__ == "__main__":
    main()
