"""The lexical overlap and nothing else: tokens of both vocabularies keep their rows, the others are drawn at random."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import Field

from tokgraft.methods import Composition, Floats, Params, Transplant, draw_normal, method


class IdentityOverlap(Params):
    """Copy tokens that both vocabularies have; draw the rest from the source rows' distribution, or from one given."""

    std: float | None = Field(
        None, gt=0, description="Draw from N(0, std^2), such as BERT's 0.02; null: N(mean, std) of the source rows in each dimension."
    )


@method("identity_overlap", IdentityOverlap, version=1, paper="arXiv:2012.15562; arXiv:2309.04679", copies_overlap=True)
def build(task: Transplant, params: IdentityOverlap) -> Composition:
    """E'[t] = E[s] where s is the same token; independent normal draws else, for each table on its own."""

    def draw(table: Floats, ids: Sequence[int], rng: np.random.Generator) -> Floats:
        if params.std is None:
            return draw_normal(table, task.live, len(ids), rng)
        return (params.std * rng.standard_normal((len(ids), table.shape[1]))).astype(np.float32)

    return Composition(task.overlap, drawn=task.others(task.overlap), draw=draw)
