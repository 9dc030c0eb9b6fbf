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
        self._width = max(1, min(width, len(table)))
        self._folds = len(table) // self._width
        self._across = tensor(np.ascontiguousarray(table.T))
        self._held = self._across.new_empty((0, len(table)))  # products, which are written over those before

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
        import torch

        if len(queries) > len(self._held):
            self._held = self._across.new_empty((len(queries), self._held.shape[1]))
        values = product(tensor(queries), self._across, self._held[: len(queries)])
        within = self._width * self._folds
        folds = values[:, :within].view(len(values), self._width, -1)
        maxima = folds.amax(dim=1)
        limit = tensor(bound(maxima.cpu().numpy()))
        found = list(reaching(folds, maxima, limit))
        if within < values.shape[1]:  # the last columns are in no fold
            row, column = torch.nonzero(values[:, within:] >= limit[:, None], as_tuple=True)
            column = column + within
            order = torch.cat([found[0], row]).argsort(stable=True)
            found = [torch.cat(parts)[order] for parts in zip(found, (row, column, values[row, column]))]
        rows, columns, products = (part.cpu().numpy() for part in found)
        return rows, columns, products


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
