"""Low-rank factors of an embedding table."""

from __future__ import annotations

from functools import partial

import numpy as np
import numpy.typing as npt

from tokgraft.methods._contract import Floats, Transplant
from tokgraft.methods._mixtures import Factor

BLOCK = 16_384


def truncated(task: Transplant, rank: int) -> Factor:
    """A function table -> (coordinates, shared factor) by the truncated singular value decomposition of its live rows, not centred.

    Coordinates are U S, the shared factor is V^T. A rank of at least the table's width changes nothing but the basis.
    """
    return partial(_truncate, live=task.live, rank=rank)


def _truncate(table: Floats, live: npt.NDArray[np.int64], rank: int) -> tuple[Floats, Floats]:
    """Right singular vectors as eigenvectors of table^T table, so that no memory beyond (|Vs|, rank) is needed."""
    gram = np.zeros((table.shape[1], table.shape[1]))
    for begin in range(0, len(live), BLOCK):
        rows = table[live[begin : begin + BLOCK]].astype(np.float64)
        gram += rows.T @ rows
    _, vectors = np.linalg.eigh(gram)
    basis = vectors[:, ::-1][:, : min(rank, len(gram))]
    # A singular vector's sign is free: fixed here, so that random coordinates give the same rows everywhere.
    signs = np.sign(basis[np.abs(basis).argmax(axis=0), np.arange(basis.shape[1])])
    shared = np.ascontiguousarray((basis * signs).T).astype(np.float32)
    coordinates = np.zeros((len(table), len(shared)), dtype=np.float32)
    coordinates[live] = table[live] @ shared.T
    return coordinates, shared
