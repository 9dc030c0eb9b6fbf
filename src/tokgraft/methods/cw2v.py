"""CW2V: a new token lies in the convex hull of the source rows, at weights that word2vec learnt."""

from __future__ import annotations

import numpy as np

from tokgraft.methods._contract import Floats, Params, Provenance, Rows, Transplant, method
from tokgraft.methods._hull import Factors, points
from tokgraft.methods._pairing import made_for
from tokgraft.methods._rows import copy_matches, head_bias, provenance, start, tables


@method("cw2v", version=1, paper="arXiv:2407.05841", requires={"token_word2vec"}, copies_overlap=True, convex=True)
class CW2V(Params):
    """Copy the overlap; every other token is softmax(A1 A2) E in the input table and softmax(B1 B2) U in the output table."""


def build(task: Transplant, params: CW2V) -> Rows:
    """Rows at the learnt weights, each table at its own; tokens that the text never showed have the weights training began with.

    Weights learnt on a tied base serve both tables.

    Raises:
        ConfigError: The weights were learnt on another base.
    """
    found = made_for(task, "token_word2vec")
    sides: dict[str, Factors] = {"input": found["input"], "output": found.get("output", found["input"])}
    matches = task.overlap
    ids = found["ids"].tolist()

    def mixed(name: str, table: Floats) -> Floats:
        centres = points(table, found["source_ids"], found["groups"], len(sides[name].sizes))
        return sides[name].rows(np.arange(len(ids)), centres)

    rows = {}
    for name, table in tables(task):
        rows[name] = start(table, task.live, len(task.target), ids, matches)
        rows[name][ids] = mixed(name, table)
        copy_matches(rows[name], table, matches)
    bias = head_bias(task, matches, {})
    if bias is not None and task.bias is not None:
        columns = mixed("input" if task.tied else "output", task.bias.reshape(len(task.bias), -1))
        bias[ids] = columns.reshape(-1, *bias.shape[1:])
    made = {number: Provenance("trained" if seen else "fallback") for number, seen in zip(ids, found["seen"].tolist())}
    stats = {"mixtures": len(ids), "groups": len(found["input"].sizes), "unseen": len(ids) - int(found["seen"].sum())}
    return Rows(rows["input"], rows.get("output"), bias, provenance(task, matches, made), stats)
