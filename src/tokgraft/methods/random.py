"""The lower control: rows without any knowledge of the source beyond its scale."""

from __future__ import annotations

from pydantic import Field

from tokgraft.methods._contract import Params, Rows, Transplant, method
from tokgraft.methods._rows import draw_normal, drawn_rows, specials


@method("random", version=1)
class Random(Params):
    """Draw every row from the per-dimension normal distribution of the source rows; special tokens keep theirs by role."""

    copy_overlap: bool = Field(False, description="Copy tokens that both vocabularies have, and draw only the others.")


def build(task: Transplant, params: Random) -> Rows:
    """Rows ~ N(mean_d, std_d) of the source's live rows, independent in every dimension and for each table."""
    matches = task.overlap if params.copy_overlap else specials(task)
    return drawn_rows(task, "random", matches, lambda new, table, ids, rng: draw_normal(new, table, task.live, ids, rng))
