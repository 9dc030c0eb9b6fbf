"""The lexical overlap and nothing else: tokens of both vocabularies keep their rows, the others are drawn at random."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from tokgraft.methods._contract import Floats, Params, Rows, Transplant, method
from tokgraft.methods._rows import draw_normal, drawn_rows


@method("identity_overlap", version=1, paper="arXiv:2012.15562; arXiv:2309.04679", copies_overlap=True)
class IdentityOverlap(Params):
    """Copy tokens that both vocabularies have; draw the rest from the source rows' distribution, or from one given."""

    std: float | None = Field(
        None, gt=0, description="Draw from N(0, std^2), such as BERT's 0.02; null: N(mean, std) of the source rows in each dimension."
    )


def build(task: Transplant, params: IdentityOverlap) -> Rows:
    """E'[t] = E[s] where s is the same token; independent normal draws else, for each table on its own."""

    def draw(new: Floats, table: Floats, ids: list[int], rng: np.random.Generator) -> None:
        if params.std is None:
            draw_normal(new, table, task.live, ids, rng)
        else:
            new[ids] = (params.std * rng.standard_normal((len(ids), table.shape[1]))).astype(np.float32)

    return drawn_rows(task, "identity_overlap", task.overlap, draw)
