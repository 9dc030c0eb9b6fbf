"""Interpolation from common tokens: the nearest shared tokens in a donor's space, weighted by one of three rules."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from tokgraft.methods._contract import Params, Rows, Transplant, method
from tokgraft.methods._donor import Doubles, Ids, Made, Side, blocks, transfer
from tokgraft.methods._similarity import BLOCK, unit_rows
from tokgraft.methods._sparse import least_squares, solve


@method("common_interpolation", version=1, paper="arXiv:2506.06607 (mergekit-tokensurgeon)", requires={"donor"}, copies_overlap=True)
class CommonInterpolation(Params):
    """Copy the overlap; the rest from its k nearest shared tokens in the donor's table."""

    k: int = Field(64, ge=1, description="Nearest shared tokens (mergekit's default).")
    metric: Literal["euclid", "cosine"] = Field("euclid", description="What is near.")
    weights: Literal["distance", "barycentric", "least_squares"] = Field(
        "distance", description="distance: 1/distance (metric cosine: the cosine), divided by the sum; barycentric: the best fit of the "
        "donor's row with weights that sum to 1; least_squares: the best fit.",
    )  # fmt: skip


def build(task: Transplant, params: CommonInterpolation) -> Rows:
    """E'[t] = sum_j w_j E[o_j] over the k nearest shared tokens o_j in the donor's space, for each table on its own.

    Raises:
        DataError: Fewer than k tokens are shared.
    """
    return transfer(task, "combined", lambda side: _interpolate(side, params), at_least=params.k)


def _interpolate(side: Side, params: CommonInterpolation) -> Made:
    cosine = params.metric == "cosine"
    X, A = (unit_rows(side.X), unit_rows(side.A)) if cosine else (side.X.astype(np.float64), side.A.astype(np.float64))
    lengths = np.einsum("md,md->m", A, A)
    rows = np.empty((len(X), side.B.shape[1]), dtype=np.float32)
    used: list[Ids] = []
    failed = np.zeros(len(X), dtype=bool)
    step = min(BLOCK // len(A), BLOCK // (params.k * max(A.shape[1], side.B.shape[1])))
    for block in blocks(len(X), step):
        near, distance = _nearest(X[block], A, lengths, params.k)
        if params.weights == "distance":
            weights = 1 - distance**2 / 2 if cosine else 1 / np.maximum(distance, 1e-6)
            total = weights.sum(axis=1, keepdims=True)
            failed[block] = total[:, 0] < 1e-6  # cosines that sum to nothing, or to less
            weights /= np.maximum(total, 1e-6)
        else:
            weights = _fitted(side.X[block].astype(np.float64), side.A[near].astype(np.float64), params.weights == "barycentric")
        rows[block] = np.matmul(weights[:, None], side.B[near].astype(np.float64))[:, 0]
        used += [places[np.argsort(-np.abs(row), kind="stable")] for places, row in zip(near, weights)]
    return Made(rows, used, failed)


def _nearest(X: Doubles, A: Doubles, lengths: Doubles, k: int) -> tuple[Ids, Doubles]:
    """Places of the k nearest rows of A, the nearest first, and their Euclidean distances, each (n, k)."""
    square = lengths - 2 * (X @ A.T)
    near = np.argpartition(square, k - 1, axis=1)[:, :k]
    # The distances of the few are computed by subtraction: exact also where they are small.
    distance = np.linalg.norm(X[:, None] - A[near], axis=2)
    order = np.lexsort((near, distance), axis=1)
    return np.take_along_axis(near, order, axis=1), np.take_along_axis(distance, order, axis=1)


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
