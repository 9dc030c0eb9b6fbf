"""The lower control: rows without any knowledge of the source beyond its scale."""

from __future__ import annotations

from pydantic import Field

from tokgraft.methods import Composition, Params, Transplant, method


class Random(Params):
    """Draw every row from the per-dimension normal distribution of the source rows; special tokens keep theirs by role."""

    copy_overlap: bool = Field(False, description="Copy tokens that both vocabularies have, and draw only the others.")


@method("random", Random, version=1)
def build(task: Transplant, params: Random) -> Composition:
    """Rows ~ N(mean_d, std_d) of the source's live rows, independent in every dimension and for each table."""
    copies = task.overlap if params.copy_overlap else task.specials
    return Composition(copies, drawn=task.others(copies))
