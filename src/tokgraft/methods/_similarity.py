"""Similarities and weightings that methods share, blocked so that memory grows with |Vt| x d and never with |Vt| x |Vs|."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from tokgraft.methods._contract import Floats

Doubles = npt.NDArray[np.float64]
BLOCK = 4_000_000  # numbers of one similarity block: 32 MB in float64


def unit_rows(vectors: npt.NDArray[np.floating]) -> Doubles:
    """Rows scaled to length 1, in float64; zero rows stay zero."""
    rows = vectors.astype(np.float64)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    scaled: Doubles = np.divide(rows, length, out=np.zeros_like(rows), where=length > 0)
    return scaled


def softmax(scores: Doubles) -> Doubles:
    """exp(x) / sum exp(x) along the last axis, (..., k)."""
    if not scores.size:
        return scores
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    normed: Doubles = weights / weights.sum(axis=-1, keepdims=True)
    return normed


def sparsemax(scores: Doubles) -> Doubles:
    """Row-wise Euclidean projection onto the simplex (Martins & Astudillo 2016, algorithm 1). (n, m) -> (n, m), rows sum to 1."""
    ordered = -np.sort(-scores, axis=1)
    summed = np.cumsum(ordered, axis=1)
    rank = np.arange(1, scores.shape[1] + 1)
    support = (1 + rank * ordered > summed).sum(axis=1)
    threshold = (np.take_along_axis(summed, support[:, None] - 1, axis=1) - 1) / support[:, None]
    weights: Doubles = np.maximum(scores - threshold, 0)
    return weights


def cosine_sparsemax(queries: npt.NDArray[np.floating], anchors: npt.NDArray[np.floating]) -> Iterator[tuple[slice, Doubles]]:
    """Blocks of `sparsemax(cosine(queries, anchors))`.

    Args:
        queries: (n, k).
        anchors: (m, k).

    Yields:
        A slice of the queries and their weights, (rows of the slice, m).
    """
    left, right = unit_rows(queries), unit_rows(anchors)
    step = max(1, BLOCK // max(len(right), 1))
    for begin in range(0, len(left), step):
        block = slice(begin, min(begin + step, len(left)))
        yield block, sparsemax(left[block] @ right.T)


def weighted(weights: Doubles, table: Floats) -> Floats:
    """`weights @ table` by the few rows that count. (n, m), (m, d) -> (n, d), summed in float64."""
    rows = np.empty((len(weights), table.shape[1]), dtype=np.float32)
    for number, row in enumerate(weights):
        used = np.flatnonzero(row)
        rows[number] = row[used] @ table[used].astype(np.float64)
    return rows
