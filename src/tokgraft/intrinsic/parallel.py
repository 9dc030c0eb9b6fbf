"""What a language costs beside English on the same content: premium, parity, byte premium."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tokgraft.intrinsic.counts import Ints, token_counts
from tokgraft.intrinsic.inputs import SentencePairs, Subject
from tokgraft.intrinsic.measures import ratio


def premiums(subject: Subject, pairs: SentencePairs) -> dict[str, Any] | None:
    """Tokens of the translations over tokens of the originals; parity is reached at 1.

    Args:
        subject: The tokenizer, which encodes both sides.
        pairs: Paragraphs and their originals.

    Returns:
        `premium` (all paragraphs concatenated: a ratio of sums), the same in bytes, their quotient, and mean and quartiles of the
        premiums of single paragraphs; None without pairs.
    """
    if not pairs.target:
        return None
    tokens = [token_counts(subject.tokenizer, side) for side in (pairs.target, pairs.english)]
    sizes = [np.array([len(text.encode()) for text in side], dtype=np.int64) for side in (pairs.target, pairs.english)]
    _, page = np.unique(np.array(pairs.pages), return_inverse=True)
    above, below, more, less = (_by_page(values, page) for values in (*tokens, *sizes))
    token, byte = ratio(above, below), ratio(more, less)
    kept = tokens[1] > 0
    single = tokens[0][kept] / tokens[1][kept]
    return {
        "pairs": len(pairs.target),
        "pages": int(page.max()) + 1,
        "tokens_english": int(tokens[1].sum()),
        "tokens_target": int(tokens[0].sum()),
        "premium": token,
        "byte_premium": byte,
        "premium_per_byte_premium": _quotient(token["value"], byte["value"]),
        "by_paragraph": {
            "mean": round(float(single.mean()), 6),
            "quartiles": [round(float(value), 6) for value in np.quantile(single, [0.25, 0.5, 0.75])],
        }
        if len(single)
        else None,
    }


def declaration(subject: Subject, name: str, target: Sequence[str], english: Sequence[str]) -> dict[str, Any]:
    """The premium on one document, the Universal Declaration of Human Rights, whose paragraphs need not be aligned for it."""
    tokens = [int(token_counts(subject.tokenizer, side).sum()) for side in (target, english)]
    sizes = [sum(len(text.encode()) for text in side) for side in (target, english)]
    token, byte = _quotient(*tokens), _quotient(*sizes)
    return {
        "text": name,
        "tokens_english": tokens[1],
        "tokens_target": tokens[0],
        "premium": token,
        "byte_premium": byte,
        "premium_per_byte_premium": _quotient(token, byte),
        "bytes_per_token": _quotient(sizes[0], tokens[0]),
    }


def _by_page(values: Ints, page: Ints) -> Ints:
    return np.bincount(page, weights=values).astype(np.int64)


def _quotient(above: float | None, below: float | None) -> float | None:
    return round(above / below, 6) if above is not None and below else None
