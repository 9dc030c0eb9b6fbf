"""Interpolation from common tokens: the nearest shared tokens in a donor's space, weighted by one of three rules."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from tokgraft.methods import Composition, Params, Transplant, method
from tokgraft.numerics.least_squares import least_squares, solve
from tokgraft.numerics.nearest import Space
from tokgraft.numerics.similarity import BLOCK, unit_rows
from tokgraft.numerics.sums import blocks, weighted_sums
from tokgraft.numerics.types import Doubles
from tokgraft.rows.donor import SHOWN, DonorSide, Made, transfer


class CommonInterpolation(Params):
    """Copy the overlap; the rest from its k nearest shared tokens in the donor's table."""

    k: int = Field(64, ge=1, description="Nearest shared tokens (mergekit's default).")
    metric: Literal["euclid", "cosine"] = Field("euclid", description="What is near.")
    weights: Literal["distance", "barycentric", "least_squares"] = Field(
        "distance", description="distance: 1/distance (metric cosine: the cosine), divided by the sum; barycentric: the best fit of the "
        "donor's row with weights that sum to 1; least_squares: the best fit.",
    )  # fmt: skip


@method(
    "common_interpolation",
    CommonInterpolation,
    version=1,
    paper="arXiv:2506.06607 (mergekit-tokensurgeon)",
    requires={"donor"},
    copies_overlap=True,
)
def build(task: Transplant, params: CommonInterpolation) -> Composition:
    """E'[t] = sum_j w_j E[o_j] over the k nearest shared tokens o_j in the donor's space, for each table on its own.

    Raises:
        DataError: Fewer than k tokens are shared.
    """
    return transfer(task, "combined", lambda side: _interpolate(side, params), at_least=params.k)


def _interpolate(side: DonorSide, params: CommonInterpolation) -> Made:
    cosine = params.metric == "cosine"
    X, A = (unit_rows(rows) if cosine else rows for rows in (side.X, side.A))
    space = Space(A, params.k)
    near = np.empty((len(X), params.k), dtype=np.int64)
    weights = np.empty((len(X), params.k))
    failed = np.zeros(len(X), dtype=bool)
    for block in blocks(len(X), min(BLOCK // len(A), BLOCK // (params.k * A.shape[1]) if params.weights != "distance" else BLOCK)):
        near[block], distance = space.nearest(X[block])
        if params.weights == "distance":
            weights[block] = 1 - distance**2 / 2 if cosine else 1 / np.maximum(distance, 1e-6)
            total = weights[block].sum(axis=1, keepdims=True)
            failed[block] = total[:, 0] < 1e-6  # cosines that sum to nothing, or to less
            weights[block] /= np.maximum(total, 1e-6)
        else:
            points = side.A[near[block]].astype(np.float64)
            weights[block] = _fitted(side.X[block].astype(np.float64), points, params.weights == "barycentric")
    rows = weighted_sums(weights.ravel(), near.ravel(), params.k * np.arange(len(X) + 1), side.B)
    heaviest = np.argsort(-np.abs(weights), axis=1, kind="stable")[:, :SHOWN]
    return Made(rows, np.take_along_axis(near, heaviest, axis=1), failed)


def _fitted(goals: Doubles, points: Doubles, barycentric: bool) -> Doubles:
    """Weights that bring the points, (n, k, d), nearest to the goals, (n, d); with barycentric they sum to 1."""
    if not barycentric:
        return least_squares(points, goals)
    # Around the points' mean weights that sum to 1 are 1/k plus weights that sum to 0, which the added ones (times a scale) enforce.
    centre = points.mean(axis=1)
    points = points - centre[:, None]
    gram = np.matmul(points, points.transpose(0, 2, 1))
    gram += np.maximum(np.trace(gram, axis1=1, axis2=2), np.finfo(float).tiny)[:, None, None] / points.shape[1] ** 2
    weights: Doubles = 1 / points.shape[1] + solve(gram, np.matmul(points, (goals - centre)[:, :, None])[:, :, 0])
    return weights
