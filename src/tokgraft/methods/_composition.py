"""Weighted sums of source rows: what a token is made of, as sparse weights, and the rows that follow from it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np

from tokgraft.methods._contract import Floats, Provenance, Rows, Transplant
from tokgraft.methods._rows import bias_by, copy_matches, draw_normal, provenance, start, tables
from tokgraft.numerics.sums import weighted_sums

SHOWN = 16  # ids that provenance lists at most


class Mixture(NamedTuple):
    """Source ids and their weights, which are at least 0 and need not sum to 1; an id may stand more than once."""

    ids: Sequence[int]
    weights: Sequence[float]

    def scaled(self, factor: float) -> Mixture:
        """The same direction, with weights that sum to `factor`."""
        total = float(sum(self.weights))
        return Mixture(self.ids, [factor * weight / total for weight in self.weights])


Mixtures = Mapping[int, Mixture]


def blend(first: Mixture, second: Mixture, share: float) -> Mixture:
    """(1 - share) of `first` and `share` of `second`."""
    left, right = first.scaled(1 - share), second.scaled(share)
    return Mixture([*left.ids, *right.ids], [*left.weights, *right.weights])


def mix(new: Floats, table: Floats, mixtures: Mixtures) -> None:
    """Set row t of `new` to sum_i w_i table[id_i] / sum_i w_i, summed in float64 in the order given."""
    if not mixtures:
        return
    numbers = list(mixtures)
    all_ids, all_weights = zip(*mixtures.values())
    ends = np.cumsum([0, *map(len, all_ids)])
    ids = np.fromiter(chain.from_iterable(all_ids), np.int64, ends[-1])
    weights = np.fromiter(chain.from_iterable(all_weights), np.float64, ends[-1])
    new[numbers] = weighted_sums(weights, ids, ends, table, np.add.reduceat(weights, ends[:-1]))


def mixed_rows(
    task: Transplant, inputs: Mixtures, outputs: Mixtures, drawn: Iterable[int] = (), name: str = "", stats: Mapping[str, Any] | None = None
) -> Rows:
    """Rows of a method that copies the overlap and mixes the rest.

    Args:
        task: The transplant.
        inputs: Mixtures for the input table; of a tied model they make the one table, and its bias.
        outputs: Mixtures for the output table and the bias of the head.
        drawn: Tokens without a mixture that are drawn from N(mean, std) of the rows; what is left falls back to the mean of all rows.
        name: Of the method, for the generator.
        stats: What the method wants to tell.
    """
    drawn = list(drawn)
    new = {}
    for part, table in tables(task):
        mixtures = inputs if part == "input" else outputs
        new[part] = start(table, task.live, len(task.target), mixtures, drawn, task.overlap)
        mix(new[part], table, mixtures)
        draw_normal(new[part], table, task.live, drawn, task.rng(f"{name} {part}"))
        copy_matches(new[part], table, task.overlap)
    made = {number: Provenance("combined", most(mixture)) for number, mixture in inputs.items()}
    made |= dict.fromkeys(drawn, Provenance("random"))
    bias = bias_by(task, task.overlap, lambda new, column: mix(new, column, inputs if task.tied else outputs))
    return Rows(new["input"], new.get("output"), bias, provenance(task, task.overlap, made), stats or {})


def most(mixture: Mixture) -> tuple[int, ...]:
    """The ids with the largest weights, largest first, at most `SHOWN`; all of a short mixture in their own order."""
    ids = mixture.ids if all(mixture.weights) else [number for number, weight in zip(mixture.ids, mixture.weights) if weight > 0]
    if len(ids) <= SHOWN:
        return tuple(ids)
    weight = dict.fromkeys(ids, 0.0)
    for number, share in zip(mixture.ids, mixture.weights):
        weight[number] = weight.get(number, 0.0) + share
    return tuple(sorted(weight, key=lambda number: (-weight[number], number))[:SHOWN])


def by_pieces(pieces: Mapping[int, Sequence[int]]) -> dict[int, Mixture]:
    """The plain mean over pieces, for tokens that have any."""
    ones = {count: (1.0,) * count for count in set(map(len, pieces.values()))}
    return {number: Mixture(ids, ones[len(ids)]) for number, ids in pieces.items() if ids}


def from_counts(counts: Mapping[int, float]) -> Mixture:
    """A mixture of source id -> weight, by ascending id."""
    order = sorted(counts)
    return Mixture(order, [counts[number] for number in order])


def characters(text: bytes) -> int:
    """Number of characters that begin in `text`."""
    return sum(byte & 0xC0 != 0x80 for byte in text)
