"""Subword mean: a new token is the mean of the source tokens that write the same bytes."""

from __future__ import annotations

from tokgraft.methods import Composition, Mixtures, Params, Transplant, method


class Mean(Params):
    """Mean of the source rows of a token's pieces; tokens of both vocabularies are copied."""


@method("mean", Mean, version=1, paper="Gee 2022, FVT (EMNLP Industry)", copies_overlap=True, convex=True)
def build(task: Transplant, params: Mean) -> Composition:
    """Copy the overlap; mean over pieces for the rest, in each table by the same pieces; global mean where nothing fits."""
    mixtures = Mixtures.means(task.new_pieces)
    mean_pieces = round(len(mixtures.sources) / len(mixtures), 4) if len(mixtures) else 0.0
    return Composition(task.overlap, mixtures, stats={"pieces_per_token": mean_pieces})
