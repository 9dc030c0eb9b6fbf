"""The most similar rows of a table, blocked so that memory grows with the number of queries and never with queries x anchors."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from tokgraft.numerics.bfloat16 import ROUNDING, bits, bits_below, from_bits, is_fast, narrow, product, rounded
from tokgraft.numerics.similarity import EPSILON, Groups, Ints, lengths, padded, unit_rows
from tokgraft.numerics.types import Floats

Doubles = npt.NDArray[np.float64]
BLOCK = 16_000_000  # numbers of one similarity block: 64 MB in float32
GROUP = 64  # columns whose maximum stands for them in the first pass
MARGIN = 1e-5  # more than float32 can be wrong about a cosine
EXACT = 200_000  # candidates that are ranked at once
STEP = 1e-9  # cosines nearer to each other than this count as equal
QUERIES = 128  # of one block of bounds
NARROW = 16  # columns of a group of bounds
PRECISE = 8  # principal directions that are told to 16 bits instead of 8
SAMPLE = 32  # one anchor of so many says beforehand about how near the nearest are
MANY = 1024  # candidates of a query: more are dearer than all its products


def nearest(
    queries: npt.NDArray[np.floating], anchors: npt.NDArray[np.floating], k: int, *, fast: bool | None = None
) -> tuple[Ints, Doubles]:
    """The `k` anchors with the highest cosine to each query.

    A first pass in float32 or bfloat16 finds candidates, a second one in float64 ranks them, so that the choice does not depend on how the
    product was blocked. Equal cosines (tokens of one text have one vector) are ranked by the anchors' order.

    Args:
        queries: (n, d), no zero row.
        anchors: (m, d), no zero row, m >= k, in the order that decides between equal ones.
        k: How many.
        fast: Whether bfloat16 bounds come first; None: where the processor has matrix instructions for them.

    Returns:
        Places among the anchors and their cosines, each (n, k), the highest first.
    """
    left, right = unit_rows(queries), unit_rows(anchors)
    found = np.empty((len(left), k), dtype=np.int64)
    cosines = np.empty((len(left), k))
    for begin, rows, columns in _candidates(left, right, k, is_fast() if fast is None else fast):
        exact = np.empty(len(rows))
        for start in range(0, len(rows), EXACT):
            part = slice(start, start + EXACT)
            exact[part] = np.einsum("nd,nd->n", left[begin + rows[part]], right[columns[part]])
        order = np.lexsort((columns, -np.round(exact / STEP), rows))
        first = np.searchsorted(rows, np.arange(rows[-1] + 1))  # `rows` ascends
        chosen = order[first[:, None] + np.arange(k)]
        block = slice(begin, begin + len(first))
        found[block], cosines[block] = columns[chosen], exact[chosen]
    return found, cosines


def _candidates(left: Doubles, right: Doubles, k: int, fast: bool) -> Iterator[tuple[int, Ints, Ints]]:
    """For each block of queries: its first query, and (row within the block, ascending; column) of at least its k best anchors."""
    products = _Products(right.astype(np.float32), k)
    bounds = _Bounds(left, right, k) if fast else None
    step = QUERIES if bounds else products.most
    for begin in range(0, len(left), step):
        some = left[begin : begin + step].astype(np.float32)
        if bounds is None:
            yield begin, *products(some)
            continue
        rows, columns, unclear = bounds(begin, begin + len(some))
        rows, columns = products.best_of(some, rows, columns)
        for start in range(0, len(unclear), products.most):
            part = unclear[start : start + products.most]
            again, others = products(some[part])
            rows, columns = np.concatenate([rows, part[again]]), np.concatenate([columns, others])
        order = np.argsort(rows, kind="stable")
        yield begin, rows[order], columns[order]


class _Products:
    """Candidates from products in float32."""

    def __init__(self, right: Floats, k: int) -> None:
        self.most = max(1, BLOCK // len(right))  # queries at once
        self._right, self._k = right, k
        self._groups = Groups.for_best(len(right), k, GROUP)
        self._across: Floats | None = None
        self._held: Floats | None = None  # used again for each block

    def __call__(self, some: Floats) -> tuple[Ints, Ints]:
        """(row, column) of the anchors that may be among the k best of each query, (n, d); rows ascend."""
        if self._across is None or self._held is None:
            self._across = np.ascontiguousarray(self._right.T)
            self._held = np.empty((self.most, len(self._right)), dtype=np.float32)
        similar = np.matmul(some, self._across, out=self._held[: len(some)])
        best = self._groups.best(similar)
        return self._groups.at_least(similar, best, np.partition(best, -self._k, axis=1)[:, -self._k] - np.float32(MARGIN))

    def best_of(self, some: Floats, rows: Ints, columns: Ints) -> tuple[Ints, Ints]:
        """Of candidates of each query (at least k of them, or none; rows ascend) those that may be among its k best."""
        values = np.einsum("nd,nd->n", some[rows], self._right[columns])
        table = padded(rows, values, len(some), -np.inf)
        if table.shape[1] < self._k:
            return rows, columns
        bound = np.partition(table, -self._k, axis=1)[:, -self._k] - np.float32(MARGIN)
        kept = np.flatnonzero(values >= bound[rows])
        return rows[kept], columns[kept]


class _Bounds:
    """Candidates from products of bfloat16 matrices, and from how far these can be off.

    Vectors of words lie in a narrow cone, where products of 8 bits tell nothing apart. With c the mean of the anchors and t about the k-th
    highest cosine of the query q, what is multiplied is

        (q - c)(a - c) + (a - c) c - t = q a - (q c + t),

    in principal directions, of which each of the first ones is the sum of two numbers, as (a - c) c is of three. All numbers are then
    small, and smallest where the decision falls.
    """

    def __init__(self, left: Doubles, right: Doubles, k: int) -> None:
        self._k, self._groups = k, Groups.for_best(len(right), k, NARROW)
        centre = right.mean(axis=0)
        apart = right - centre
        axes = np.linalg.eigh(apart.T @ apart)[1][:, ::-1]
        rows, queries, shift = (values.astype(np.float32) for values in (apart @ axes, (left - centre) @ axes, apart @ centre))
        kept, kept_queries = _Halves(rows), _Halves(queries)
        parts = [rounded(shift)]
        for _ in range(2):
            parts.append(rounded(shift - sum(parts)))
        slack = np.float32((rows.shape[1] + 32) * EPSILON)  # of all that is summed in float32
        self._error = kept_queries.off(kept) + slack * (2 * lengths(queries) * lengths(rows).max() + 2 * np.abs(shift).max() + 1)
        ones = np.ones(len(rows), dtype=np.float32)
        self._anchors = narrow(np.vstack([kept.high.T, kept.low.T, kept.high.T[:PRECISE], *parts, ones]))
        self._held = narrow(np.empty((QUERIES, len(rows)), dtype=np.float32))  # used again for each block
        threshold = self._thresholds(queries, rows[:: self._apart(len(rows))], shift)
        three = np.ones((len(queries), 3), dtype=np.float32)
        self._queries = narrow(np.hstack([kept_queries.high, kept_queries.high[:, :PRECISE], kept_queries.low, three, -threshold[:, None]]))

    def _apart(self, anchors: int) -> int:
        return max(1, min(SAMPLE, anchors // (8 * self._k)))

    def _thresholds(self, queries: Floats, sample: Floats, shift: Floats) -> Floats:
        """A number below the k-th highest value of each query, (n,), in bfloat16: from the k-th highest of some."""
        groups, across = Groups.for_best(len(sample), self._k, NARROW), np.ascontiguousarray(sample.T)
        found = np.empty(len(queries), dtype=np.float32)
        for begin in range(0, len(queries), QUERIES):
            block = slice(begin, begin + QUERIES)
            values = queries[block] @ across
            values += shift[:: self._apart(len(shift))]
            found[block] = np.partition(groups.best(values), -self._k, axis=1)[:, -self._k]
        found -= 4 * self._error
        return rounded(found - ROUNDING * np.abs(found))

    def __call__(self, begin: int, end: int) -> tuple[Ints, Ints, Ints]:
        """(row, column) of the anchors that may be among the k best of each query; rows ascend. Also the rows this says nothing about."""
        found, error = bits(product(self._queries[begin:end], self._anchors, self._held)), self._error[begin:end]
        best = self._groups.best(found)
        highest = from_bits(np.partition(best, -self._k, axis=1)[:, -self._k])
        lowest = highest * (1 - ROUNDING) - 2 * error
        bound = np.where(lowest > 0, bits_below(np.maximum(lowest, 0) * (1 - ROUNDING)), np.iinfo(np.int16).max).astype(np.int16)
        rows, columns = self._groups.at_least(found, best, bound)
        clear = (lowest > 0) & (np.bincount(rows, minlength=len(found)) <= MANY)
        kept = np.flatnonzero(clear[rows])
        return rows[kept], columns[kept], np.flatnonzero(~clear)


class _Halves:
    """Rows (n, d) as bfloat16 numbers: all of `high`, (n, d), and what these leave of the first directions, `low`, (n, PRECISE or fewer)."""

    def __init__(self, rows: Floats) -> None:
        self.rows, self.high = rows, rounded(rows)
        self.low = rounded(rows[:, :PRECISE] - self.high[:, :PRECISE])

    def off(self, other: _Halves) -> Floats:
        """The most by which the products of each row with any of the other's can be off, (n,).

        For the first directions high high' + high low' + low high' is taken, for the rest high high'.
        """
        total: Floats = lengths(self.low) * lengths(other.low).max()
        for part, both in ((slice(None, PRECISE), True), (slice(PRECISE, None), False)):
            lost, lost_there = (
                lengths(half.rows[:, part] - half.high[:, part] - (half.low if both else np.float32(0))) for half in (self, other)
            )
            total += lost * lengths(other.rows[:, part]).max() + (lengths(self.rows[:, part]) + lost) * lost_there.max()
        return total
