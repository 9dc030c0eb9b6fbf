"""Sparse token basis: a basis of the donor's space whose vectors are combinations of few shared tokens, so that the base has it too."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from tokgraft.methods import Composition, Doubles, Floats, Params, Transplant, method
from tokgraft.numerics.linear import map_rows, principal
from tokgraft.numerics.pursuit import pursue
from tokgraft.rows.donor import DonorSide, Made, transfer


class SparseBasis(Params):
    """Copy the overlap; write the rest in a basis of few shared tokens each, and read it in the base's space."""

    k: int = Field(64, ge=1, description="Shared tokens of a basis vector (mergekit's default).")
    compatibility: Literal["none", "mergekit"] = Field(
        "none", description="mergekit: basis vectors are not centred, and rows are centred at the means of whole tables, as it does."
    )


@method(
    "sparse_basis", SparseBasis, version=1, paper="arXiv:2506.06607 (mergekit-tokensurgeon, stb)", requires={"donor"}, copies_overlap=True
)
def build(task: Transplant, params: SparseBasis) -> Composition:
    """E'[t] = mean + w Z_base with the w that brings w Z_donor nearest to g_t - mean; Z are the same combinations of shared tokens' rows.

    The combinations approximate the principal directions of the narrower space by orthogonal matching pursuit; each table on its own.

    Raises:
        DataError: Fewer than k tokens (or fewer than two) are shared.
    """
    return transfer(task, "mapped", lambda side: _carry(side, params), at_least=max(params.k, 2))


def _carry(side: DonorSide, params: SparseBasis) -> Made:
    narrow = side.A if side.A.shape[1] < side.B.shape[1] else side.B
    dimensions = min(side.A.shape[1], side.B.shape[1], len(side.A) - 1)
    here, there = side.A.mean(axis=0, dtype=np.float64), side.B.mean(axis=0, dtype=np.float64)
    goals = principal(narrow, dimensions).T.astype(np.float32)
    atoms = (narrow - narrow.mean(axis=0, dtype=np.float64)).astype(np.float32)
    codes = list(pursue(goals, atoms, params.k))
    picks, weights = np.concatenate([code.picks for code in codes]), np.concatenate([code.weights for code in codes])
    if params.compatibility == "mergekit":
        donor, base = (_combined(rows, np.zeros(rows.shape[1]), picks, weights) for rows in (side.A, side.B))
        here, there = side.means()
    else:
        donor, base = _combined(side.A, here, picks, weights), _combined(side.B, there, picks, weights)
    left = float(np.concatenate([code.left for code in codes]).mean())
    return Made(
        map_rows(side.X, here, np.linalg.pinv(donor) @ base, there), stats={"dimensions": dimensions, "unexplained": round(left, 6)}
    )


def _combined(rows: Floats, centre: Doubles, picks: npt.NDArray[np.int64], weights: Doubles) -> Doubles:
    """sum_j weights[i, j] (rows[picks[i, j]] - centre) for each i, (n, d)."""
    found = np.empty((len(picks), rows.shape[1]))
    for number, (places, row) in enumerate(zip(picks, weights)):
        found[number] = row @ (rows[places] - centre)
    return found
