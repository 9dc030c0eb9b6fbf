"""Where tokens begin: agreement of two tokenizers, and of a tokenizer with morphemes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from tokgraft.intrinsic.counts import Ints, Text
from tokgraft.intrinsic.inputs import Subject
from tokgraft.intrinsic.lexicon import Segmentations

SPACES = np.array([code for code in range(0x3001) if chr(code).isspace()], dtype=np.uint32)


def starts(page: str, offsets: list[tuple[int, int]]) -> Ints:
    """Places (code points) at which a token begins, without the first.

    A token that begins with spaces counts from its first other character, since some tokenizers put a space into a token and others
    between tokens. Tokens that share a character (bytes) begin at one place.
    """
    if not offsets:
        return np.zeros(0, dtype=np.int64)
    codes = np.frombuffer(page.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    places = np.where(np.isin(codes, SPACES), len(codes), np.arange(len(codes)))
    following = np.append(np.minimum.accumulate(places[::-1])[::-1], len(codes))
    begun = np.unique(following[np.array([start for start, _ in offsets], dtype=np.int64)])
    first = following[0]
    return np.asarray(begun[(begun > first) & (begun < len(codes))], dtype=np.int64)


def agreement(one: Subject, other: Subject, text: Text) -> dict[str, Any]:
    """F1 of the places at which tokens begin, over all places and over those inside words (where tokenizers differ by choice)."""
    sums = {"all": np.zeros(3, dtype=np.int64), "inside_words": np.zeros(3, dtype=np.int64)}
    for begin in range(0, len(text.pages), 64):
        part = list(text.pages[begin : begin + 64])
        both = [subject.tokenizer.encode_batch(part, add_special_tokens=False) for subject in (one, other)]
        for page, spans, left, right in zip(part, text.spans[begin:], *both):
            sides = [starts(page, encoding.offsets) for encoding in (left, right)]
            sums["all"] += _matched(*sides)
            inner = _inside(spans, len(page))
            sums["inside_words"] += _matched(*(side[inner[side]] for side in sides))
    return {name: _scores(*map(int, counts)) for name, counts in sums.items()}


def _inside(spans: Ints, length: int) -> npt.NDArray[np.bool_]:
    """Places strictly inside a word, as a mask."""
    steps = np.zeros(length + 2, dtype=np.int64)
    if len(spans):
        np.add.at(steps, spans[:, 0] + 1, 1)
        np.add.at(steps, spans[:, 1], -1)
    return np.asarray(np.cumsum(steps)[: length + 1] > 0)


def _matched(one: Ints, other: Ints) -> Ints:
    """(places of both, of the first, of the second)."""
    return np.array([len(np.intersect1d(one, other, assume_unique=True)), len(one), len(other)], dtype=np.int64)


def morphology(subject: Subject, segmentations: Segmentations, words: Mapping[str, int] | None = None) -> dict[str, Any]:
    """Precision, recall and F1 of the splits inside words against those between morphemes.

    Args:
        subject: The tokenizer; every word is encoded as it stands after a space.
        segmentations: Word -> morphemes.
        words: How often each word counts; None: once.

    Returns:
        Micro averages over words. A word in one piece has no split, and costs recall when it has several morphemes.
    """
    kinds = sorted(word for word in segmentations if words is None or words.get(word))
    found = subject.tokenizer.encode_batch([f" {word}" for word in kinds], add_special_tokens=False)
    sums = np.zeros(3, dtype=np.int64)
    whole = total = 0
    for word, encoding in zip(kinds, found):
        times = 1 if words is None else words[word]
        gold = np.cumsum([len(part) for part in segmentations[word]][:-1], dtype=np.int64)
        ours = starts(f" {word}", encoding.offsets) - 1
        sums += times * _matched(np.unique(ours), np.unique(gold))
        whole += times * (len(ours) == 0)
        total += times
    return {"words": total, "in_one_piece": round(whole / max(total, 1), 6), **_scores(*map(int, sums))}


def _scores(both: int, found: int, wanted: int) -> dict[str, Any]:
    precision, recall = (both / count if count else None for count in (found, wanted))
    return {
        "f1": round(2 * both / (found + wanted), 6) if found + wanted else None,
        "precision": None if precision is None else round(precision, 6),
        "recall": None if recall is None else round(recall, 6),
        "splits": found,
        "reference_splits": wanted,
    }
