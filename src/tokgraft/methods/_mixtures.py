"""Rows that are mixtures of few source rows, and the tables made of copies, mixtures and random rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tokgraft.methods._contract import Floats, Provenance, Rows, Transplant
from tokgraft.methods._rows import Matches, bias_by, copy_matches, draw_normal, provenance, specials, start, tables
from tokgraft.numerics.sums import weighted_sums

Ints = npt.NDArray[np.int64]
Doubles = npt.NDArray[np.float64]
Factor = Callable[[Floats], tuple[Floats, Floats]]


@dataclass(frozen=True)
class Mixtures:
    """Target tokens that become mixtures of source tokens.

    Attributes:
        ids: Target ids, (n,).
        sources: Source ids of each, the heaviest first, (n, k).
        weights: Their weights, (n, k).
    """

    ids: Ints
    sources: Ints
    weights: Doubles

    def fill(self, new: Floats, table: Floats) -> None:
        """Put the mixtures of the rows of `table` into `new`."""
        new[self.ids] = self.of(table)

    def of(self, table: Floats) -> Floats:
        """The mixed rows, (n, d), summed in float64."""
        ends = self.sources.shape[1] * np.arange(len(self.ids) + 1)
        return weighted_sums(self.weights.ravel(), self.sources.ravel(), ends, table)


def no_mixtures() -> Mixtures:
    """None at all."""
    return Mixtures(np.zeros(0, dtype=np.int64), np.zeros((0, 1), dtype=np.int64), np.zeros((0, 1)))


def assemble(
    task: Transplant, name: str, matches: Matches, mixtures: Mixtures, stats: Mapping[str, Any], factor: Factor | None = None
) -> Rows:
    """Copies for `matches`, mixtures by the same weights in each table, N(mean_d, std_d) of the source rows for what is left.

    Args:
        task: The transplant.
        name: Name of the method; names its random streams.
        matches: Target tokens that take a source token's row; special tokens always do.
        mixtures: Target tokens that are mixed; a match goes before a mixture.
        stats: Facts for `Rows.stats`.
        factor: Gives, for a table, its coordinates (|Vs|, k) and the shared factor (k, d): rows are then made of coordinates, and only
            special tokens keep their exact rows.
    """
    matches = {**matches, **specials(task)}
    mixed = {int(number) for number in mixtures.ids}
    drawn = [number for number in task.target.canonical_order if number not in matches and number not in mixed]
    new = {}
    for which, table in tables(task):
        coordinates, shared = (table, None) if factor is None else factor(table)
        rows = start(coordinates, task.live, len(task.target), drawn, mixtures.ids, matches)
        draw_normal(rows, coordinates, task.live, drawn, task.rng(f"{name} {which}"))
        mixtures.fill(rows, coordinates)
        copy_matches(rows, coordinates, matches)
        if shared is not None:
            rows = (rows @ shared).astype(np.float32)
            copy_matches(rows, table, specials(task))
        new[which] = rows
    made = dict.fromkeys(drawn, Provenance("random"))
    counts = np.count_nonzero(mixtures.weights, axis=1).tolist()  # the heaviest stand first
    for number, sources, count in zip(mixtures.ids.tolist(), mixtures.sources.tolist(), counts):
        made[number] = Provenance("combined", tuple(sources[:count]))
    bias = bias_by(task, matches, mixtures.fill)
    return Rows(new["input"], new.get("output"), bias, provenance(task, matches, made), stats)
