"""A bilingual dictionary English <-> target language, from the paragraphs of the train pages that have an English original."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from tokgraft.errors import ArtifactError, UnavailableError
from tokgraft.resources._align import AlignerParams, align, read_pairs
from tokgraft.resources._contract import Inputs, resource
from tokgraft.resources._words import pattern, spaceless_share, words

FILE = "dictionary.tsv"
HEADER = "english\ttarget\tweight\tlinks"
Entry = tuple[str, str, float]


class Dictionary(AlignerParams):
    """Pairs of words that were linked in the parallel train pages, weighted by how often and how exclusively they were linked."""

    symmetry: Literal["intersection", "grow_diag"] = Field("intersection", description="How links of both directions are joined.")
    lower: bool = Field(True, description="Lower-case all words.")
    min_count: int = Field(2, ge=1, description="Rarer pairs are left out.")
    min_weight: float = Field(0.1, ge=0, le=1, description="Pairs with a lower weight are left out.")
    translations: int = Field(3, ge=1, description="At most so many translations of an English word, the heaviest.")
    spaceless: float = Field(
        0.5, ge=0, le=1, description="Largest share of letters in scripts without spaces (Han, kana, Thai, Lao, Khmer, Myanmar, Tibetan)."
    )


def load(folder: Path, size: int) -> tuple[Entry, ...]:
    """(English word, target word, weight) of each entry, the heaviest first, equal ones by their words; `size` does not matter.

    Raises:
        ArtifactError: The file is damaged.
    """
    heading, *lines = (folder / FILE).read_text(encoding="utf-8").rstrip("\n").split("\n")
    try:
        rows = [line.split("\t") for line in lines]
        entries = tuple((english, target, float(weight)) for english, target, weight, _ in rows)
    except ValueError:
        entries = ()
    if heading != HEADER or not entries:
        raise ArtifactError(f"{folder / FILE} is damaged", "make the resource again")
    return entries


@resource("dictionary", Dictionary, load=load, version=1, needs={"corpus"}, libraries=["numpy", "regex"])
def build(inputs: Inputs, params: Dictionary, folder: Path) -> Mapping[str, Any]:
    """Write `dictionary.tsv`: english, target, weight, links; a heading first.

    The weight of a pair is Dice's coefficient, 2 n(e, f) / (n(e) + n(f)): links of the pair, and occurrences of each word in the
    parallel text whether linked or not.

    Raises:
        DataError: The corpus has no parallel text, its language is written without spaces, or no pair is frequent enough.
    """
    corpus = Path(str(inputs.corpus))
    pairs = read_pairs(corpus, params.max_bytes)
    share = spaceless_share(text for _, text in pairs)
    if share > params.spaceless:
        raise UnavailableError(
            f"{corpus}: {share:.0%} of the letters belong to scripts without spaces between words, so its words cannot be told apart",
            "use a method that needs no dictionary (trans_tokenization aligns tokens), or raise spaceless of dictionary",
        )
    english = [words(text, params.lower) for text, _ in pairs]
    target = [words(text, params.lower) for _, text in pairs]
    links = align(english, target, params, params.symmetry)
    counts: Counter[tuple[str, str]] = Counter(
        (english[number][left], target[number][right])
        for number, left, right in zip(links.sentence.tolist(), links.left.tolist(), links.right.tolist())
    )
    rows = _entries(counts, Counter(chain.from_iterable(english)), Counter(chain.from_iterable(target)), params)
    if not rows:
        raise UnavailableError(
            f"no pair of words was linked {params.min_count} times in {corpus}", "lower min_count or min_weight of dictionary, or add text"
        )
    text = "".join(f"{one}\t{two}\t{weight:.6f}\t{count}\n" for one, two, weight, count in rows)
    (folder / FILE).write_text(f"{HEADER}\n{text}", encoding="utf-8")
    return {**links.facts, "entries": len(rows), "english_words": len({row[0] for row in rows}), "spaceless_share": round(share, 6)}


def _entries(
    counts: Mapping[tuple[str, str], int], english: Mapping[str, int], target: Mapping[str, int], params: Dictionary
) -> list[tuple[str, str, float, int]]:
    """The pairs that are kept, the heaviest first."""
    found = [(one, two, 2 * count / (english[one] + target[two]), count) for (one, two), count in counts.items()]
    kept: list[tuple[str, str, float, int]] = []
    taken: Counter[str] = Counter()
    for row in sorted(found, key=lambda row: (-row[2], row[0], row[1])):
        one, two, weight, count = row
        letters = pattern("letter").search(one) and pattern("letter").search(two)
        if letters and count >= params.min_count and weight >= params.min_weight and taken[one] < params.translations:
            taken[one] += 1
            kept.append(row)
    return kept
