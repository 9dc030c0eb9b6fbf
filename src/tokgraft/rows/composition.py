"""How a method says what the rows are made of, and the one function that makes them: tables, bias, further tables, provenance."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tokgraft.numerics.sums import mean_row, moments, rows_of
from tokgraft.numerics.types import Floats, Ints
from tokgraft.overlap import Match
from tokgraft.rows.contract import How, Provenance, Rows, Transplant
from tokgraft.rows.mixtures import Mixtures

Draw = Callable[[Floats, Sequence[int], np.random.Generator], Floats]
LowRank = Callable[[Floats], tuple[Floats, Floats]]


@dataclass(frozen=True)
class Dense:
    """Rows that are given as they are.

    Attributes:
        ids: Target ids, (n,).
        tables: Their rows: "input", (n, d), and "output", (n, d_out), where the model is untied.
        provenance: Where each comes from, n of them.
        columns: Gives their bias, of the bias of the source tokens (|Vs|, 1) -> (n, 1), and their rows of further tables; None: by
            `Composition.bias`.
    """

    ids: Ints
    tables: Mapping[str, Floats]
    provenance: Sequence[Provenance]
    columns: Callable[[Floats], Floats] | None = None


@dataclass(frozen=True)
class Composition:
    """What the row of each target token is made of.

    A token belongs to the first of copies, dense rows, mixtures, draws that names it; one that none names gets the mean of the source rows.

    Attributes:
        copies: Target id -> the source token whose rows it takes bit by bit.
        mixtures: Weighted means of source rows; of a tied model they make the one table.
        output: Mixtures for the output table of an untied model; None: the same.
        dense: Rows that are given.
        drawn: Target ids whose rows are drawn at random, in this order.
        draw: draw(table, ids, rng) gives rows (len(ids), d) for a source table; None: from N(mean_d, std_d) of its rows.
        bias: Mixtures for the bias of the head and for tables beside input and output; None: those of the output table.
        low_rank: Gives coordinates (|Vs|, k) and a factor (k, d) of a source table: rows are made of coordinates, and multiplied with the
            factor; special tokens keep their exact rows. None: rows are made of rows.
        how: Provenance of mixtures, where it is not "combined", by target id.
        stats: What the method reports about its work; JSON values.
    """

    copies: Mapping[int, Match]
    mixtures: Mixtures = field(default_factory=lambda: Mixtures.of({}))
    output: Mixtures | None = None
    dense: Dense | None = None
    drawn: Sequence[int] = ()
    draw: Draw | None = None
    bias: Mixtures | None = None
    low_rank: LowRank | None = None
    how: Mapping[int, How] = field(default_factory=dict)
    stats: Mapping[str, Any] = field(default_factory=dict)


def compose(task: Transplant, made: Composition, name: str) -> Rows:
    """Make the rows.

    Args:
        task: The transplant.
        made: What they are made of.
        name: Of the method; names its random streams, one for each table.
    """
    new = {part: _table(task, made, part, table, task.rng(f"{name} {part}")) for part, table in task.tables.items()}
    bias = None if task.bias is None else _columns(task, made, task.bias[:, None])[:, 0].copy()
    columns = None if task.columns is None else _columns(task, made, task.columns)
    return Rows(new["input"], new.get("output"), bias, _provenance(task, made), made.stats, columns)


def _mixtures(made: Composition, part: str) -> Mixtures:
    return made.mixtures if part == "input" or made.output is None else made.output


def _table(task: Transplant, made: Composition, part: str, table: Floats, rng: np.random.Generator) -> Floats:
    old, factor = (table, None) if made.low_rank is None else made.low_rank(table)
    mixtures = _mixtures(made, part)
    new = _start(task, made, mixtures, old)
    if len(made.drawn):
        drawn = draw_normal(old, task.live, len(made.drawn), rng) if made.draw is None else made.draw(old, made.drawn, rng)
        new[np.asarray(made.drawn, dtype=np.int64)] = drawn
    new[mixtures.ids] = mixtures.rows(old)
    if made.dense is not None:
        new[made.dense.ids] = made.dense.tables[part]
    _copy(new, old, made.copies)
    if factor is not None:
        new = (new @ factor).astype(np.float32)
        _copy(new, table, task.specials)
    return new


def _columns(task: Transplant, made: Composition, old: Floats) -> Floats:
    """Bias or further tables, (|Vs|, k) -> (|Vt|, k): as the output rows are made; rows without weights get the mean."""
    mixtures = made.bias if made.bias is not None else _mixtures(made, "input" if task.tied else "output")
    new = np.empty((len(task.target), old.shape[1]), dtype=np.float32)
    new[:] = mean_row(rows_of(old, task.live))
    new[mixtures.ids] = mixtures.rows(old)
    if made.dense is not None and made.dense.columns is not None:
        new[made.dense.ids] = made.dense.columns(old)
    _copy(new, old, made.copies)
    return new


def _start(task: Transplant, made: Composition, mixtures: Mixtures, table: Floats) -> Floats:
    """A new table with the mean of the source rows wherever nothing else is known; it is only computed if there is such a token."""
    new, left = np.zeros((len(task.target), table.shape[1]), dtype=np.float32), np.ones(len(task.target), dtype=bool)
    for ids in (mixtures.ids, made.drawn, list(made.copies), () if made.dense is None else made.dense.ids):
        left[np.asarray(ids, dtype=np.int64)] = False
    if left.any():
        new[left] = mean_row(rows_of(table, task.live))
    return new


def _copy(new: Floats, old: Floats, copies: Mapping[int, Match]) -> None:
    if copies:
        new[list(copies)] = old[[match.source for match in copies.values()]]


def draw_normal(table: Floats, live: Ints, count: int, rng: np.random.Generator) -> Floats:
    """Independent draws from N(mean_d, std_d) of the rows `live`, (count, d)."""
    mean, std = moments(table, live)
    return (mean + std * rng.standard_normal((count, table.shape[1]))).astype(np.float32)


def _provenance(task: Transplant, made: Composition) -> tuple[Provenance, ...]:
    """Where the input row of every target id comes from."""
    found = [Provenance("fallback")] * len(task.target)
    for number in made.drawn:
        found[number] = Provenance("random")
    for number, sources in zip(made.mixtures.ids.tolist(), made.mixtures.heaviest()):
        found[number] = Provenance(made.how.get(number, "combined"), sources)
    if made.dense is not None:
        for number, way in zip(made.dense.ids.tolist(), made.dense.provenance, strict=True):
            found[number] = way
    for number, match in made.copies.items():
        found[number] = Provenance("copied" if match.level in ("exact", "bytes") else "role", (match.source,))
    return tuple(found)
