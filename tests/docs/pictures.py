"""Draw the README's pictures and write its table, from a finished demo: `make demo`, then `python -m tests.docs.pictures`. Needs graphviz (`dot`).

docs/images/dag.svg is Snakemake's graph of the rules, result.svg a figure of the report; the table's numbers are those of leaderboard.csv.
"""

from __future__ import annotations

import csv
import re
import shutil
import subprocess
from itertools import groupby
from pathlib import Path

TABLES = Path("results/experiments/demo/tables")
IMAGES = Path("docs/images")
COLOURS = {
    "corpus": "#4477aa", "tokenizer": "#66ccee", "model": "#228833", "resource": "#ccbb44", "transplant": "#ee6677", "train": "#aa3377",
    "score": "#994455", "speed": "#997700", "report": "#555555", "publish": "#555555",
}  # fmt: skip
NAMES = {"pocket": "pocket", "smollm2-135m": "SmolLM2-135M", "deu_Latn": "German", "ell_Grek": "Greek"}
ORDER = ["none", "random", "mean", "multivariate", "focus"]
HEAD = "| model | language | method | right after the transplant | after training | uniform baseline | English after training | tokens per byte |"


def graph(text: str) -> str:
    """Snakemake's graph of rules as we draw it: coloured by stage; an edge that a longer way implies is dotted."""
    names = dict(re.findall(r'(\d+)\[label = "(\w+)"', text))
    hidden = {"all", "report_cells"}
    edges = {(names[a], names[b]) for a, b in re.findall(r"(\d+) -> (\d+)", text)}
    edges = {(a, b) for a, b in edges if not {a, b} & hidden}

    def reaches(start: str, end: str, skip: bool) -> bool:
        following = {b for a, b in edges if a == start and b != start and not (skip and b == end)}
        return end in following or any(reaches(one, end, False) for one in following)

    lines = ["digraph tokgraft { rankdir=LR; node [shape=box, style=\"rounded,filled\", penwidth=0, fontname=\"Helvetica,sans-Serif\", fontsize=12, fontcolor=white];",
             "edge [color=\"#999999\", arrowsize=0.6];"]  # fmt: skip
    for name in sorted(set(names.values()) - hidden):
        lines.append(f'{name} [label="{name.replace("_", " ")}", fillcolor="{COLOURS[name.partition("_")[0]]}"];')
    for a, b in sorted(edges):
        lines.append(f"{a} -> {b} [style={'dotted' if a != b and reaches(a, b, True) else 'solid'}];")
    return "\n".join([*lines, "}"])


def table(leaderboard: Path) -> list[str]:
    """The README's table: bits per byte of each cell before and after training."""
    with leaderboard.open(encoding="utf-8") as handle:
        rows = sorted(csv.DictReader(handle), key=lambda row: (row["model"], row["language"], ORDER.index(row["method"])))
    lines, last = [HEAD, "|---|---|---|---|---|---|---|---|"], ("", "")
    for (model, language, method), pair in groupby(rows, key=lambda row: (row["model"], row["language"], row["method"])):
        stages = {row["stage"]: row for row in pair}
        init, trained = stages["init"], stages["trained"]
        first = ("", "") if (model, language) == last else (NAMES[model], NAMES[language])
        last = (model, language)
        numbers = [f"{float(value):.2f}" for value in (init["bits_per_byte"], trained["bits_per_byte"], init["uniform_baseline"], trained["bits_per_byte_english"])]  # fmt: skip
        name = "`none` (untouched)" if method == "none" else f"`{method}`"
        lines.append("| " + " | ".join([*first, name, *numbers, f"{float(init['tokens_per_byte']):.3f}"]) + " |")
    return [re.sub(r"^\|  \|  \|", "| | |", line) for line in lines]


def main() -> None:
    """Write the pictures, and put the table into README.md."""
    drawn = subprocess.run(["snakemake", "--rulegraph"], capture_output=True, text=True, check=True).stdout
    subprocess.run(["dot", "-Tsvg", "-o", str(IMAGES / "dag.svg")], input=graph(drawn), text=True, check=True)
    shutil.copy(TABLES / "figures/bits-pocket-deu_Latn-pocket-demo.svg", IMAGES / "result.svg")
    readme = Path("README.md").read_text(encoding="utf-8")
    made = "\n".join(table(TABLES / "leaderboard.csv")) + "\n"
    Path("README.md").write_text(re.sub(rf"^{re.escape(HEAD)}\n(\|.*\n)+", lambda _: made, readme, flags=re.MULTILINE), encoding="utf-8")


if __name__ == "__main__":
    main()
