"""Sums, means and moments of rows, blocked so that what is worked on stays near the processor."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from tokgraft.numerics.types import Doubles, Floats, Ints

BLOCK = 1024  # rows that are worked on at once
TOGETHER = 256  # rows that are summed in float32
COLUMNS = 64  # of a table at a time, in float64: 64 MB at 128k rows
FEW = 1024  # rows of a sum: more are not summed in float32


def blocks(rows: int, size: int) -> Iterator[slice]:
    """Slices of at most `size` of `rows` rows."""
    for begin in range(0, rows, max(size, 1)):
        yield slice(begin, min(begin + max(size, 1), rows))


def finite(array: Floats) -> bool:
    """Whether all numbers are finite; looked at by blocks, which stay near the processor."""
    return all(np.isfinite(array[begin : begin + BLOCK]).all() for begin in range(0, len(array), BLOCK))


def mean_row(rows: Floats) -> Doubles:
    """Mean of the rows, (n, d) -> (d,): of few at a time in float32, of those sums in float64."""
    total = np.zeros(rows.shape[1])
    for begin in range(0, len(rows), TOGETHER):
        total += rows[begin : begin + TOGETHER].sum(axis=0)
    return total / len(rows)


def moments(table: Floats, live: Ints) -> tuple[Doubles, Doubles]:
    """Mean and unbiased standard deviation per dimension over the rows `live`, in float64, each (d,)."""
    rows = rows_of(table, live)
    mean, squares = mean_row(rows), np.zeros(table.shape[1])
    for begin in range(0, len(rows), BLOCK):
        apart = rows[begin : begin + BLOCK] - mean
        squares += np.einsum("nd,nd->d", apart, apart)
    return mean, np.sqrt(squares / (len(rows) - 1)) if len(rows) > 1 else squares


def rows_of(table: Floats, live: Ints) -> Floats:
    """The rows `live`, without a copy where that is all of them in order."""
    if len(live) == len(table) and np.array_equal(live, np.arange(len(table))):
        return table
    return table[live]


def weighted_sums(
    weights: Doubles,
    ids: Ints,
    ends: Ints,
    table: Floats,
    totals: npt.NDArray[Any] | float = 1.0,
) -> Floats:
    """Sum of weight x row over ids[ends[i] : ends[i + 1]] for each i, in that order, over totals[i]; (len(ends) - 1, d).

    Summed in float64, but for few rows whose weights are all at least 0, which cannot cancel: those in float32, several times faster.
    """
    from scipy.sparse import csr_array

    if len(weights) and weights.min() >= 0 and np.diff(ends).max() <= FEW:
        found = _bags(weights, ids, ends, table)
        found /= np.reshape(totals, (-1, 1)).astype(np.float32)
        return found
    named = np.zeros(len(table), dtype=bool)
    named[ids] = True
    used = np.flatnonzero(named)
    place = np.cumsum(named) - 1
    matrix = csr_array((weights, place[ids], ends), shape=(len(ends) - 1, len(used)))
    made = np.empty((len(ends) - 1, table.shape[1]), dtype=np.float32)
    for begin in range(0, table.shape[1], COLUMNS):
        columns = slice(begin, begin + COLUMNS)
        made[:, columns] = (matrix @ table[used, columns].astype(np.float64)) / np.reshape(totals, (-1, 1))
    return made


def _bags(weights: Doubles, ids: Ints, ends: Ints, table: Floats) -> Floats:
    import torch

    if not table.flags.writeable:  # torch takes no others
        table = table.copy()
    found: Floats = torch.nn.functional.embedding_bag(
        torch.from_numpy(np.asarray(ids, dtype=np.int64)),
        torch.from_numpy(table),
        torch.from_numpy(np.asarray(ends, dtype=np.int64)),
        mode="sum",
        per_sample_weights=torch.from_numpy(weights.astype(np.float32)),
        include_last_offset=True,
    ).numpy()
    return found
