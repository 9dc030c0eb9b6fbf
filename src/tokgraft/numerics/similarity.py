"""Similarities and weightings that methods share, blocked so that memory grows with |Vt| x d and never with |Vt| x |Vs|."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from tokgraft.numerics.largest import Largest
from tokgraft.numerics.sums import weighted_sums
from tokgraft.numerics.types import Doubles, Floats, Ints

BLOCK = 4_000_000  # numbers of one similarity block: 32 MB in float64
NARROW = 8  # scores of a group, of which the highest is looked at first
LIKELY = 128  # groups among which the support of a sparsemax is looked for first
MARGIN = np.float32(1e-6)  # more than rounding changes a threshold
EPSILON = 2.0**-24  # of rounding to float32, as a share of a number
DENSE = 0.2  # share of weights that are not 0 from which on a dense product is faster


def unit_rows(vectors: npt.NDArray[np.floating]) -> Doubles:
    """Rows scaled to length 1, in float64; zero rows stay zero."""
    rows = vectors.astype(np.float64)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    scaled: Doubles = np.divide(rows, length, out=np.zeros_like(rows), where=length > 0)
    return scaled


def lengths(rows: Floats) -> Floats:
    """Euclidean length of each row, (n, d) -> (n,), in float32."""
    found: Floats = np.sqrt(np.einsum("nd,nd->n", rows, rows))
    return found


def softmax(scores: Doubles) -> Doubles:
    """exp(x) / sum exp(x) along the last axis, (..., k)."""
    if not scores.size:
        return scores
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    normed: Doubles = weights / weights.sum(axis=-1, keepdims=True)
    return normed


def _thresholds(scores: npt.NDArray[np.floating]) -> Doubles:
    """What sparsemax (Martins & Astudillo 2016, algorithm 1) subtracts from the scores of each row, (n,), in float64."""
    ordered = np.sort(scores, axis=1)[:, ::-1]
    summed = np.cumsum(ordered, axis=1, dtype=np.float64)
    support = (1 + np.arange(1, scores.shape[1] + 1) * ordered > summed).sum(axis=1)
    found: Doubles = (np.take_along_axis(summed, support[:, None] - 1, axis=1)[:, 0] - 1) / support
    return found


def cosine_sparsemax(queries: npt.NDArray[np.floating], anchors: npt.NDArray[np.floating]) -> Iterator[tuple[slice, Any]]:
    """Blocks of sparsemax(cosine(queries, anchors)), sparse; cosines in float32, thresholds in float64.

    Sparsemax is the Euclidean projection onto the simplex: weights max(score - threshold, 0) that sum to 1. The threshold of some of the scores
    is never above that of all: that of the highest of each group says which scores are looked at.

    Args:
        queries: (n, k).
        anchors: (m, k).

    Yields:
        A slice of the queries and their weights, a csr_array (rows of the slice, m).
    """
    from scipy.sparse import csr_array

    left, right = (_unit(vectors) for vectors in (queries, anchors))
    largest, step = Largest(right, NARROW), max(1, BLOCK // max(len(right), 1))
    for begin in range(0, len(left), step):
        block = slice(begin, min(begin + step, len(left)))
        row, column, scores = largest.reaching(left[block], _likely_thresholds)
        counts = np.bincount(row, minlength=block.stop - begin)
        counts, column, weights = _ragged_sparsemax(counts, column, scores.astype(np.float64))
        yield block, csr_array((weights, column, np.cumsum([0, *counts])), shape=(len(counts), len(right)))


def _likely_thresholds(maxima: Floats) -> Floats:
    """No more than the thresholds of the scores that these are maxima of, (n, m) -> (n,)."""
    highest = np.partition(maxima, -LIKELY, axis=1)[:, -LIKELY:] if maxima.shape[1] > LIKELY else maxima
    return _thresholds(highest).astype(np.float32) - MARGIN


def _unit(vectors: npt.NDArray[np.floating]) -> Floats:
    """Rows scaled to length 1, in float32; zero rows stay zero."""
    rows = vectors.astype(np.float32)
    length = np.sqrt(np.einsum("nd,nd->n", rows, rows))[:, None]
    scaled: Floats = np.divide(rows, length, out=rows, where=length > 0)
    return scaled


def _ragged_sparsemax(counts: Ints, column: Ints, scores: Doubles) -> tuple[Ints, Ints, Doubles]:
    """The entries with a weight, and their weights, of scores that hold all of each row's support (Michelot 1986).

    Args:
        counts: Entries of each row, all above 0, (n,).
        column: Column of each entry, row by row.
        scores: The entries.
    """
    while True:
        begins = np.cumsum(counts) - counts
        threshold = np.repeat((np.add.reduceat(scores, begins) - 1) / counts, counts)
        above = scores > threshold
        if above.all():
            return counts, column, scores - threshold
        counts, column, scores = np.add.reduceat(above, begins, dtype=np.int64), column[above], scores[above]


def weighted(weights: Any, table: Floats) -> Floats:
    """`weights @ table` for a csr_array (n, m) with weights of at least 0 and (m, d) -> (n, d)."""
    if weights.nnz > DENSE * weights.shape[0] * weights.shape[1]:
        found: Floats = weights.toarray().astype(np.float32) @ table
        return found
    return weighted_sums(weights.data, weights.indices, weights.indptr, table)


def padded(row: Ints, values: npt.NDArray[Any], rows: int, filler: float) -> npt.NDArray[Any]:
    """Values of ascending rows as a table, (rows, most that a row has), with `filler` after the last one."""
    counts = np.bincount(row, minlength=rows)
    held = np.arange(counts.max(initial=0)) < counts[:, None]
    found = np.full(held.shape, filler, dtype=values.dtype)
    found[held] = values
    return found


def heaviest(weights: Any, most: int) -> Ints:
    """For each row of a csr_array the columns of its heaviest weights, which are above 0, the heaviest first; (n, most), -1 where it has fewer."""
    counts = np.diff(weights.indptr)
    rows = np.repeat(np.arange(len(counts), dtype=np.uint64), counts)
    # Positive numbers are in the order of their bits.
    lightness = np.uint64(2**32 - 1) - weights.data.astype(np.float32).view(np.uint32)
    columns = weights.indices[np.argsort(rows << np.uint64(32) | lightness, kind="stable")]
    places = np.arange(most)
    found = np.full((len(counts), most), -1, dtype=np.int64)
    held = places < counts[:, None]
    found[held] = columns[(weights.indptr[:-1, None] + places)[held]]
    return found
