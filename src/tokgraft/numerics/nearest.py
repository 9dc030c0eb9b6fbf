"""The nearest rows of a table, blocked so that memory grows with the number of queries and never with queries x anchors."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from tokgraft.numerics.largest import Largest, kth_highest
from tokgraft.numerics.similarity import padded, unit_rows
from tokgraft.numerics.types import Doubles, Ints

BLOCK = 16_000_000  # numbers of one similarity block: 64 MB in float32
FOLD = 64  # anchors whose largest cosine stands for them at first
MARGIN = np.float32(1e-5)  # more than float32 can be wrong about a cosine
EXACT = 200_000  # candidates whose cosines are computed at once
STEP = 1e-9  # cosines nearer to each other than this count as equal
ROUNDING = 3e-6  # of two rows' lengths: four times what float32 was seen to be wrong about their product
CANCELLED = 0.05  # a squared distance that is a smaller share of the squared lengths is not taken from a product in float32
NARROW = 8  # points of which the nearest is looked at first
PAIRS = 4096  # points whose distances are computed at once


def nearest(queries: npt.NDArray[np.floating], anchors: npt.NDArray[np.floating], k: int) -> tuple[Ints, Doubles]:
    """The `k` anchors with the highest cosine to each query.

    Products in float32 say which anchors may be among them, and float64 ranks these, so that the choice does not depend on how the
    product was blocked. Equal cosines (tokens of one text have one vector) are ranked by the anchors' order.

    Args:
        queries: (n, d), no zero row.
        anchors: (m, d), no zero row, m >= k, in the order that decides between equal ones.
        k: How many.

    Returns:
        Places among the anchors and their cosines, each (n, k), the highest first.
    """
    left, right = unit_rows(queries), unit_rows(anchors)
    largest = Largest.for_best(right.astype(np.float32), k, FOLD)
    found, cosines = np.empty((len(left), k), dtype=np.int64), np.empty((len(left), k))
    step = max(1, BLOCK // len(right))
    for begin in range(0, len(left), step):
        some = left[begin : begin + step]
        rows, columns, _ = largest.reaching(some.astype(np.float32), lambda maxima: kth_highest(maxima, k) - MARGIN)
        exact = np.empty(len(rows))
        for start in range(0, len(rows), EXACT):
            part = slice(start, start + EXACT)
            exact[part] = np.einsum("nd,nd->n", some[rows[part]], right[columns[part]])
        order = np.lexsort((columns, -np.round(exact / STEP), rows))
        chosen = order[np.searchsorted(rows, np.arange(len(some)))[:, None] + np.arange(k)]
        found[begin : begin + step], cosines[begin : begin + step] = columns[chosen], exact[chosen]
    return found, cosines


class Space:
    """Finds the k nearest of its points, (m, d), by Euclidean distance.

    2 x a - a a is largest where |x - a| is smallest. Products in float32 say which points may be among the nearest, and how far these are. Where
    they cannot tell which k it is, or a distance is small beside what it is the difference of, float64 does, by subtraction.
    """

    def __init__(self, points: npt.NDArray[np.floating], k: int) -> None:
        self._points, self._k = points, k
        self._squares = _squares(points)
        self._longest = math.sqrt(self._squares.max())
        self._largest = Largest.for_best(np.hstack([2 * points, -self._squares[:, None]]).astype(np.float32), k, NARROW)

    def nearest(self, X: npt.NDArray[np.floating]) -> tuple[Ints, Doubles]:
        """Places of the points that are nearest to each row of X, (n, d), the nearest first, and their distances, each (n, k)."""
        squares, k = _squares(X), self._k
        error = (ROUNDING * self._longest * (np.sqrt(squares) + self._longest)).astype(np.float32)
        with_one = np.hstack([X, np.ones((len(X), 1))]).astype(np.float32)
        row, column, value = self._largest.reaching(with_one, lambda maxima: kth_highest(maxima, k) - 2 * error)
        found = padded(row, value, len(X), -np.inf)
        order = np.argsort(-found, axis=1)[:, : k + 1]
        near = np.take_along_axis(padded(row, column, len(X), 0), order[:, :k], axis=1)
        found = np.take_along_axis(found, order, axis=1).astype(np.float64)
        distance = squares[:, None] - found[:, :k]
        unclear = (distance < CANCELLED * (squares[:, None] + self._squares[near])).any(axis=1)
        if order.shape[1] > k:
            unclear |= found[:, k - 1] - found[:, k] <= 2 * error
        distance = np.sqrt(np.maximum(distance, 0))
        if unclear.any():
            kept = unclear[row]
            near[unclear], distance[unclear] = self._exact(X[unclear], (np.cumsum(unclear) - 1)[row[kept]], column[kept])
        return near, distance

    def _exact(self, X: npt.NDArray[np.floating], row: Ints, column: Ints) -> tuple[Ints, Doubles]:
        """Nearest points and distances among pairs (row, column) that hold the nearest of each row; of equal ones the first places."""
        found = np.empty(len(row))
        for begin in range(0, len(row), PAIRS):
            pairs = slice(begin, begin + PAIRS)
            apart = X[row[pairs]].astype(np.float64)
            apart -= self._points[column[pairs]]
            found[pairs] = np.sqrt(_squares(apart))
        distance, near = padded(row, found, len(X), np.inf), padded(row, column, len(X), 0)
        order = np.lexsort((near, distance), axis=1)[:, : self._k]
        return np.take_along_axis(near, order, axis=1), np.take_along_axis(distance, order, axis=1)


def _squares(rows: npt.NDArray[np.floating]) -> Doubles:
    """Squared length of each row, in float64."""
    found: Doubles = np.einsum("nd,nd->n", rows, rows, dtype=np.float64)
    return found
