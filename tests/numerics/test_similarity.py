"""Similarities, thresholds and sums that methods share, beside the same written out."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from tokgraft.numerics import similarity as _similarity
from tokgraft.numerics.similarity import cosine_sparsemax, heaviest, padded, unit_rows, weighted
from tokgraft.numerics.sums import FEW, weighted_sums


def sparsemax(scores: np.ndarray) -> np.ndarray:
    """The projection of one row onto the simplex, its threshold by bisection."""
    low, high = scores.max() - 1, scores.max()
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if np.maximum(scores - middle, 0).sum() > 1 else (low, middle)
    return np.maximum(scores - low, 0)


@pytest.mark.parametrize("anchors", [1, 7, 60, 2001])
@pytest.mark.parametrize("spread", [0.0, 0.05, 3.0])  # equal anchors: all share; far apart: few do
def test_weights_are_those_of_sparsemax(anchors: int, spread: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_similarity, "BLOCK", 20 * anchors)  # several blocks
    rng = np.random.default_rng(0)
    A = (1 + spread * rng.normal(size=(anchors, 24))).astype(np.float32)
    X = (1 + rng.normal(size=(50, 24))).astype(np.float32)
    found = np.concatenate([weights.toarray() for _, weights in cosine_sparsemax(X, A)])
    expected = np.array([sparsemax(row) for row in unit_rows(X) @ unit_rows(A).T])
    assert np.allclose(found, expected, atol=1e-6) and np.allclose(found.sum(axis=1), 1)
    table = rng.normal(size=(anchors, 5)).astype(np.float32)
    rows = np.concatenate([weighted(weights, table) for _, weights in cosine_sparsemax(X, A)])
    assert np.allclose(rows, expected @ table, atol=1e-5)


def test_the_heaviest_come_first() -> None:
    from scipy.sparse import csr_array

    weights = csr_array(np.array([[0.1, 0, 0.7, 0.2], [0, 0.5, 0, 0.5], [1.0, 0, 0, 0]]))
    assert heaviest(weights, 3).tolist() == [[2, 3, 0], [1, 3, -1], [0, -1, -1]]


def test_ragged_rows_as_a_table() -> None:
    row, values = np.array([0, 0, 2]), np.array([1.0, 2, 3])
    assert padded(row, values, 4, -1).tolist() == [[1, 2], [-1, -1], [3, -1], [-1, -1]]


def test_sums_with_and_without_negative_weights() -> None:
    """Weights that cannot cancel are summed in float32; others, and very many, in float64."""
    rng = np.random.default_rng(0)
    table = rng.normal(size=(40, 6)).astype(np.float32)
    table.flags.writeable = False
    ends = np.array([0, 3, 3, 10, 30])
    ids, weights = rng.integers(0, 40, 30), rng.random(30)
    for sign in (1.0, -1.0):
        signed = weights * np.where(np.arange(30) % 3, 1, sign)
        expected = [signed[a:b] @ table[ids[a:b]].astype(np.float64) / 2 for a, b in pairwise(ends)]
        assert np.allclose(weighted_sums(signed, ids, ends, table, 2.0), expected, atol=1e-6)
    opposite = np.array([[1.0], [-1.0], [1e-9]], dtype=np.float32)
    assert weighted_sums(np.array([1e8, -1e8, 1.0]), np.array([0, 0, 2]), np.array([0, 3]), opposite)[0, 0] == np.float32(1e-9)
    many = weighted_sums(
        np.full(FEW + 1, 0.1), np.zeros(FEW + 1, dtype=np.int64), np.array([0, FEW + 1]), np.ones((1, 1), dtype=np.float32)
    )
    assert many[0, 0] == np.float32(0.1 * (FEW + 1))
