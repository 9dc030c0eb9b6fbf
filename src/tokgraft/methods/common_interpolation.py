"""Interpolation from common tokens: the nearest shared tokens in a donor's space, weighted by one of three rules."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from tokgraft.methods import Composition, Doubles, Params, Transplant, method
from tokgraft.numerics.similarity import BLOCK, Groups, Ints, padded, unit_rows
from tokgraft.numerics.sparse import least_squares, solve
from tokgraft.numerics.sums import blocks, weighted_sums
from tokgraft.rows.donor import SHOWN, DonorSide, Made, transfer

ROUNDING = 3e-6  # of two rows' lengths: four times what float32 was seen to be wrong about their product
CANCELLED = 0.05  # a squared distance that is a smaller share of the squared lengths is not taken from a product in float32
GROUP = 8  # points of which the nearest is looked at first
PAIRS = 4096  # points whose distances are computed at once


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
    space = _Space(A, params.k)
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


class _Space:
    """Finds the k nearest of its points, (m, d).

    2 x a - a a is largest where |x - a| is smallest. Products in float32 say which points may be among the nearest, and how far these are. Where
    they cannot tell which k it is, or a distance is small beside what it is the difference of, float64 does, by subtraction.
    """

    def __init__(self, points: npt.NDArray[np.floating], k: int) -> None:
        self._points, self._k = points, k
        self._squares = _squares(points)
        self._longest = math.sqrt(self._squares.max())
        self._across = np.vstack([2 * points.T, -self._squares]).astype(np.float32)
        self._groups = Groups.for_best(len(points), k, GROUP)

    def nearest(self, X: npt.NDArray[np.floating]) -> tuple[Ints, Doubles]:
        """Places of the points that are nearest to each row of X, (n, d), the nearest first, and their distances, each (n, k)."""
        squares, k = _squares(X), self._k
        error = (ROUNDING * self._longest * (np.sqrt(squares) + self._longest)).astype(np.float32)
        values = np.hstack([X, np.ones((len(X), 1))]).astype(np.float32) @ self._across
        best = self._groups.best(values)
        row, column = self._groups.at_least(values, best, np.partition(best, -k, axis=1)[:, -k] - 2 * error)
        found = padded(row, values[row, column], len(X), -np.inf)
        order = np.argsort(-found, axis=1)[:, : k + 1]
        near = np.take_along_axis(padded(row, column, len(X), 0), order[:, :k], axis=1)
        found = np.take_along_axis(found, order, axis=1).astype(np.float64)
        distance = squares[:, None] - found[:, :k]
        unclear = (distance < CANCELLED * (squares[:, None] + self._squares[near])).any(axis=1)
        if order.shape[1] > k:
            unclear |= found[:, k - 1] - found[:, k] <= 2 * error
        distance = np.sqrt(np.maximum(distance, 0))
        if unclear.any():
            kept = unclear[row]
            near[unclear], distance[unclear] = self._exact(X[unclear], (np.cumsum(unclear) - 1)[row[kept]], column[kept])
        return near, distance

    def _exact(self, X: npt.NDArray[np.floating], row: Ints, column: Ints) -> tuple[Ints, Doubles]:
        """The same of pairs (row, column) that hold the nearest of each row; of equal ones the first places."""
        found = np.empty(len(row))
        for pairs in blocks(len(row), PAIRS):
            apart = X[row[pairs]].astype(np.float64)
            apart -= self._points[column[pairs]]
            found[pairs] = np.sqrt(_squares(apart))
        distance, near = padded(row, found, len(X), np.inf), padded(row, column, len(X), 0)
        order = np.lexsort((near, distance), axis=1)[:, : self._k]
        return np.take_along_axis(near, order, axis=1), np.take_along_axis(distance, order, axis=1)


def _squares(rows: npt.NDArray[np.floating]) -> Doubles:
    """Squared length of each row, in float64."""
    found: Doubles = np.einsum("nd,nd->n", rows, rows, dtype=np.float64)
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
