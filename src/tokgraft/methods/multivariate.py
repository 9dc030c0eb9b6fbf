"""Mean plus a little of the covariance: new rows from N(mu, eps * Sigma) of the source rows."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from pydantic import Field

from tokgraft.methods._contract import Floats, Params, Provenance, Rows, Transplant, method
from tokgraft.methods._rows import copy_matches, head_bias, provenance, specials, start, tables


@method("multivariate", version=1, paper="Hewitt 2021, Initializing New Word Embeddings", copies_overlap=True)
class Multivariate(Params):
    """Draw new rows from N(mean, eps * covariance) of the source rows; tokens of both vocabularies are copied."""

    eps: float = Field(1e-5, ge=0, description="Scale of the covariance: 1e-5 in the original note, 1e-9 in transformers, 1 in mergekit.")
    copy_overlap: bool = Field(True, description="Copy tokens that both vocabularies have; otherwise only special tokens keep their rows.")


def build(task: Transplant, params: Multivariate) -> Rows:
    """New rows mu + sqrt(eps) * L z with Sigma = L L^T over the source's live rows, for each table on its own."""
    matches = task.overlap if params.copy_overlap else specials(task)
    drawn = [number for number in task.target.canonical_order if number not in matches]
    new = {}
    for name, table in tables(task):
        new[name] = start(table, task.live, len(task.target))
        if drawn:
            mean, factor = gaussian(table, task.live)
            noise = task.rng(f"multivariate {name}").standard_normal((len(drawn), table.shape[1]))
            new[name][drawn] = (mean + np.sqrt(params.eps) * (noise @ factor.T)).astype(np.float32)
        copy_matches(new[name], table, matches)
    made = provenance(task, matches, dict.fromkeys(drawn, Provenance("random")))
    return Rows(new["input"], new.get("output"), head_bias(task, matches, {}), made)


def gaussian(table: Floats, live: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
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
