"""CLP+: as CLP-Transfer, with sparse weights: sparsemax of the cosines instead of the cosines themselves."""

from __future__ import annotations

import numpy as np

from tokgraft.methods import Composition, Params, Transplant, method
from tokgraft.numerics.similarity import cosine_sparsemax, heaviest, weighted
from tokgraft.rows.donor import SHOWN, DonorSide, Made, transfer


class ClpPlus(Params):
    """Copy the overlap; mix the rest from it with sparsemax weights of cosines between rows of the donor."""


@method("clp_plus", ClpPlus, version=1, paper="arXiv:2402.10712", requires={"donor"}, copies_overlap=True, convex=True)
def build(task: Transplant, params: ClpPlus) -> Composition:
    """E'[t] = sum_o sparsemax(cos(g_t, g_O))_o E[o], g being the donor's rows; for each table on its own."""
    return transfer(task, "combined", _mix)


def _mix(side: DonorSide) -> Made:
    rows = np.empty((len(side.X), side.B.shape[1]), dtype=np.float32)
    used, support = np.empty((len(side.X), SHOWN), dtype=np.int64), 0
    for block, weights in cosine_sparsemax(side.X, side.A):
        rows[block] = weighted(weights, side.B)
        used[block] = heaviest(weights, SHOWN)
        support += weights.nnz
    return Made(rows, used, stats={"rows_per_mixture": round(support / len(used), 2)})
