"""Script-wise re-initialisation: new rows are drawn like the source tokens of the same script and place in a word."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from pydantic import Field

from tokgraft.methods import Composition, Floats, Params, Transplant, method
from tokgraft.numerics.sums import moments
from tokgraft.rows.scripts import script_among
from tokgraft.vocab import Vocabulary

SCRIPTS = """
    Zyyy Zinh Latn Grek Cyrl Armn Hebr Arab Syrc Thaa Nkoo Samr Mand Deva Beng Guru Gujr Orya Taml Telu Knda Mlym Sinh Thai Laoo Tibt
    Mymr Geor Hang Ethi Cher Cans Ogam Runr Khmr Mong Limb Tale Talu Lana Bali Sund Batk Lepc Olck Copt Glag Tfng Bopo Hira Kana Hani
    Yiii Lisu Vaii Bamu Sylo Saur Kali Java Cham Tavt Mtei Goth Osge Adlm Cakm Newa Rohg Wcho Hmnp Plrd Brai
"""
"""ISO 15924 codes of scripts in use; letters of others count as Zzzz. Zyyy: signs of many scripts (digits, punctuation); Zinh: marks."""
OTHER = "Zzzz"
BYTES = "bytes"  # tokens that are no whole characters
BLOCK = 8192


class Script(Params):
    """Draw each new row from the normal distribution of the source rows of its category; tokens of both vocabularies are copied."""

    script: bool = Field(True, description="Categories tell scripts apart (REINIT-SCRIPT).")
    position: bool = Field(True, description="Categories tell tokens at the start of a word from others (+POSN).")
    identity: bool = Field(True, description="Copy tokens that both vocabularies have (+IDENT); otherwise special tokens only.")


@method("script", Script, version=1, paper="arXiv:2309.04679", copies_overlap=True)
def build(task: Transplant, params: Script) -> Composition:
    """E'[t] ~ N(mean, std) of the source rows in t's category, for each table on its own; of all source rows where it has fewer than two."""
    copies = task.overlap if params.identity else task.specials
    drawn = task.others(copies)
    source, target = (categories(vocabulary, params.script, params.position) for vocabulary in (task.source, task.target))
    members: dict[str, list[int]] = {}
    for number, name in source.items():
        members.setdefault(name, []).append(number)
    # Target special tokens without a match stand for no text and have no category.
    groups = [name if len(members.get(name := target.get(number, ""), [])) > 1 else "" for number in drawn]
    members[""] = task.live.tolist()

    def draw(table: Floats, ids: Sequence[int], rng: np.random.Generator) -> Floats:
        return _draw(table, groups, members, rng)

    counts = Counter(name or "all source rows" for name in groups)
    return Composition(copies, drawn=drawn, draw=draw, stats={"drawn_like": dict(sorted(counts.items()))})


def categories(vocabulary: Vocabulary, by_script: bool = True, by_position: bool = True) -> dict[int, str]:
    """Category of each token that stands for text: its script, and "initial" if it starts with a space, else "medial"."""
    found = {}
    for number in vocabulary.text_ids:
        text = vocabulary[number].text
        parts = [script_of(text)] if by_script else []
        if by_position:
            parts.append("initial" if text.startswith(b" ") else "medial")
        found[number] = " ".join(parts)
    return found


def script_of(text: bytes) -> str:
    """The script that most characters have, the first one among equals; one leading space does not count unless it is all there is."""
    try:
        characters = text.decode()
    except UnicodeDecodeError:
        return BYTES
    if len(characters) > 1:
        characters = characters.removeprefix(" ")
    counts = Counter(script_among(SCRIPTS, character) or OTHER for character in characters)  # keeps the order of first appearance
    return counts.most_common(1)[0][0] if counts else "Zyyy"


def _draw(table: Floats, groups: Sequence[str], members: dict[str, list[int]], rng: np.random.Generator) -> Floats:
    """A row ~ N(mean_d, std_d) of the rows that its group has, for each of the groups given, in their order."""
    found = {name: moments(table, np.array(members[name], dtype=np.int64)) for name in sorted(set(groups))}
    places = {name: number for number, name in enumerate(found)}
    mean, std = (np.array([pair[part] for pair in found.values()]) for part in (0, 1))
    new = np.empty((len(groups), table.shape[1]), dtype=np.float32)
    for begin in range(0, len(groups), BLOCK):
        rows = [places[name] for name in groups[begin : begin + BLOCK]]
        new[begin : begin + BLOCK] = mean[rows] + std[rows] * rng.standard_normal((len(rows), table.shape[1]))
    return new
