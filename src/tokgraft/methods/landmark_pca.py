"""Landmark PCA: principal components of the shared tokens in both spaces, one rotation between them."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from tokgraft.methods import Composition, Params, Transplant, method
from tokgraft.numerics.linear import cross_covariance, map_rows, principal, procrustes
from tokgraft.rows.donor import DonorSide, Made, transfer


class LandmarkPca(Params):
    """Copy the overlap; carry the rest from the donor's principal components to the base's by a rotation."""

    compatibility: Literal["none", "mergekit"] = Field("none", description="mergekit: the transpose of the best rotation, as it does.")


@method("landmark_pca", LandmarkPca, version=1, paper="arXiv:2506.06607 (mergekit-tokensurgeon)", requires={"donor"}, copies_overlap=True)
def build(task: Transplant, params: LandmarkPca) -> Composition:
    """E'[t] = (g_t - mean) V_donor R V_base^T + mean with the orthogonal R that brings the shared tokens together best; each table alone.

    Raises:
        DataError: Fewer than two tokens are shared.
    """
    return transfer(task, "mapped", lambda side: _carry(side, params.compatibility == "mergekit"), at_least=2)


def _carry(side: DonorSide, transposed: bool) -> Made:
    kind = np.float64 if transposed else np.float32
    here, there, cross = cross_covariance(side.A, side.B, kind)
    dimensions = min(side.A.shape[1], side.B.shape[1], len(side.A) - 1)
    # What is rotated are the spaces that the components span; of a space that is kept whole any axes will do.
    left, right = (
        np.eye(dimensions) if rows.shape[1] == dimensions and not transposed else principal(rows, dimensions, kind)
        for rows in (side.A, side.B)
    )
    rotation = procrustes(left.T @ cross @ right)
    matrix = left @ (rotation.T if transposed else rotation) @ right.T
    return Made(map_rows(side.X, here, matrix, there), stats={"dimensions": dimensions})
