"""OMP: a new token's donor row as a sparse combination of shared tokens' donor rows; the same combination of the base's rows."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from tokgraft.methods import Composition, Params, Transplant, method
from tokgraft.numerics.pursuit import pursue
from tokgraft.numerics.sums import weighted_sums
from tokgraft.rows.donor import SHOWN, DonorSide, Made, transfer


class Omp(Params):
    """Copy the overlap; carry over sparse codes of the rest, found in the donor's table by orthogonal matching pursuit."""

    k: int = Field(64, ge=1, description="Shared tokens of a new one (mergekit's default).")
    normalise: bool = Field(False, description="Choose by cosine. The reference chooses by product, which prefers long rows.")
    centre: bool = Field(False, description="Subtract the mean of the shared tokens in both spaces. The reference does not.")
    clip_norms: bool = Field(
        False, description="Shorten new rows to the 99.9th percentile of the shared tokens' lengths; a row of usual length that was crafted "
        "in the donor stays (docs/methods/omp.md)."
    )  # fmt: skip


@method("omp", Omp, version=1, paper="arXiv:2506.06607", requires={"donor"}, copies_overlap=True)
def build(task: Transplant, params: Omp) -> Composition:
    """E'[t] = sum_j c_j E[o_j] with g_t ~ sum_j c_j g_{o_j} by orthogonal matching pursuit, g being the donor's rows; each table on its own.

    Raises:
        DataError: Fewer than k tokens are shared.
    """
    return transfer(task, "combined", lambda side: _carry(side, params), at_least=params.k)


def _carry(side: DonorSide, params: Omp) -> Made:
    X, A, there = side.X, side.A, np.zeros(side.B.shape[1])
    if params.centre:
        here, there = (rows.mean(axis=0, dtype=np.float64) for rows in (A, side.B))
        X, A = ((rows - here).astype(np.float32) for rows in (X, A))
    rows, left = np.empty((len(X), len(there)), dtype=np.float32), np.empty(len(X))
    used, count = np.empty((len(X), min(params.k, SHOWN)), dtype=np.int64), 0
    for code in pursue(X, A, params.k, normalise=params.normalise):
        sources = np.maximum(code.picks, 0).ravel()  # where there is none the weight is 0
        mixed = weighted_sums(code.weights.ravel(), sources, params.k * np.arange(len(code.picks) + 1), side.B)
        rows[code.where] = mixed + (1 - code.weights.sum(axis=1, keepdims=True)) * there
        order = np.argsort(-np.abs(code.weights), axis=1, kind="stable")[:, :SHOWN]
        used[code.where] = np.take_along_axis(code.picks, order, axis=1)
        left[code.where] = code.left
        count += int((code.picks >= 0).sum())
    stats = {"rows_per_code": round(count / len(X), 2), "unexplained": round(float(left.mean()), 6)}
    if params.clip_norms:
        limit = np.quantile(np.linalg.norm(side.B, axis=1), 0.999)
        length = np.linalg.norm(rows, axis=1, keepdims=True)
        rows = np.where(length > limit, rows * (limit / np.maximum(length, limit)), rows).astype(np.float32)
        stats["clipped"] = int((length > limit).sum())
    return Made(rows, used, stats=stats)
