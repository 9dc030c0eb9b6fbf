"""SAVA: one linear map from a donor's space to the base's, fitted on the shared tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from tokgraft.methods import Composition, Doubles, Floats, Params, Transplant, method
from tokgraft.numerics.linear import procrustes
from tokgraft.numerics.similarity import BLOCK
from tokgraft.numerics.sums import blocks
from tokgraft.rows.donor import DonorSide, Made, transfer

FOLDS = 5
RIDGES = 10.0 ** np.arange(-6, 3)  # times the mean variance of the inputs
STEPS, RATE = 1000, 1e-3


class Sava(Params):
    """Copy the overlap; map the rest from the donor's space by a linear map that is fitted on the shared tokens."""

    map: Literal["ridge", "orthogonal", "sgd"] = Field(
        "ridge", description="ridge: affine, with a penalty chosen by cross-validation; orthogonal: a rotation (the reference code's default); "
        "sgd: affine, 1,000 steps of gradient descent, stopped early (its recipe for Llama 3.1).",
    )  # fmt: skip
    anchors: int = Field(0, ge=0, description="Shared tokens that are used, evenly over the vocabulary (reference: 5,000 or all); 0: all.")
    rescale: bool = Field(
        False, description="Lengthen mapped rows by as much as held-out anchors come out too short. Not in the reference."
    )


@method("sava", Sava, version=1, paper="arXiv:2504.17025", requires={"donor"}, copies_overlap=True)
def build(task: Transplant, params: Sava) -> Composition:
    """E'[t] = the map of the donor's row, both spaces brought to mean 0, variance 1 per dimension and mean length 1; each table alone.

    The mean cosine between held-out anchors and their maps (5 folds) is told: it says how far the map can be trusted.

    Raises:
        DataError: Fewer than ten tokens are shared.
    """
    return transfer(task, "mapped", lambda side: _carry(side, params), at_least=2 * FOLDS)


def _carry(side: DonorSide, params: Sava) -> Made:
    chosen = np.arange(len(side.A))
    if 0 < params.anchors < len(chosen):
        chosen = np.linspace(0, len(chosen) - 1, max(params.anchors, 2 * FOLDS)).round().astype(np.int64)
    scale, back = Scale(side.A[chosen]), Scale(side.B[chosen])
    fit = {"ridge": _ridge, "orthogonal": _orthogonal, "sgd": _descent}[params.map]
    grid = RIDGES if params.map == "ridge" else np.zeros(1)
    # Anchors stand in canonical order: each fold takes every fifth.
    folds = [chosen[start::FOLDS] for start in range(FOLDS)]
    parts = [(_with_one(scale(side.A[part])), back(side.B[part])) for part in folds]
    moments = [Moments(X.T @ X, X.T @ Y) for X, Y in parts]
    whole = Moments(np.sum([part.gram for part in moments], axis=0), np.sum([part.cross for part in moments], axis=0))
    scores = np.zeros((len(grid), 4))
    for part, (X, Y) in zip(moments, parts):
        rest = Moments(whole.gram - part.gram, whole.cross - part.cross)
        scores += [_held_out(X @ fit(rest, ridge), Y) for ridge in grid]
    scores /= len(chosen)
    best = int(scores[:, 0].argmin())
    _, cosine, made_length, true_length = scores[best].tolist()
    ratio = made_length / true_length if true_length else 1.0
    matrix = fit(whole, grid[best])
    rows = np.empty((len(side.X), side.B.shape[1]), dtype=np.float32)
    for block in blocks(len(rows), BLOCK // max(matrix.shape)):
        rows[block] = back.inverse(_with_one(scale(side.X[block])) @ matrix / (ratio if params.rescale and ratio > 0 else 1))
    stats = {"held_out_cosine": round(cosine, 6), "held_out_length": round(ratio, 6)}
    return Made(rows, stats=stats | ({"ridge": float(grid[best])} if params.map == "ridge" else {}))


@dataclass(frozen=True)
class Moments:
    """What a fit needs of the anchors: X^T X and X^T Y, X having a last column of ones."""

    gram: Doubles
    cross: Doubles


class Scale:
    """Brings rows to mean 0 and variance 1 per dimension and mean length 1, as fitted on some rows, (n, d)."""

    def __init__(self, rows: Floats) -> None:
        self.mean = rows.mean(axis=0, dtype=np.float64)
        spread = rows.std(axis=0, dtype=np.float64)
        self.spread = np.where(spread > 0, spread, 1)
        self.length = float(np.linalg.norm((rows - self.mean) / self.spread, axis=1).mean()) or 1.0

    def __call__(self, rows: Floats) -> Doubles:
        """Scaled rows, float64."""
        found: Doubles = (rows - self.mean) / (self.spread * self.length)
        return found

    def inverse(self, rows: Doubles) -> Floats:
        """Rows of the original space, float32."""
        found: Floats = (rows * (self.spread * self.length) + self.mean).astype(np.float32)
        return found


def _with_one(rows: Doubles) -> Doubles:
    """Rows followed by a 1, so that a map has a constant."""
    return np.hstack([rows, np.ones((len(rows), 1))])


def _held_out(made: Doubles, true: Doubles) -> list[float]:
    """Sums over rows: squared error, cosine, length of the made row, length of the true one."""
    lengths = np.linalg.norm(made, axis=1), np.linalg.norm(true, axis=1)
    products = np.maximum(lengths[0] * lengths[1], np.finfo(float).tiny)
    cosine = np.einsum("nd,nd->n", made, true) / products
    return [float(((made - true) ** 2).sum()), float(cosine.sum()), float(lengths[0].sum()), float(lengths[1].sum())]


def _ridge(moments: Moments, ridge: float) -> Doubles:
    """(X^T X + penalty)^-1 X^T Y; the penalty is a share of the mean diagonal, the constant has none."""
    penalty = np.full(len(moments.gram), ridge * np.trace(moments.gram[:-1, :-1]) / (len(moments.gram) - 1))
    penalty[-1] = 0
    found: npt.NDArray[Any] = np.linalg.solve(moments.gram + np.diag(penalty), moments.cross)
    return found


def _orthogonal(moments: Moments, _: float) -> Doubles:
    """The best rotation; both sides have mean 0, so it has no constant. Unequal widths are as if the narrower were filled with zeros."""
    return np.vstack([procrustes(moments.cross[:-1]), np.zeros((1, moments.cross.shape[1]))])


def _descent(moments: Moments, _: float) -> Doubles:
    """1,000 steps of Adam on the mean squared error from zero, all anchors in each step: the moments are all that a gradient needs."""
    shape = moments.cross.shape
    scale = 2 / (moments.gram[-1, -1] * shape[1])
    gram, cross = (scale * part.astype(np.float32) for part in (moments.gram, moments.cross))
    weights, first, second = (np.zeros(shape, dtype=np.float32) for _ in range(3))
    for step in range(1, STEPS + 1):
        gradient = gram @ weights - cross
        first += 0.1 * (gradient - first)
        second += 0.001 * (gradient**2 - second)
        weights -= RATE * (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
    return weights.astype(np.float64)
