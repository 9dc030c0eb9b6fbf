"""CW2V: a new token lies in the convex hull of the source rows, at weights that word2vec learnt."""

from __future__ import annotations

import numpy as np

from tokgraft.methods import Composition, Dense, Floats, Params, Provenance, Transplant, method
from tokgraft.numerics.hull import Factors, points
from tokgraft.rows.pairing import made_for


class CW2V(Params):
    """Copy the overlap; every other token is softmax(A1 A2) E in the input table and softmax(B1 B2) U in the output table."""


@method("cw2v", CW2V, version=1, paper="arXiv:2407.05841", requires={"token_word2vec"}, copies_overlap=True, convex=True)
def build(task: Transplant, params: CW2V) -> Composition:
    """Rows at the learnt weights, each table at its own; tokens that the text never showed have the weights training began with.

    Weights learnt on a tied base serve both tables.

    Raises:
        ConfigError: The weights were learnt on another base.
    """
    found = made_for(task, "token_word2vec")
    sides: dict[str, Factors] = {"input": found["input"], "output": found.get("output", found["input"])}

    def mixed(name: str, table: Floats) -> Floats:
        centres = points(table, found["source_ids"], found["groups"], len(sides[name].sizes))
        return sides[name].rows(np.arange(len(found["ids"])), centres)

    dense = Dense(
        found["ids"],
        {name: mixed(name, table) for name, table in task.tables.items()},
        [Provenance("trained" if seen else "fallback") for seen in found["seen"].tolist()],
        lambda columns: mixed("input" if task.tied else "output", columns),
    )
    stats = {"mixtures": len(dense.ids), "groups": len(found["input"].sizes), "unseen": len(dense.ids) - int(found["seen"].sum())}
    return Composition(task.overlap, dense=dense, stats=stats)
