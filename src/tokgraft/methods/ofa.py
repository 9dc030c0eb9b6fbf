"""OFA: copy the overlap, and mix the rest from tokens that are pieces of similar words, in a low-rank table if asked for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import Field

from tokgraft.methods import Composition, Floats, Mixtures, Transplant, given, method
from tokgraft.numerics.low_rank import truncated
from tokgraft.numerics.similarity import softmax
from tokgraft.overlap import Match
from tokgraft.rows.words import REQUIRES, AlignedParams, BilingualSpace, common_space, neighbours, vectors_by_words


class Ofa(AlignedParams):
    """Copy what both vocabularies have; mix the rest from its nearest source tokens, a token being the mean of the words it is part of."""

    neighbours: int = Field(10, ge=1, description="Source tokens in a mixture (reference 10).")
    temperature: float = Field(0.1, gt=0, description="Temperature of the softmax over their cosines (reference 0.1).")
    fuzzy: bool = Field(True, description="Tokens that differ only in case match, too (reference: true).")
    rank: int | None = Field(
        None, ge=1, description="Rank of the table that rows are made in (reference 100, 200, 400 or the full width); null: full."
    )


@method("ofa", Ofa, version=1, paper="arXiv:2311.08849", requires=REQUIRES, copies_overlap=True, convex=True)
def build(task: Transplant, params: Ofa) -> Composition:
    """With E = F P of the given rank: F'[t] = F[s] for the overlap, sum_j softmax(cos / temperature)_j F[j] else, and E' = F' P.

    Raises:
        DataError: No entry of the dictionary can be used, vectors are NaN or zero, or fewer source tokens than `neighbours` have one.
        ConfigError: This transplant has no target tokenizer.
    """
    segmenter, target_segmenter = given(task.segmenter, "segmenter"), given(task.load_target_segmenter, "load_target_segmenter")()
    folded = _fuzzy(task) if params.fuzzy else {}
    copies = task.overlap | folded
    space = common_space(task, params)
    words, vectors = _pooled(space)
    forms = _forms(words)
    ones = np.ones(len(words))
    source = vectors_by_words(len(task.source), segmenter, forms, vectors, ones)
    target = vectors_by_words(len(task.target), target_segmenter, forms, vectors, ones)
    wanted = [number for number in task.target.text_ids if number not in copies]
    near = neighbours(task, source, target, wanted, params.neighbours)
    mixtures = Mixtures.table(near.ids, near.sources, softmax(near.cosines / params.temperature))
    stats = {"dictionary_pairs": space.pairs, "anchors": near.anchors, "mixed": len(near.ids), "fuzzy": len(folded)}
    rank = params.rank
    low_rank = None if rank is None else lambda table: truncated(table, task.live, rank)
    return Composition(copies, mixtures, drawn=task.others(copies, near.ids), low_rank=low_rank, stats=stats)


def _pooled(space: BilingualSpace) -> tuple[list[str], Floats]:
    """Words of both languages and their vectors in the common space."""
    rotated = (space.english.vectors @ space.rotation).astype(np.float32)
    return [*space.target.words, *space.english.words], np.concatenate([space.target.vectors, rotated])


def _forms(words: Sequence[str]) -> list[list[str]]:
    """Each word as it is and capitalised, with and without a space before it."""
    return [[space + change(word) for word in words] for change in (str, str.capitalize) for space in ("", " ")]


def _fuzzy(task: Transplant) -> dict[int, Match]:
    """Source tokens that differ from a target token in case only, for target tokens outside the overlap; the first in canonical order."""
    folded: dict[str, int] = {}
    for number in reversed([number for number in task.source.canonical_order if task.source[number].kind == "normal"]):
        if (key := _lower(task.source[number].text)) is not None:
            folded[key] = number
    found = {}
    for number in task.target.text_ids:
        key = _lower(task.target[number].text)
        if number not in task.overlap and key in folded:
            found[number] = Match(folded[key], "bytes")
    return found


def _lower(text: bytes) -> str | None:
    try:
        return text.decode().lower()
    except UnicodeDecodeError:
        return None
