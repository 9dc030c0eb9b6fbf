"""Rows inside the convex hull of a table: mixtures whose weights are softmax over a product of two factors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tokgraft.numerics.types import Floats, Ints

BLOCK = 8_000_000  # weights of one block: 32 MB in float32


@dataclass(frozen=True)
class Factors:
    """The weights of n mixtures of m points: row by row softmax(left @ right^T + log(sizes)).

    A point is the mean of `sizes` source rows, so that the weights are those of a softmax over all source rows in which the rows of a
    group share their logit; with groups of one it is the softmax over source rows.

    Attributes:
        left: (n, rank), float32.
        right: (m, rank), float32.
        sizes: Source rows behind each point, (m,).
    """

    left: Floats
    right: Floats
    sizes: Ints

    def blocks(self, count: int) -> Iterator[slice]:
        """Slices of `count` mixtures whose weights fit into `BLOCK`."""
        step = max(1, BLOCK // max(len(self.right), 1))
        return (slice(begin, min(begin + step, count)) for begin in range(0, count, step))

    def weights(self, places: Ints) -> Floats:
        """Weights of the mixtures at `places` on the points, (places, m); rows sum to 1."""
        logits = self.left[places] @ self.right.T + np.log(self.sizes).astype(np.float32)
        logits -= logits.max(axis=1, keepdims=True)
        np.exp(logits, out=logits)
        logits /= logits.sum(axis=1, keepdims=True)
        return logits

    def rows(self, places: Ints, points: Floats) -> Floats:
        """The mixtures at `places` of `points`, (m, d) -> (places, d)."""
        made = np.empty((len(places), points.shape[1]), dtype=np.float32)
        for block in self.blocks(len(places)):
            made[block] = self.weights(places[block]) @ points
        return made


def points(table: Floats, ids: npt.NDArray[np.integer], groups: npt.NDArray[np.integer], count: int) -> Floats:
    """Mean row of each group, (count, d), summed in float64.

    Args:
        table: Rows by source id.
        ids: Source ids that belong to a group.
        groups: The group of each of them, below `count`; no group is empty.
        count: Number of groups.
    """
    order = np.argsort(groups, kind="stable")
    starts = np.searchsorted(groups[order], np.arange(count))
    made = np.empty((count, table.shape[1]), dtype=np.float32)
    for number, members in enumerate(np.split(ids[order], starts[1:])):
        made[number] = table[members].mean(axis=0, dtype=np.float64) if len(members) > 1 else table[members[0]]
    return made
