"""Parts that methods share: statistics of a table, copies of the overlap, combinations of rows. Plain functions on arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from tokgraft.methods._contract import Floats, How, Provenance, Rows, Transplant
from tokgraft.numerics.sums import mean_row, moments, rows_of, weighted_sums
from tokgraft.overlap import Match

Matches = Mapping[int, Match]
Draw = Callable[[Floats, Floats, list[int], np.random.Generator], None]


def tables(task: Transplant) -> list[tuple[str, Floats]]:
    """The tables to fill: ("input", E), and ("output", U) when the model is untied."""
    return [("input", task.E)] if task.tied else [("input", task.E), ("output", task.U)]


def start(table: Floats, live: npt.NDArray[np.int64], size: int, *later: Iterable[int]) -> Floats:
    """A new table (size, d) filled with the mean of the source rows, which is what a token gets that nothing is known about.

    Rows whose ids are in one of `later` are 0 until the caller sets them: the mean is only taken where one is left.
    """
    new, left = np.zeros((size, table.shape[1]), dtype=np.float32), np.ones(size, dtype=bool)
    for ids in later:
        left[np.fromiter(ids, dtype=np.int64)] = False
    if left.any():
        new[left] = mean_row(rows_of(table, live))
    return new


def copy_matches(new: Floats, table: Floats, matches: Matches) -> None:
    """Copy the row of each match, bit by bit, into `new`."""
    if matches:
        new[list(matches)] = table[[match.source for match in matches.values()]]


def combine_mean(new: Floats, table: Floats, pieces: Mapping[int, Sequence[int]]) -> None:
    """Set each target row to the mean of the source rows of its pieces; a single piece is copied bit by bit."""
    lengths = np.array([len(ids) for ids in pieces.values()], dtype=np.int64)
    if not lengths.any():
        return
    numbers = np.array(list(pieces), dtype=np.int64)
    ends = np.cumsum([0, *lengths])
    ids = np.fromiter(chain.from_iterable(pieces.values()), np.int64, ends[-1])
    single, many = lengths == 1, lengths > 0
    new[numbers[many]] = weighted_sums(np.ones(len(ids)), ids, ends[np.append(True, many)], table, lengths[many])
    new[numbers[single]] = table[ids[ends[:-1][single]]]


def draw_normal(new: Floats, table: Floats, live: npt.NDArray[np.int64], ids: Iterable[int], rng: np.random.Generator) -> None:
    """Set rows `ids` to independent draws from N(mean_d, std_d) of the source rows, in the order given."""
    numbers = list(ids)
    if not numbers:
        return
    mean, std = moments(table, live)
    new[numbers] = (mean + std * rng.standard_normal((len(numbers), table.shape[1]))).astype(np.float32)


def head_bias(task: Transplant, matches: Matches, pieces: Mapping[int, Sequence[int]]) -> Floats | None:
    """Bias of the head: copied for matches, mean over pieces otherwise, mean of all where there are none. As `task.bias`, or None."""
    return bias_by(task, matches, lambda new, column: combine_mean(new, column, pieces))


def bias_by(task: Transplant, matches: Matches, fill: Callable[[Floats, Floats], None]) -> Floats | None:
    """Bias of the head by what makes the rows: `fill(new, old)` sets values of new columns (n, k); copied for matches. As `task.bias`, or None."""
    if task.bias is None:
        return None
    columns = task.bias.reshape(len(task.bias), -1)
    new = start(columns, task.live, len(task.target))
    fill(new, columns)
    copy_matches(new, columns, matches)
    return new.reshape(len(new), *task.bias.shape[1:])


def drawn_rows(task: Transplant, name: str, matches: Matches, draw: Draw, stats: Mapping[str, Any] | None = None) -> Rows:
    """Rows of a method that copies matches and draws everything else, in canonical order and for each table on its own.

    Args:
        task: The transplant.
        name: Of the method, for the generators.
        matches: What is copied.
        draw: draw(new, table, ids, rng) sets the rows `ids` of `new`, given the source's table.
        stats: What the method wants to tell.
    """
    drawn = [number for number in task.target.canonical_order if number not in matches]
    new = {}
    for which, table in tables(task):
        new[which] = start(table, task.live, len(task.target))
        draw(new[which], table, drawn, task.rng(f"{name} {which}"))
        copy_matches(new[which], table, matches)
    made = provenance(task, matches, dict.fromkeys(drawn, Provenance("random")))
    return Rows(new["input"], new.get("output"), head_bias(task, matches, {}), made, stats or {})


def provenance(task: Transplant, matches: Matches, other: Mapping[int, Provenance]) -> tuple[Provenance, ...]:
    """Provenance of every target id: matches first, then `other`, then fallback."""
    found = [Provenance("fallback")] * len(task.target)
    for number, way in other.items():
        found[number] = way
    for number, match in matches.items():
        how: How = "copied" if match.level in ("exact", "bytes") else "role"
        found[number] = Provenance(how, (match.source,))
    return tuple(found)


def specials(task: Transplant) -> dict[int, Match]:
    """The matches of special tokens only."""
    return {number: match for number, match in task.overlap.items() if task.target[number].kind == "special"}


def made(rows: Rows) -> npt.NDArray[np.int64]:
    """Ids of the rows that were made and not copied, ascending."""
    return np.array([number for number, way in enumerate(rows.provenance) if way.how not in ("copied", "role")], dtype=np.int64)
