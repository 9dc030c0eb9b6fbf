"""CLP-Transfer: a new token is the mean of all shared tokens, weighted by their cosines with it in a donor's table."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from tokgraft.methods import Composition, Params, Transplant, method
from tokgraft.numerics.similarity import BLOCK, unit_rows
from tokgraft.numerics.sums import blocks
from tokgraft.rows.donor import DonorSide, Made, transfer


class Clp(Params):
    """Copy the overlap; for the rest the mean of the whole overlap, weighted by cosines between rows of the donor."""

    guard: bool = Field(
        True, description="A row longer than every row it is a mean of, or whose cosines do not sum to more than 0, becomes a fallback. "
        "false: as published.",
    )  # fmt: skip


@method("clp", Clp, version=1, paper="arXiv:2301.09626", requires={"donor"}, copies_overlap=True)
def build(task: Transplant, params: Clp) -> Composition:
    """E'[t] = sum_o cos(g_t, g_o) E[o] / sum_o cos(g_t, g_o) over the whole overlap, g being the donor's rows; for each table on its own."""
    return transfer(task, "combined", lambda side: _mix(side, params.guard))


def _mix(side: DonorSide, guard: bool) -> Made:
    """The sum over anchors is taken first, sum_o u_o E[o]^T with u_o = g_o / |g_o|: no similarity of two tokens is ever computed."""
    moment, total, longest = np.zeros((side.A.shape[1], side.B.shape[1])), np.zeros(side.A.shape[1]), 0.0
    for block in blocks(len(side.A), BLOCK // max(side.A.shape[1], side.B.shape[1])):
        unit, rows = unit_rows(side.A[block]), side.B[block].astype(np.float64)
        moment += unit.T @ rows
        total += unit.sum(axis=0)
        longest = max(longest, float(np.linalg.norm(rows, axis=1).max()))
    made = np.empty((len(side.X), side.B.shape[1]), dtype=np.float32)
    failed = np.zeros(len(side.X), dtype=bool)
    for block in blocks(len(side.X), BLOCK // max(side.A.shape[1], side.B.shape[1])):
        unit = unit_rows(side.X[block])
        weight = (unit @ total)[:, None]
        rows = np.divide(unit @ moment, weight, out=np.zeros((len(unit), side.B.shape[1])), where=weight != 0)
        failed[block] = weight[:, 0] == 0
        if guard:
            failed[block] |= (weight[:, 0] <= 0) | (np.linalg.norm(rows, axis=1) > longest)
        made[block] = np.where(failed[block, None], 0, rows)
    return Made(made, failed=failed)
