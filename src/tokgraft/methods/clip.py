"""Shorten made rows that are longer than nearly all rows of the source."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from pydantic import Field

from tokgraft.methods import Floats, Params, Rows, Transplant, refiner


class Clip(Params):
    """Shorten made rows to a quantile of the lengths that source rows have; copied rows stay."""

    quantile: float = Field(0.99, ge=0, le=1, description="Quantile of the lengths of the source's rows; 1: the longest one.")


@refiner("clip", Clip, version=1)
def refine(task: Transplant, rows: Rows, params: Clip) -> Rows:
    """Rows in the same direction, none of the made ones longer than the quantile; each table by its own."""
    numbers = rows.made
    stats = {}

    def shortened(new: Floats, table: Floats, name: str) -> Floats:
        limit = float(np.quantile(np.linalg.norm(table[task.live].astype(np.float64), axis=1), params.quantile))
        lengths = np.linalg.norm(new[numbers].astype(np.float64), axis=1)
        long = lengths > limit
        result = new.copy()
        result[numbers[long]] = (new[numbers[long]] * (limit / lengths[long])[:, None]).astype(np.float32)
        stats[name] = {"limit": round(limit, 5), "rows": int(long.sum())}
        return result

    inputs = shortened(rows.input, task.E, "input")
    output = None if rows.output is None else shortened(rows.output, task.U, "output")
    return replace(rows, input=inputs, output=output, stats={**rows.stats, "clip": stats})
