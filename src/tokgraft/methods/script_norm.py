"""Give made rows the length that source rows of the same script have."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
from pydantic import Field

from tokgraft.methods import Floats, Params, Rows, Transplant, refiner
from tokgraft.rows.scripts import script_among
from tokgraft.vocab import Token

SCRIPTS = """
    Latin Greek Cyrillic Armenian Georgian Hebrew Arabic Syriac Thaana Nko Adlam Ethiopic Tifinagh Vai Devanagari Bengali Gurmukhi
    Gujarati Oriya Tamil Telugu Kannada Malayalam Sinhala Ol_Chiki Meetei_Mayek Chakma Thai Lao Tibetan Myanmar Khmer Balinese Javanese
    Sundanese Buginese Tai_Le New_Tai_Lue Tai_Tham Cham Mongolian Han Hiragana Katakana Hangul Bopomofo Yi Lisu Cherokee
    Canadian_Aboriginal Hanifi_Rohingya Coptic Gothic Runic Braille
"""
NONE, PART = "no script", "part of a character"


class ScriptNorm(Params):
    """Scale made input rows to the mean length of source rows of the same Unicode script; copied rows stay."""

    least: int = Field(20, ge=1, description="Scripts with fewer source rows count as the mean of all text tokens.")
    output: bool = Field(False, description="Scale the output rows of an untied model, too (by its own output table).")


@refiner("script_norm", ScriptNorm, version=1, paper="arXiv:2608.03494")
def refine(task: Transplant, rows: Rows, params: ScriptNorm) -> Rows:
    """Rows in the same direction; a row of zeros has none and stays."""
    source = {number: script(task.source[number]) for number in task.source.text_ids}
    goals = {number: script(task.target[number]) for number in task.target.text_ids}
    numbers = [number for number in rows.made.tolist() if number in goals]
    kinds = Counter(goals[number] for number in numbers)

    def scaled(new: Floats, table: Floats) -> Floats:
        means = _means(source, table, params.least)
        wanted = np.array([means.get(goals[number], means[None]) for number in numbers])
        lengths = np.linalg.norm(new[numbers].astype(np.float64), axis=1)
        factors = np.divide(wanted, lengths, out=np.ones_like(lengths), where=lengths > 0)
        result = new.copy()
        result[numbers] = (new[numbers] * factors[:, None]).astype(np.float32)
        return result

    inputs = scaled(rows.input, task.E) if numbers else rows.input
    output = scaled(rows.output, task.U) if params.output and numbers and rows.output is not None else rows.output
    return replace(rows, input=inputs, output=output, stats={**rows.stats, "script_norm": dict(sorted(kinds.items()))})


def script(token: Token) -> str:
    """The script of most characters of a token; "no script" for digits, signs and spaces, "part of a character" for lone bytes.

    Of scripts with equally many characters the one that comes first in the token counts.
    """
    text = token.text.decode("utf-8", "ignore")
    found = Counter(name for name in (script_among(SCRIPTS, character) for character in text) if name is not None)
    if found:
        return found.most_common(1)[0][0]
    return NONE if len(text.encode()) == len(token.text) else PART


def _means(scripts: dict[int, str], table: Floats, least: int) -> dict[str | None, float]:
    """Mean length of the rows of each script that has enough of them; under None that of all."""
    numbers = np.array(list(scripts), dtype=np.int64)
    lengths = np.linalg.norm(table[numbers].astype(np.float64), axis=1)
    names = np.array(list(scripts.values()))
    found: dict[str | None, float] = {None: float(lengths.mean())}
    for name in np.unique(names).tolist():
        if (names == name).sum() >= least:
            found[name] = float(lengths[names == name].mean())
    return found
