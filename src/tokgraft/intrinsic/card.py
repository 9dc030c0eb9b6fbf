"""The card of a tokenizer: `card.html`, one file that needs nothing else, with its figures as SVG and PNG beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tokgraft.intervals import FEWEST
from tokgraft.intrinsic import figures
from tokgraft.intrinsic.counts import Counts
from tokgraft.intrinsic.inputs import Subject
from tokgraft.intrinsic.splits import side_by_side
from tokgraft.reporting.style import variables

HERE = Path(__file__).parent
EXAMPLES, LONGEST = 4, 220
LONGEST_TOKEN = 24

# Path in the report, label, decimals (a share when negative), which way is better ("" for neither), what it means.
ROWS: tuple[tuple[tuple[str, ...], str, int, str, str], ...] = (
    (("bytes_per_token",), "Bytes per token", 3, "up", "UTF-8 bytes over tokens: how much text a token carries."),
    (("characters_per_token",), "Characters per token", 3, "up", "Code points over tokens."),
    (("fertility",), "Fertility", 3, "down", "Tokens that touch a word, per word, in context."),
    (("fertility_isolated",), "Fertility, isolated", 3, "down", "Tokens of each word encoded alone after a space."),
    (("continued_words",), "Continued words", -1, "down", "Words in two tokens or more."),
    (("retention", "after_space"), "Single-token words", -1, "up", "Of the most frequent words of the train pages, those that are one token."),
    (("distribution", "renyi_efficiency"), "Rényi efficiency", 3, "", "Rényi entropy over the logarithm of the vocabulary's size."),
    (("distribution", "shannon_efficiency"), "Shannon efficiency", 3, "", "The same with Shannon's entropy."),
    (("unigram",), "Unigram model, bits per byte", 3, "down", "Of a model that only knows how frequent each token is on the train pages."),
    (("use", "used_share"), "Vocabulary used", -1, "up", "Tokens of the vocabulary that occur in the test pages."),
    (("use", "single_bytes"), "Tokens that are single bytes", -1, "down", "Bytes that are no character by themselves."),
    (("use", "unknown"), "Unknown tokens", -1, "down", "Text that the tokenizer cannot write."),
)  # fmt: skip


def histogram(subject: Subject, counts: Counts) -> dict[str, Any]:
    """What the figures need: tokens per word, length of tokens (bytes) in vocabulary and text, frequencies at a few ranks."""
    frequencies = counts.frequencies
    vocabulary = subject.vocabulary
    ids = [number for number in vocabulary.text_ids if number < len(frequencies)]
    sizes = np.minimum([len(vocabulary[number].text) for number in ids], LONGEST_TOKEN)
    text = np.bincount(sizes, weights=frequencies[ids], minlength=LONGEST_TOKEN + 1)
    ordered = np.sort(frequencies[frequencies > 0])[::-1]
    ranks = np.unique(np.geomspace(1, max(len(ordered), 1), 60).astype(int)) if len(ordered) else np.zeros(0, dtype=int)
    return {
        "tokens_per_word": counts.per_word.tolist(),
        "token_bytes_vocabulary": np.bincount(sizes, minlength=LONGEST_TOKEN + 1).tolist(),
        "token_bytes_text": text.astype(int).tolist(),
        "rank_frequency": [[int(rank), int(ordered[rank - 1])] for rank in ranks],
    }


def examples(subject: Subject, base: Subject | None, pages: Sequence[str]) -> list[dict[str, Any]]:
    """The first sentences of some pages, cut by this tokenizer and by the base."""
    lines = [line for page in pages for line in page.split("\n") if 60 <= len(line) <= LONGEST]
    chosen = lines[:: max(1, len(lines) // EXAMPLES)][:EXAMPLES] or [page[:LONGEST] for page in pages[:EXAMPLES]]
    return side_by_side([subject, *([base] if base else [])], chosen)


def write(folder: Path, found: dict[str, Any]) -> None:
    """Write `card.html` and the figures."""
    drawn = {
        "against": figures.against(folder, found),
        "words": figures.tokens_per_word(folder, found),
        "ranks": figures.rank_frequency(folder, found),
        "lengths": figures.token_lengths(folder, found),
        "classes": figures.classes(folder, found),
    }
    page = render(
        "card.html",
        found=found,
        drawn=drawn,
        table=table(found),
        facts=facts(found),
        verdicts=verdicts(found),
        scripts=scripts(found),
        texts=found["examples"],
        fewest=FEWEST,
    )
    (folder / "card.html").write_text(page, encoding="utf-8")


def render(template: str, **values: Any) -> str:
    """A page of this package."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template(template).render(light=variables(False), dark=variables(True), **values)


