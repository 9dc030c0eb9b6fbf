"""The lower control: rows without any knowledge of the source beyond its scale."""

from __future__ import annotations

from pydantic import Field

from tokgraft.methods._contract import Params, Provenance, Rows, Transplant, method
from tokgraft.methods._rows import copy_matches, draw_normal, head_bias, provenance, specials, start, tables


@method("random", version=1)
class Random(Params):
    """Draw every row from the per-dimension normal distribution of the source rows; special tokens keep theirs by role."""

    copy_overlap: bool = Field(False, description="Copy tokens that both vocabularies have, and draw only the others.")


def build(task: Transplant, params: Random) -> Rows:
    """Rows ~ N(mean_d, std_d) of the source's live rows, independent in every dimension and for each table."""
    matches = task.overlap if params.copy_overlap else specials(task)
    drawn = [number for number in task.target.canonical_order if number not in matches]
    new = {}
    for name, table in tables(task):
        new[name] = start(table, task.live, len(task.target))
        draw_normal(new[name], table, task.live, drawn, task.rng(f"random {name}"))
        copy_matches(new[name], table, matches)
    made = provenance(task, matches, dict.fromkeys(drawn, Provenance("random")))
    return Rows(new["input"], new.get("output"), head_bias(task, matches, {}), made)
