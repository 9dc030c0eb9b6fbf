"""`tokenadapt` beside a plain rendition of the published formulas on the same vectors."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import toys
import toytasks
from tokgraft import methods
from tokgraft.methods import Transplant


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def text_of(task: Transplant, source: bool, number: int) -> str | None:
    """What a token decodes to; None for what has no vector."""
    try:
        text = (task.source if source else task.target)[number].text.decode()
    except UnicodeDecodeError:
        return None
    return text if text.strip() else None


def naive(task: Transplant, number: int, variant: str, mode: str, tau: float, k: int, share: float, threshold: float) -> dict[int, float]:
    """Weights of source ids."""
    index, vectors = task.resources["sentence_embedder"]
    phi = {text: vectors[place].astype(float) for text, place in index.items() if vectors[place].any()}
    s = text_of(task, False, number)
    assert s is not None
    local: dict[int, float] = {}
    ids = task.pieces[number]
    a = [cosine(phi[s], phi[text]) if (text := text_of(task, True, piece)) in phi and text is not None else 0.0 for piece in ids]
    if variant == "tokenadapt":
        a = [math.exp(value) / sum(map(math.exp, a)) for value in a]
    z = [(value + sum(byte & 0xC0 != 0x80 for byte in task.source[piece].text) / len(s)) / 2 for value, piece in zip(a, ids)]
    w = [math.exp(value / (tau + 1e-5)) for value in z]
    for piece, weight in zip(ids, w):
        local[piece] = local.get(piece, 0.0) + weight / sum(w)
    similar = sorted(
        (
            (cosine(phi[s], phi[text]), -piece)
            for piece in task.source.text_ids
            if (text := text_of(task, True, piece)) is not None and text in phi
        ),
        reverse=True,
    )[:k]
    powers = [math.exp(value / tau) for value, _ in similar]
    kept = {-piece: power for (value, piece), power in zip(similar, powers) if value >= threshold}
    near = {piece: power / sum(kept.values()) for piece, power in kept.items()}
    if mode == "local" or not near:
        return local
    if mode == "global":
        return near
    return {piece: (1 - share) * local.get(piece, 0.0) + share * near.get(piece, 0.0) for piece in local.keys() | near.keys()}


@pytest.mark.parametrize("mode", ["hybrid", "local", "global"])
@pytest.mark.parametrize(("variant", "threshold"), [("tokenadapt", 0.0), ("aloobun", 0.6)])
def test_same_rows(variant: str, threshold: float, mode: str) -> None:
    source, target = toys.tokenizer("byte_level"), toys.tokenizer("sp_bpe", 600, "both")
    task = toytasks.task("tokenadapt", source, target, tied=False)
    index, vectors = task.resources["sentence_embedder"]
    # Random vectors of their own, so that neighbours differ and some fall under the threshold.
    given = np.random.default_rng(3).normal(size=(len(vectors), 4)).astype(np.float32)
    given /= np.linalg.norm(given, axis=1, keepdims=True)
    task.resources["sentence_embedder"] = index, given  # type: ignore[index]
    options: dict[str, Any] = {"variant": variant, "mode": mode, "temperature": 0.24, "neighbours": 5, "share": 0.2}
    rows = methods.apply("tokenadapt", task, options)
    some = [n for n in task.target.text_ids if n not in task.overlap and text_of(task, False, n) and task.pieces[n]][::3]
    assert len(some) > 40
    for number in some:
        weight = naive(task, number, variant, mode, 0.24, 5, 0.2, threshold)
        for found, table in ((rows.input, task.E), (rows.output, task.U)):
            expected = sum(share * table[piece].astype(float) for piece, share in weight.items())
            assert found is not None and np.allclose(found[number], expected, rtol=1e-5, atol=1e-5)
