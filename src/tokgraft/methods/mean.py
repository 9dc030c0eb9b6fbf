"""Subword mean: a new token is the mean of the source tokens that write the same bytes."""

from __future__ import annotations

from tokgraft.methods._contract import Params, Provenance, Rows, Transplant, method
from tokgraft.methods._rows import combine_mean, copy_matches, head_bias, provenance, start, tables


@method("mean", version=1, paper="Gee 2022, FVT (EMNLP Industry)", copies_overlap=True, convex=True)
class Mean(Params):
    """Mean of the source rows of a token's pieces; tokens of both vocabularies are copied."""


def build(task: Transplant, params: Mean) -> Rows:
    """Copy the overlap; mean over pieces for the rest, in each table by the same pieces; global mean where nothing fits."""
    matches = task.overlap
    pieces = {number: ids for number, ids in task.new_pieces.items() if ids}
    new = {}
    for name, table in tables(task):
        new[name] = start(table, task.live, len(task.target), pieces, matches)
        combine_mean(new[name], table, pieces)
        copy_matches(new[name], table, matches)
    made = provenance(task, matches, {number: Provenance("combined", ids) for number, ids in pieces.items()})
    lengths = [len(ids) for ids in pieces.values()]
    stats = {"pieces_per_token": round(sum(lengths) / len(lengths), 4) if lengths else 0.0}
    return Rows(new["input"], new.get("output"), head_bias(task, matches, pieces), made, stats)
