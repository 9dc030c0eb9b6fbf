"""The lexical overlap and nothing else: tokens of both vocabularies keep their rows, the others are drawn at random."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from tokgraft.methods._contract import Params, Provenance, Rows, Transplant, method
from tokgraft.methods._rows import copy_matches, draw_normal, head_bias, provenance, start, tables


@method("identity_overlap", version=1, paper="arXiv:2012.15562; arXiv:2309.04679", copies_overlap=True)
class IdentityOverlap(Params):
    """Copy tokens that both vocabularies have; draw the rest from the source rows' distribution, or from one given."""

    std: float | None = Field(
        None, gt=0, description="Draw from N(0, std^2), such as BERT's 0.02; null: N(mean, std) of the source rows in each dimension."
    )


def build(task: Transplant, params: IdentityOverlap) -> Rows:
    """E'[t] = E[s] where s is the same token; independent normal draws else, for each table on its own."""
    matches = task.overlap
    drawn = [number for number in task.target.canonical_order if number not in matches]
    new = {}
    for name, table in tables(task):
        rng = task.rng(f"identity_overlap {name}")
        new[name] = start(table, task.live, len(task.target))
        if params.std is None:
            draw_normal(new[name], table, task.live, drawn, rng)
        else:
            new[name][drawn] = (params.std * rng.standard_normal((len(drawn), table.shape[1]))).astype(np.float32)
        copy_matches(new[name], table, matches)
    made = provenance(task, matches, dict.fromkeys(drawn, Provenance("random")))
    return Rows(new["input"], new.get("output"), head_bias(task, matches, {}), made)
