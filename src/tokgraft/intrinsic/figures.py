"""Figures of a tokenizer card, in the house style of the report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tokgraft.reporting import style
from tokgraft.reporting.style import CONTROL_COLOUR, MUTED, SERIES

OURS, BASE = SERIES[0][0], CONTROL_COLOUR[0]
CLASS_NAMES = {
    "control": "special", "byte": "single byte", "character_letter": "letter", "character_other": "other character",
    "start_letters": "word start, letters", "start_other": "word start, other", "inner_letters": "inside, letters",
    "inner_other": "inside, other", "incomplete": "broken character",
}  # fmt: skip


def against(folder: Path, found: dict[str, Any]) -> str:
    """Bytes per token of this tokenizer and the base, with intervals."""
    rows = [(found["tokenizer"]["name"], found["language"]["slug"], found["target"], OURS)]
    rows += [("base", found["language"]["slug"], found["base"], BASE)] if found["base"] else []
    rows += [(found["tokenizer"]["name"], "English", found["english"], SERIES[2][0])] if found["english"] else []
    figure, axes = style.axes(5.6, 0.62 + 0.46 * len(rows))
    tips = {}
    for place, (_, _, side, colour) in enumerate(rows):
        value = side["bytes_per_token"]
        if value["interval"]:
            axes.plot(value["interval"], [place, place], color=colour, linewidth=6, alpha=0.28, solid_capstyle="round")
        axes.plot([value["value"]], [place], "o", color=colour, markersize=8, gid=f"bpt{place}")
        axes.annotate(f"{value['value']:.2f}", (value["value"], place), (0, 9), textcoords="offset points", ha="center", fontsize=8.5)
        tips[f"bpt{place}"] = f"{value['value']} bytes per token, 95% interval {value['interval']}"
    axes.set_yticks(range(len(rows)), [f"{name} on {language}" for name, language, _, _ in rows])
    axes.set_ylim(len(rows) - 0.5, -0.75)
    axes.set_xlabel("bytes per token")
    axes.set_xlim(left=0)
    return style.save(figure, folder, "bytes_per_token", tips, "Bytes per token with intervals")


def tokens_per_word(folder: Path, found: dict[str, Any]) -> str:
    """Share of words in one, two, three ... tokens."""
    figure, axes = style.axes(5.6, 2.6)
    sides = _sides(found)
    for place, (name, side, colour) in enumerate(sides):
        counts = side["histogram"]["tokens_per_word"][1:]
        total = max(sum(counts), 1)
        width = 0.8 / len(sides)
        at = [index + 1 + (place - (len(sides) - 1) / 2) * width for index in range(len(counts))]
        axes.bar(at, [count / total for count in counts], width=width * 0.92, color=colour, label=name)
    last = len(sides[0][1]["histogram"]["tokens_per_word"]) - 1
    axes.set_xticks(range(1, last + 1), [*map(str, range(1, last)), f"{last}+"])
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.set_xlabel("tokens per word")
    _legend(axes, sides)
    return style.save(figure, folder, "tokens_per_word", {}, "Share of words by their number of tokens")


def rank_frequency(folder: Path, found: dict[str, Any]) -> str:
    """How often the token of each rank occurs, both axes logarithmic."""
    figure, axes = style.axes(5.6, 2.6)
    sides = _sides(found)
    for name, side, colour in sides:
        points = side["histogram"]["rank_frequency"]
        axes.plot([rank for rank, _ in points], [often for _, often in points], color=colour, linewidth=2, label=name)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("rank of the token")
    axes.set_ylabel("occurrences")
    _legend(axes, sides)
    return style.save(figure, folder, "rank_frequency", {}, "Frequency of tokens by rank")


def token_lengths(folder: Path, found: dict[str, Any]) -> str:
    """Length of tokens in bytes: share of the vocabulary, and share of the text's tokens."""
    figure, axes = style.axes(5.6, 2.6)
    data = found["target"]["histogram"]
    lines = [("vocabulary", data["token_bytes_vocabulary"], BASE), ("text", data["token_bytes_text"], OURS)]
    for name, counts, colour in lines:
        total = max(sum(counts), 1)
        axes.step(range(1, len(counts)), [count / total for count in counts[1:]], where="mid", color=colour, linewidth=2, label=name)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.set_xlabel(f"bytes of a token ({len(data['token_bytes_text']) - 1}: that many or more)")
    axes.set_ylim(bottom=0)
    _legend(axes, lines)
    return style.save(figure, folder, "token_bytes", {}, "Length of tokens in vocabulary and text")


def classes(folder: Path, found: dict[str, Any]) -> str:
    """What the vocabulary is made of."""
    rows = [(CLASS_NAMES[name], entry) for name, entry in found["vocabulary"]["classes"].items() if entry["tokens"]]
    figure, axes = style.axes(5.6, 0.6 + 0.29 * len(rows))
    axes.barh(range(len(rows)), [entry["share"] for _, entry in rows], color=OURS, height=0.62)
    for place, (_, entry) in enumerate(rows):
        axes.annotate(
            f"{entry['tokens']:,}", (entry["share"], place), (4, 0), textcoords="offset points", va="center", fontsize=8, color=MUTED
        )
    axes.set_yticks(range(len(rows)), [name for name, _ in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.margins(x=0.12)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.set_xlabel("share of the vocabulary")
    return style.save(figure, folder, "classes", {}, "Classes of the vocabulary")


def _sides(found: dict[str, Any]) -> list[tuple[str, dict[str, Any], str]]:
    sides = [(found["tokenizer"]["name"], found["target"], OURS)]
    return [*sides, *([("base", found["base"], BASE)] if found["base"] else [])]


def _legend(axes: Any, lines: list[Any]) -> None:
    if len(lines) > 1:
        axes.legend(frameon=False, fontsize=8.5)
