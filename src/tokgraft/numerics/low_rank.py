"""Low-rank factors of an embedding table."""

from __future__ import annotations

import numpy as np

from tokgraft.numerics.types import Floats, Ints

BLOCK = 16_384


def truncated(table: Floats, live: Ints, rank: int) -> tuple[Floats, Floats]:
    """Truncated singular value decomposition of the rows `live` of a table, (n, d), not centred: coordinates U S, (n, k), and V^T, (k, d).

    A rank k of at least the table's width changes nothing but the basis. Other rows have the coordinates 0. The right singular vectors are
    eigenvectors of table^T table, so that no memory beyond (n, k) is needed.
    """
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
