"""Groups of near rows: Lloyd's k-means, seeded, in blocks."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

ROUNDS = 10
BLOCK = 8_000_000  # distances of one block: 32 MB in float32

Floats = npt.NDArray[np.float32]


def near(rows: Floats, count: int, rng: np.random.Generator) -> npt.NDArray[np.int32]:
    """The group of each row, (n,): at most `count` groups, none of them empty, numbered without gaps; 0: each row is a group.

    Args:
        rows: (n, d).
        count: Groups wanted.
        rng: Draws the rows that the groups start from.
    """
    if count == 0 or count >= len(rows):
        return np.arange(len(rows), dtype=np.int32)
    rows = rows - rows.mean(axis=0)
    centres = rows[np.sort(rng.choice(len(rows), size=count, replace=False))]
    groups = np.zeros(len(rows), dtype=np.int32)
    for _ in range(ROUNDS):
        groups = _nearest(rows, centres)
        centres = _means(rows, groups, centres)
    return np.unique(_nearest(rows, centres), return_inverse=True)[1].astype(np.int32)


def _nearest(rows: Floats, centres: Floats) -> npt.NDArray[np.int32]:
    lengths = 0.5 * (centres * centres).sum(axis=1)
    step = max(1, BLOCK // len(centres))
    found = np.empty(len(rows), dtype=np.int32)
    for begin in range(0, len(rows), step):
        found[begin : begin + step] = np.argmax(rows[begin : begin + step] @ centres.T - lengths, axis=1)
    return found


def _means(rows: Floats, groups: npt.NDArray[np.int32], centres: Floats) -> Floats:
    """Mean of each group; a group that lost all its rows keeps its centre."""
    from scipy.sparse import csr_matrix

    member = csr_matrix((np.ones(len(rows), dtype=np.float32), (groups, np.arange(len(rows)))), shape=(len(centres), len(rows)))
    sizes = np.bincount(groups, minlength=len(centres))[:, None]
    means: Floats = np.where(sizes > 0, (member @ rows) / np.maximum(sizes, 1), centres).astype(np.float32)
    return means
