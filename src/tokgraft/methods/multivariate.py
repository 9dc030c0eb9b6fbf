"""Mean plus a little of the covariance: new rows from N(mu, eps * Sigma) of the source rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import Field

from tokgraft.methods import Composition, Doubles, Floats, Ints, Params, Transplant, method


class Multivariate(Params):
    """Draw new rows from N(mean, eps * covariance) of the source rows; tokens of both vocabularies are copied."""

    eps: float = Field(1e-5, ge=0, description="Scale of the covariance: 1e-5 in the original note, 1e-9 in transformers, 1 in mergekit.")
    copy_overlap: bool = Field(True, description="Copy tokens that both vocabularies have; otherwise only special tokens keep their rows.")


@method("multivariate", Multivariate, version=1, paper="Hewitt 2021, Initializing New Word Embeddings", copies_overlap=True)
def build(task: Transplant, params: Multivariate) -> Composition:
    """New rows mu + sqrt(eps) * L z with Sigma = L L^T over the source's live rows, for each table on its own."""
    copies = task.overlap if params.copy_overlap else task.specials

    def draw(table: Floats, ids: Sequence[int], rng: np.random.Generator) -> Floats:
        mean, factor = gaussian(table, task.live)
        noise = rng.standard_normal((len(ids), table.shape[1]))
        drawn: Floats = (mean + np.sqrt(params.eps) * (noise @ factor.T)).astype(np.float32)
        return drawn

    return Composition(copies, drawn=task.others(copies), draw=draw)


def gaussian(table: Floats, live: Ints) -> tuple[Doubles, Doubles]:
    """Mean (d,) and lower Cholesky factor (d, d) of the covariance (divided by n) of the rows `live`, in float64.

    The jitter on the diagonal grows from 1e-12 of the mean variance until the factor exists: with fewer rows than dimensions the
    covariance is singular.
    """
    rows = table[live].astype(np.float64)
    mean = rows.mean(axis=0)
    rows -= mean
    covariance = rows.T @ rows / len(rows)
    scale = float(np.trace(covariance)) / len(covariance) or 1.0
    for exponent in range(-12, 1):
        try:
            factor = np.linalg.cholesky(covariance + np.eye(len(covariance)) * scale * 10.0**exponent)
        except np.linalg.LinAlgError:
            continue
        return mean, factor.astype(np.float64)
    raise np.linalg.LinAlgError("the covariance of the source rows has no Cholesky factor")
