"""The most similar rows of a table, blocked so that memory grows with the number of queries and never with queries x anchors."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from tokgraft.methods._similarity import unit_rows

Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
BLOCK = 16_000_000  # numbers of one similarity block: 64 MB in float32
GROUP = 64  # columns whose maximum stands for them in the first pass
MARGIN = 1e-5  # more than float32 can be wrong about a cosine
EXACT = 200_000  # candidates that are ranked at once
STEP = 1e-9  # cosines nearer to each other than this count as equal


def nearest(queries: npt.NDArray[np.floating], anchors: npt.NDArray[np.floating], k: int) -> tuple[Ints, Doubles]:
    """The `k` anchors with the highest cosine to each query.

    A first pass in float32 finds candidates, a second one in float64 ranks them, so that the choice does not depend on how the product was
    blocked. Equal cosines (tokens of one text have one vector) are ranked by the anchors' order.

    Args:
        queries: (n, d), no zero row.
        anchors: (m, d), no zero row, m >= k, in the order that decides between equal ones.
        k: How many.

    Returns:
        Places among the anchors and their cosines, each (n, k), the highest first.
    """
    left, right = unit_rows(queries), unit_rows(anchors)
    found = np.empty((len(left), k), dtype=np.int64)
    cosines = np.empty((len(left), k))
    for begin, rows, columns in _candidates(left.astype(np.float32), right.astype(np.float32), k):
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


def _candidates(left: npt.NDArray[np.float32], right: npt.NDArray[np.float32], k: int) -> Iterator[tuple[int, Ints, Ints]]:
    """For each block of queries: its first query, and (row within the block, ascending; column) of at least its k best anchors.

    Columns are cut into groups. The k-th highest of the groups' maxima is a lower bound of the k-th highest cosine, so that only few groups
    have to be looked at again. Group g has the columns g, g + groups, g + 2 groups, ...: maxima are then taken over whole stretches of memory.
    """
    width = min(GROUP, max(1, len(right) // (4 * k)))
    groups = len(right) // width
    members = np.arange(width) * groups
    rest = np.arange(width * groups, len(right))
    step = max(1, BLOCK // len(right))
    across = np.ascontiguousarray(right.T)
    held = np.empty((min(step, len(left)), len(right)), dtype=np.float32)  # used again for each block
    for begin in range(0, len(left), step):
        some = left[begin : begin + step]
        similar = np.matmul(some, across, out=held[: len(some)])
        best = similar[:, : width * groups].reshape(len(similar), width, groups).max(axis=1)
        bound = np.partition(best, -k, axis=1)[:, -k] - np.float32(MARGIN)
        row, group = np.nonzero(best >= bound[:, None])
        columns = np.concatenate([(group[:, None] + members).ravel(), np.tile(rest, len(similar))])
        rows = np.concatenate([np.repeat(row, width), np.repeat(np.arange(len(similar)), len(rest))])
        kept = np.flatnonzero(similar[rows, columns] >= bound[rows])
        kept = kept[np.argsort(rows[kept], kind="stable")]
        yield begin, rows[kept], columns[kept]
