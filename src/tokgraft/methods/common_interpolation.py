"""Interpolation from common tokens: the nearest shared tokens in a donor's space, weighted by one of three rules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import Field

from tokgraft.methods._contract import Floats, Params, Rows, Transplant, method
from tokgraft.methods._donor import Doubles, Ids, Made, Side, blocks, transfer
from tokgraft.methods._rows import weighted_sums
from tokgraft.methods._similarity import BLOCK, unit_rows
from tokgraft.methods._sparse import least_squares, solve

SPARE = 8  # rows beside the k nearest whose distances are computed
ROUNDING = 1e-5  # of two rows' lengths: more than float32 can be wrong about their product
TOGETHER = 16  # rows whose neighbours are looked at together: they stay near the processor


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
    space = _Space.of(A)
    near = np.empty((len(X), params.k), dtype=np.int64)
    weights = np.empty((len(X), params.k))
    failed = np.zeros(len(X), dtype=bool)
    for block in blocks(len(X), min(BLOCK // len(A), BLOCK // (params.k * A.shape[1]))):
        near[block], distance = _nearest(X[block], space, params.k)
        if params.weights == "distance":
            weights[block] = 1 - distance**2 / 2 if cosine else 1 / np.maximum(distance, 1e-6)
            total = weights[block].sum(axis=1, keepdims=True)
            failed[block] = total[:, 0] < 1e-6  # cosines that sum to nothing, or to less
            weights[block] /= np.maximum(total, 1e-6)
        else:
            points = side.A[near[block]].astype(np.float64)
            weights[block] = _fitted(side.X[block].astype(np.float64), points, params.weights == "barycentric")
    rows = weighted_sums(weights.ravel(), near.ravel(), params.k * np.arange(len(X) + 1), side.B)
    heaviest = np.argsort(-np.abs(weights), axis=1, kind="stable")
    return Made(rows, np.take_along_axis(near, heaviest, axis=1), failed)


@dataclass(frozen=True)
class _Space:
    """The anchors as they are needed to find the nearest.

    Attributes:
        narrow: In float32, (m, d).
        exact: In float64, (m, d).
        lengths: Squares of their lengths, (m,).
        across: -2 a and below it a a, (d + 1, m), float32: (x, 1) times it is (x - a)(x - a) - x x.
    """

    narrow: Floats
    exact: Doubles
    lengths: Doubles
    across: Floats

    @classmethod
    def of(cls, anchors: Doubles) -> _Space:
        """Of anchors (m, d)."""
        lengths = np.einsum("md,md->m", anchors, anchors)
        return cls(anchors.astype(np.float32), anchors, lengths, np.vstack([-2 * anchors.T, lengths]).astype(np.float32))


def _nearest(X: Doubles, space: _Space, k: int) -> tuple[Ids, Doubles]:
    """Places of the k nearest anchors, the nearest first, and their Euclidean distances, each (n, k).

    Products in float32 say which anchors may be among the nearest; the distances of these are computed by subtraction, which is right also
    where they are small. Where float32 cannot tell which k it is, float64 does.
    """
    narrow = X.astype(np.float32)
    some = min(k + SPARE, len(space.exact))
    square = np.hstack([narrow, np.ones((len(X), 1), dtype=np.float32)]) @ space.across
    near = np.argpartition(square, some - 1, axis=1)[:, :some]
    if some < len(space.exact):
        found = np.take_along_axis(square, near, axis=1)
        error = ROUNDING * np.sqrt(space.lengths.max() * np.einsum("nd,nd->n", X, X))
        if len(again := np.flatnonzero(found.max(axis=1) - np.partition(found, k - 1, axis=1)[:, k - 1] <= error)):
            near[again] = np.argpartition(space.lengths - 2 * (X[again] @ space.exact.T), some - 1, axis=1)[:, :some]
    near, distance = _by_distance(near, _distances(narrow, space.narrow, near))
    if some > k and len(again := np.flatnonzero(distance[:, k] - distance[:, k - 1] <= ROUNDING * distance[:, k])):
        near[again], distance[again] = _by_distance(near[again], _distances(X[again], space.exact, near[again]))
    return near[:, :k], distance[:, :k]


def _by_distance(near: Ids, distance: Doubles) -> tuple[Ids, Doubles]:
    """Both in the order of the distances; of equal ones the first place."""
    order = np.lexsort((near, distance), axis=1)
    return np.take_along_axis(near, order, axis=1), np.take_along_axis(distance, order, axis=1)


def _distances(X: Floats | Doubles, A: Floats | Doubles, near: Ids) -> Doubles:
    """Distance of each row of X to the rows `near` of A, (n, k)."""
    found = np.empty(near.shape)
    for number in range(0, len(X), TOGETHER):
        part = slice(number, number + TOGETHER)
        apart = A[near[part]]
        apart -= X[part, None]
        found[part] = np.sqrt(np.einsum("nkd,nkd->nk", apart, apart))
    return found


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
