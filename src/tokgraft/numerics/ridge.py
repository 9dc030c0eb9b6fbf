"""Affine maps by ridge regression, with the strength of the penalty chosen on held-out pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tokgraft.numerics.types import Doubles, Flags, Floats

TESTED = slice(9, None, 10)  # rows that no map sees before its cosine is taken
PENALTIES = tuple(10.0**exponent for exponent in range(-5, 3))  # of features with variance 1, per example


@dataclass(frozen=True)
class Affine:
    """y = (x - centre) / scale @ matrix + offset.

    Attributes:
        centre: (k,).
        scale: (k,).
        matrix: (k, d).
        offset: (d,), the mean of all rows that it was fitted to.
        penalty: The ridge penalty.
    """

    centre: Doubles
    scale: Doubles
    matrix: Doubles
    offset: Doubles
    penalty: float

    def __call__(self, states: npt.NDArray[np.floating]) -> Doubles:
        """Map (n, k) to (n, d), in float64."""
        mapped: Doubles = (states.astype(np.float64) - self.centre) / self.scale @ self.matrix + self.offset
        return mapped


def fit(states: Sequence[Floats], rows: Floats, others: Floats | None = None) -> tuple[Affine, list[float]]:
    """Least squares with a penalty on the standardised features: min |Z W - (Y - mean)|^2 / n + penalty |W|^2, Z of variance 1.

    Of ten rows one is kept for choosing the penalty and one for the cosines that are reported; the final map uses all rows.

    Args:
        states: States of one or several kinds for the same rows, each (n, k); the penalty is chosen by the last kind.
        rows: (n, d).
        others: States of another kind, which are only looked at with the map: those of every tenth row, `rows[TESTED]`.

    Returns:
        The map; for each kind, `others` last, the mean cosine of mapped and true rows, both without the mean row, on rows that neither map
        nor penalty saw.
    """
    place = np.arange(len(rows)) % 10

    def solved(keep: Flags, penalties: tuple[float, ...]) -> list[Affine]:
        return _solve(np.concatenate([kind[keep] for kind in states]), np.concatenate([rows[keep]] * len(states)), penalties)

    choose = place == 8
    best = max(solved(place < 8, PENALTIES), key=lambda affine: (centred_cosine(affine, states[-1][choose], rows[choose]), affine.penalty))
    looked_at = [kind[TESTED] for kind in states] + ([] if others is None else [others])
    return solved(place >= 0, (best.penalty,))[0], [centred_cosine(best, kind, rows[TESTED]) for kind in looked_at]


def _solve(states: Floats, rows: Floats, penalties: tuple[float, ...]) -> list[Affine]:
    x, y = states.astype(np.float64), rows.astype(np.float64)
    centre, offset = x.mean(axis=0), y.mean(axis=0)
    scale = x.std(axis=0)
    scale[scale == 0] = 1.0
    x = (x - centre) / scale
    values, axes = np.linalg.eigh(x.T @ x / len(x))
    target = axes.T @ (x.T @ (y - offset) / len(x))
    return [Affine(centre, scale, axes @ (target / (np.maximum(values, 0.0)[:, None] + penalty)), offset, penalty) for penalty in penalties]


def centred_cosine(affine: Affine, states: Floats, rows: Floats) -> float:
    """Mean cosine of mapped and true rows after the mean row is taken off both; 0 where nothing is left."""
    left, right = affine(states) - affine.offset, rows - affine.offset
    length = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    inner = (left * right).sum(axis=1)
    return float(np.divide(inner, length, out=np.zeros_like(inner), where=length > 0).mean())
