"""Small least-squares problems, many at once, in float64."""

from __future__ import annotations

import numpy as np

from tokgraft.numerics.types import Doubles, Flags


def least_squares(points: Doubles, goals: Doubles, unused: Flags | None = None) -> Doubles:
    """Weights w of each problem that minimise ||goal - w @ points||; the shortest ones where several do.

    Args:
        points: (n, k, d).
        goals: (n, d).
        unused: Points to leave out, (n, k); their weight is 0 and their rows must be 0.

    Returns:
        (n, k).
    """
    gram = np.matmul(points, points.transpose(0, 2, 1))
    if unused is not None:
        diagonal = np.arange(gram.shape[1])
        gram[:, diagonal, diagonal] += unused * 1.0
    return solve(gram, np.matmul(points, goals[:, :, None])[:, :, 0])


def solve(matrices: Doubles, right: Doubles) -> Doubles:
    """Solutions of symmetric systems, (n, k, k) and (n, k) -> (n, k); the shortest ones where a matrix is singular."""
    if matrices.shape[1] == 0:
        return np.zeros_like(right)
    try:
        found: Doubles = np.linalg.solve(matrices, right[:, :, None])[:, :, 0].astype(np.float64)
    except np.linalg.LinAlgError:
        found = np.full_like(right, np.nan)
    # A matrix that is singular up to rounding gives weights that do not solve the system, or none at all.
    error = np.abs(np.matmul(matrices, found[:, :, None])[:, :, 0] - right).max(axis=1)
    bad = np.flatnonzero(~(error <= 1e-6 * np.maximum(np.abs(right).max(axis=1), np.finfo(float).tiny)))
    if len(bad):
        found[bad] = np.matmul(np.linalg.pinv(matrices[bad], rcond=1e-10, hermitian=True), right[bad][:, :, None])[:, :, 0]
    return found
