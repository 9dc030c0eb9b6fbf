"""The few products of each row with a table that are large, found by looking at the largest of each fold first."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from tokgraft.numerics.device import product, tensor
from tokgraft.numerics.types import Floats, Ints

if TYPE_CHECKING:
    from torch import Tensor


class Largest:
    """Finds them in a table, (m, d).

    Columns of products are seen in folds: of f folds the g-th has the columns g, g + f, g + 2f, ...: maxima are then taken over whole stretches of
    memory. What the maxima say is a lower bound of what all products would, so that only few folds have to be looked at again.
    """

    def __init__(self, table: Floats, width: int) -> None:
        """Take a table; `width` columns are a fold."""
        self._count, self._width = len(table), max(1, min(width, len(table)))
        padded = np.zeros((-(-len(table) // self._width) * self._width, table.shape[1]), dtype=np.float32)
        padded[: len(table)] = table
        self._across = tensor(padded.T)
        self._held = self._across.new_empty((0, len(padded)))  # products, which are written over those before

    @classmethod
    def for_best(cls, table: Floats, k: int, widest: int) -> Largest:
        """With folds where the k-th highest of the maxima is near the k-th highest product."""
        return cls(table, min(widest, len(table) // (4 * k)))

    def reaching(self, queries: Floats, bound: Callable[[Floats], Floats]) -> tuple[Ints, Ints, Floats]:
        """Row, column and product, in float32, of what reaches the bound of its row; rows ascend.

        Args:
            queries: (n, d).
            bound: Says it, (n,), from the maxima of the folds, (n, folds).
        """
        if len(queries) > len(self._held):
            self._held = self._across.new_empty((len(queries), len(self._held.T)))
        values = product(tensor(queries), self._across, self._held[: len(queries)])
        values[:, self._count :] = -np.inf
        folds = values.view(len(values), self._width, -1)
        maxima = folds.amax(dim=1)
        row, column, value = (part.cpu().numpy() for part in reaching(folds, maxima, tensor(bound(maxima.cpu().numpy()))))
        return row, column, value


def kth_highest(values: Floats, k: int) -> Floats:
    """The k-th highest value of each row, (n, m) -> (n,)."""
    found: Floats = np.partition(values, -k, axis=1)[:, -k]
    return found


def reaching(folds: Tensor, maxima: Tensor, bound: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Row, column and value of what is no less than the bound of its row; rows ascend.

    Args:
        folds: (n, width, folds), the values (n, width * folds).
        maxima: Of each fold, (n, folds).
        bound: (n,).
    """
    import torch

    row, place = torch.nonzero(maxima >= bound[:, None], as_tuple=True)
    inside = folds[row, :, place]
    kept, depth = torch.nonzero(inside >= bound[row, None], as_tuple=True)
    return row[kept], depth * folds.shape[2] + place[kept], inside[kept, depth]