def table(found: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of the main table: metric, this tokenizer and the base on the language, this tokenizer on English.

    A number is coloured as better or worse than the base's on `FEWEST` pages or more, and where the two intervals lie apart.
    """
    rows, enough = [], found["target"]["pages"] >= FEWEST
    for path, label, digits, better, meaning in ROWS:
        cells = [_cell(_at(found[side], path), digits) for side in ("target", "base", "english")]
        ours, old = (_interval(_at(found[side], path)) for side in ("target", "base"))
        tone = ""
        if better and enough and ours and old and (ours[0] > old[1] or ours[1] < old[0]):
            tone = "good" if (ours[0] > old[1]) == (better == "up") else "bad"
        rows.append({"label": label, "meaning": meaning, "cells": cells, "tone": tone})
    return rows


def facts(found: dict[str, Any]) -> list[tuple[str, str]]:
    """Short facts for the head of the card."""
    made, target = found["tokenizer"], found["target"]
    listed = [
        (f"{made['size']:,}", "tokens"),
        (made["algorithm"], made["scheme"].replace("_", "-")),
        (found["language"]["slug"], "language"),
    ]
    return [*listed, (f"{target['bytes'] / 1e6:.2f} MB", f"on {target['pages']} test pages")]


def scripts(found: dict[str, Any], most: int = 10) -> list[tuple[str, dict[str, Any]]]:
    """The most frequent scripts of the vocabulary."""
    entries: dict[str, dict[str, Any]] = found["vocabulary"]["scripts"]
    return sorted(entries.items(), key=lambda item: (-item[1]["tokens"], item[0]))[:most]


def verdicts(found: dict[str, Any]) -> list[dict[str, str]]:
    """What the audits say, one sentence each, with its tone."""
    reach, trip = found["reachability"], found["round_trip"]
    listed = [
        _verdict(trip["failed"], f"{trip['texts'] - trip['failed']:,} of {trip['texts']:,} texts survive the round trip exactly."),
        _verdict(reach["unreachable"], f"{reach['unreachable']:,} tokens can never be produced."),
    ]
    premium = found["parallel"]["help"]
    if premium and found["language"]["slug"] != "eng_Latn":
        listed.append({"tone": "", "text": f"The language costs {_with_interval(premium['premium'])} times the tokens of its English originals, and "
                                           f"{_with_interval(premium['byte_premium'])} times the bytes ({premium['pages']} pages; 1 is parity)."})  # fmt: skip
    if found["overlap"]:
        listed.append({"tone": "", "text": f"{found['overlap']['share_of_ours']:.1%} of the tokens are also the base's, "
                                           f"and {found['overlap']['share_of_text']:.1%} of the text's tokens."})  # fmt: skip
    words = (found["lexicon"] or {}).get("tokens", {})
    for key, label in (("words_share", "are words of the language (%TR)"), ("pure_share", "are roots or morphemes (%Pure)")):
        if key in words:
            listed.append({"tone": "", "text": f"{words[key]:.1%} of the distinct tokens {label}."})
    weak = found["under_trained"] or {}
    if "confirmed" in weak:
        asked = weak["confirmed"]
        listed.append(_verdict(asked["under_trained"], f"{asked['under_trained']} of {asked['asked']} suspect tokens are under-trained."))
    return listed


def _with_interval(value: dict[str, Any]) -> str:
    return f"{value['value']:.2f}" + (f" [{', '.join(f'{bound:.2f}' for bound in value['interval'])}]" if value["interval"] else "")


def summary(found: dict[str, Any]) -> list[str]:
    """The card in a few lines of text, for the log."""
    rows = [("", found["tokenizer"]["name"], *(name for name in ("base", "english") if found[name]))]
    for row in table(found):
        cells = [cell for cell, name in zip(row["cells"], ("target", "base", "english")) if name == "target" or found[name]]
        rows.append((row["label"], *(cell["text"] for cell in cells)))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(widths[0]) if not i else cell.rjust(widths[i]) for i, cell in enumerate(row)) for row in rows]
    return [*lines, *(verdict["text"] for verdict in verdicts(found))]


def _verdict(wrong: int, text: str) -> dict[str, str]:
    return {"tone": "bad" if wrong else "good", "text": text}


def _at(side: dict[str, Any] | None, path: tuple[str, ...]) -> Any:
    value: Any = side
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _number(value: Any) -> float | None:
    number: float | None = value["value"] if isinstance(value, dict) else value
    return number


def _interval(value: Any) -> list[float]:
    """The interval of a metric; empty where it has none."""
    return list(value["interval"]) if isinstance(value, dict) else []


def _cell(value: Any, digits: int) -> dict[str, str]:
    number = _number(value)
    if number is None:
        return {"text": "–", "interval": ""}
    interval = value["interval"] if isinstance(value, dict) else []
    return {"text": _write(number, digits), "interval": " – ".join(_write(bound, digits) for bound in interval)}


def _write(number: float, digits: int) -> str:
    return f"{number:.{-digits}%}" if digits < 0 else f"{number:.{digits}f}"
