"""Similarities and weightings that methods share, blocked so that memory grows with |Vt| x d and never with |Vt| x |Vs|."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from tokgraft.methods._contract import Floats
from tokgraft.methods._rows import COLUMNS

Doubles = npt.NDArray[np.float64]
BLOCK = 4_000_000  # numbers of one similarity block: 32 MB in float64
LIKELY = 512  # scores among which the support of a sparsemax is looked for first
DENSE = 0.05  # share of weights that are not 0 from which on a dense product is faster


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
    weights: Doubles = scores - _thresholds(scores)[:, None]
    return np.maximum(weights, 0, out=weights)


def _thresholds(scores: Doubles) -> Doubles:
    """What is subtracted from the scores of each row, (n,)."""
    if scores.shape[1] <= 4 * LIKELY:
        support, threshold = _threshold(scores)
    else:
        # Few scores are in the support, so that the highest ones decide unless all of them are in it.
        support, threshold = _threshold(np.partition(scores, -LIKELY, axis=1)[:, -LIKELY:])
        if len(open_ended := np.flatnonzero(support == LIKELY)):
            threshold[open_ended] = _threshold(scores[open_ended])[1]
    return threshold


def _threshold(scores: Doubles) -> tuple[npt.NDArray[np.int64], Doubles]:
    """Number of scores in each row's support, and what is subtracted from them, each (n,)."""
    ordered = -np.sort(-scores, axis=1)
    summed = np.cumsum(ordered, axis=1)
    support = (1 + np.arange(1, scores.shape[1] + 1) * ordered > summed).sum(axis=1)
    return support, (np.take_along_axis(summed, support[:, None] - 1, axis=1)[:, 0] - 1) / support


def cosine_sparsemax(queries: npt.NDArray[np.floating], anchors: npt.NDArray[np.floating]) -> Iterator[tuple[slice, Any]]:
    """Blocks of `sparsemax(cosine(queries, anchors))`, sparse.

    Args:
        queries: (n, k).
        anchors: (m, k).

    Yields:
        A slice of the queries and their weights, a csr_array (rows of the slice, m).
    """
    from scipy.sparse import csr_array

    left, right = unit_rows(queries), unit_rows(anchors)
    step = max(1, BLOCK // max(len(right), 1))
    held = np.empty((min(step, len(left)), len(right)))
    for begin in range(0, len(left), step):
        block = slice(begin, min(begin + step, len(left)))
        scores = np.matmul(left[block], right.T, out=held[: block.stop - begin])
        threshold = _thresholds(scores)
        chosen = scores > threshold[:, None]
        counts = chosen.sum(axis=1)
        place = np.flatnonzero(chosen)
        row = np.repeat(np.arange(len(scores)), counts)
        weights = scores.ravel()[place] - threshold[row]
        yield block, csr_array((weights, place - row * len(right), np.cumsum([0, *counts])), shape=scores.shape)


def weighted(weights: Any, table: Doubles) -> Floats:
    """`weights @ table` for a csr_array (n, m) and (m, d) -> (n, d), summed in float64."""
    dense = weights.nnz > DENSE * weights.shape[0] * weights.shape[1]
    if dense:
        return np.asarray(weights.toarray() @ table, dtype=np.float32)
    rows = np.empty((weights.shape[0], table.shape[1]), dtype=np.float32)
    for begin in range(0, table.shape[1], COLUMNS):  # few at a time stay near the processor
        columns = slice(begin, begin + COLUMNS)
        rows[:, columns] = weights @ np.ascontiguousarray(table[:, columns])
    return rows


def heaviest(weights: Any, most: int | None = None) -> list[npt.NDArray[np.int64]]:
    """For each row of a csr_array the columns with a weight, the heaviest first, `most` at most."""
    found = []
    for begin, end in zip(weights.indptr[:-1].tolist(), weights.indptr[1:].tolist()):
        order = np.argsort(-weights.data[begin:end], kind="stable")[:most]
        found.append(weights.indices[begin:end][order])
    return found
