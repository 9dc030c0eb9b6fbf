"""`tokalign` beside a plain rendition of its formula in loops: vectors of 200 ids on either side."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tokgraft.methods.tokalign import most_similar


def cosine(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b)) / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))


@pytest.mark.parametrize("mode", ["cosine", "dot"])
def test_same_source_tokens_as_in_loops(mode: str) -> None:
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(200, 12))
    # Two spaces of different width that know the same things, with noise: alignment is neither trivial nor hopeless.
    source = hidden @ rng.normal(size=(12, 20)) + 0.5 * rng.normal(size=(200, 20))
    target = hidden[rng.permutation(200)] @ rng.normal(size=(12, 16)) + 0.5 * rng.normal(size=(200, 16))
    pivots = rng.permutation(200)[:30], rng.permutation(200)[:30]
    left = [[cosine(row, target[pivot].tolist()) for pivot in pivots[0]] for row in target.tolist()]
    right = [[cosine(row, source[pivot].tolist()) for pivot in pivots[1]] for row in source.tolist()]
    expected = []
    for row in left:
        scores = [cosine(row, other) if mode == "cosine" else sum(x * y for x, y in zip(row, other)) for other in right]
        expected.append(scores.index(max(scores)))
    found = most_similar(target.astype(np.float64), source.astype(np.float64), pivots, mode == "cosine")
    assert found.tolist() == expected
    assert 20 < len(set(expected)) < 200, "many tokens share a row, and not all the same"
