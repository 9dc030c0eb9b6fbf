"""Linear maps between a donor's space and the base's: moments of the anchors, principal directions, rotations; by blocks."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tokgraft.numerics.similarity import BLOCK
from tokgraft.numerics.sums import blocks
from tokgraft.numerics.types import Doubles, Floats


def cross_covariance(A: Floats, B: Floats, kind: npt.DTypeLike = np.float64) -> tuple[Doubles, Doubles, Doubles]:
    """Means (d_a,) and (d_b,) of the rows, and sum over rows of (a - mean)(b - mean)^T, (d_a, d_b).

    Products of a block of rows are of the given kind, sums of blocks in float64. Products in float32 take half the time; a space that
    components span hardly moves by them, the components themselves do where variances are nearly equal.
    """
    here = A.mean(axis=0, dtype=np.float64)
    there = here if A is B else B.mean(axis=0, dtype=np.float64)
    cross = np.zeros((A.shape[1], B.shape[1]))
    centre, other = here.astype(kind), there.astype(kind)
    for block in blocks(len(A), BLOCK // max(A.shape[1], B.shape[1])):
        left = A[block] - centre
        cross += left.T @ (left if A is B else B[block] - other)  # of one array numpy computes one half
    return here, there, cross


def principal(rows: Floats, dimensions: int, kind: npt.DTypeLike = np.float64) -> Doubles:
    """The first principal directions of the rows, (d, dimensions), each with its largest component positive."""
    _, _, covariance = cross_covariance(rows, rows, kind)
    directions = np.linalg.eigh(covariance)[1][:, ::-1][:, :dimensions]
    largest = np.take_along_axis(directions, np.abs(directions).argmax(axis=0)[None], axis=0)
    found: Doubles = directions * np.where(largest < 0, -1.0, 1.0)
    return found


def procrustes(cross: Doubles) -> Doubles:
    """The R with orthonormal rows or columns that brings P R nearest to Q, for cross = P^T Q, (d_p, d_q) -> (d_p, d_q)."""
    left, _, right = np.linalg.svd(cross, full_matrices=False)
    rotation: Doubles = left @ right
    return rotation


def map_rows(X: Floats, here: Doubles, matrix: Doubles, there: Doubles) -> Floats:
    """(X - here) @ matrix + there, (n, d_a) -> (n, d_b), multiplied in float32."""
    narrow, centre = matrix.astype(np.float32), here.astype(np.float32)
    offset = (there + (centre - here) @ matrix).astype(np.float32)
    made = np.empty((len(X), matrix.shape[1]), dtype=np.float32)
    for block in blocks(len(X), BLOCK // max(matrix.shape)):
        np.matmul(X[block] - centre, narrow, out=made[block])
        made[block] += offset
    return made
