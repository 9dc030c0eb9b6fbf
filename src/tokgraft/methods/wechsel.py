"""WECHSEL: a new token is a mixture of the source tokens that are nearest to it in a space of words of both languages."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from tokgraft.methods import Composition, Floats, Mixtures, Transplant, given, method
from tokgraft.numerics.similarity import softmax
from tokgraft.rows.words import (
    REQUIRES,
    AlignedParams,
    BilingualSpace,
    common_space,
    decoded_texts,
    neighbours,
    vectors_by_text,
    vectors_by_words,
)


class Wechsel(AlignedParams):
    """Mix each token from its nearest source tokens in a bilingual word space; only special tokens are copied."""

    neighbours: int = Field(10, ge=1, description="Source tokens in a mixture (reference 10).")
    temperature: float = Field(0.1, gt=0, description="Temperature of the softmax over their cosines (reference 0.1).")
    subword: Literal["ngrams", "words"] = Field(
        "ngrams",
        description="Vector of a token: from the character n-grams of its text, or the mean over words that it is a piece of, by frequency.",
    )
    copy_unknown: bool = Field(
        True, description="Copy tokens of both vocabularies that have no vector (bytes, white space); the reference draws them at random."
    )
    compatibility: Literal["none", "wechsel"] = Field(
        "none", description="wechsel: texts of tokens (subword: ngrams) are decoded ids, names of special tokens and replacement signs "
        "included, as in the reference package (for comparison).",
    )  # fmt: skip


@method("wechsel", Wechsel, version=1, paper="arXiv:2112.06598", requires=REQUIRES, convex=True)
def build(task: Transplant, params: Wechsel) -> Composition:
    """E'[t] = sum_j softmax(cos(x_t, x_j) / temperature)_j E[j] over the nearest source tokens j, by the same weights in each table.

    Raises:
        DataError: No entry of the dictionary can be used, vectors are NaN or zero, or fewer source tokens than `neighbours` have one.
        ConfigError: `words` is asked for, and this transplant has no target tokenizer.
    """
    space = common_space(task, params)
    published = params.compatibility == "wechsel"
    source, target = _by_text(task, space, published) if params.subword == "ngrams" else _by_words(task, space)
    copies = task.specials
    near = neighbours(task, source, target, task.target.text_ids, params.neighbours)
    mixtures = Mixtures.table(near.ids, near.sources, softmax(near.cosines / params.temperature))
    if params.copy_unknown:
        known = set(near.ids.tolist())
        copies = copies | {number: match for number, match in task.overlap.items() if number not in known}
    stats = {"dictionary_pairs": space.pairs, "anchors": near.anchors, "mixed": len(near.ids)}
    return Composition(copies, mixtures, drawn=task.others(copies, near.ids), stats=stats)


def _by_text(task: Transplant, space: BilingualSpace, published: bool) -> tuple[Floats, Floats]:
    source, target = (decoded_texts(side) if published else None for side in (task.source, task.target))
    return vectors_by_text(task.source, space.english_texts, source), vectors_by_text(task.target, space.target_texts, target)


def _by_words(task: Transplant, space: BilingualSpace) -> tuple[Floats, Floats]:
    ours, theirs = given(task.segmenter, "segmenter"), given(task.load_target_segmenter, "load_target_segmenter")()
    found = []
    for vocabulary, segmenter, side, vectors in (
        (task.source, ours, space.english, (space.english.vectors @ space.rotation).astype(np.float32)),
        (task.target, theirs, space.target, space.target.vectors),
    ):
        forms = [list(side.words), [" " + word for word in side.words]]
        found.append(vectors_by_words(len(vocabulary), segmenter, forms, vectors, side.counts.astype(np.float64)))
    return found[0], found[1]
