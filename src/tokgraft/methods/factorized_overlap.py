"""The lexical overlap in a factorised table, as in UNKs Everywhere: shared directions, one short vector a token."""

from __future__ import annotations

from pydantic import Field

from tokgraft.methods._contract import Params, Rows, Transplant, method
from tokgraft.methods._factors import truncated
from tokgraft.methods._mixtures import assemble, no_mixtures


@method("factorized_overlap", version=1, paper="arXiv:2012.15562")
class FactorizedOverlap(Params):
    """With E = F G of low rank: copy coordinates F of the overlap, draw those of the rest, and multiply by the same G."""

    rank: int = Field(100, ge=1, description="Width of F (paper 100); a rank of at least the table's width loses nothing.")


def build(task: Transplant, params: FactorizedOverlap) -> Rows:
    """F'[t] = F[s] where s is the same token, N(mean(F), std(F)) else; E' = F' G. Special tokens keep their exact rows."""
    stats = {"rank": min(params.rank, task.E.shape[1])}
    return assemble(task, "factorized_overlap", task.overlap, no_mixtures(), stats, truncated(task, params.rank))
