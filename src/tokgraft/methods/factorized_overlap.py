"""The lexical overlap in a factorised table, as in UNKs Everywhere: shared directions, one short vector a token."""

from __future__ import annotations

from pydantic import Field

from tokgraft.methods import Composition, Params, Transplant, method
from tokgraft.numerics.low_rank import truncated


class FactorizedOverlap(Params):
    """With E = F G of low rank: copy coordinates F of the overlap, draw those of the rest, and multiply by the same G."""

    rank: int = Field(100, ge=1, description="Width of F (paper 100); a rank of at least the table's width loses nothing.")


@method("factorized_overlap", FactorizedOverlap, version=1, paper="arXiv:2012.15562")
def build(task: Transplant, params: FactorizedOverlap) -> Composition:
    """F'[t] = F[s] where s is the same token, N(mean(F), std(F)) else; E' = F' G. Special tokens keep their exact rows."""
    return Composition(
        task.overlap,
        drawn=task.others(task.overlap),
        low_rank=lambda table: truncated(table, task.live, params.rank),
        stats={"rank": min(params.rank, task.E.shape[1])},
    )
