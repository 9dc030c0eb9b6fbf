"""What methods share that learn from a donor: another model's tables, which have a row for every target token.

The donor owns the target tokenizer. Tokens of both vocabularies are anchors: they have a row in the donor's space and one in the base's.
A method turns the donor's row of a new token into a row of the base by means of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from tokgraft.errors import DataError, UnavailableError
from tokgraft.methods._contract import Floats, How, Provenance, Rows, Transplant
from tokgraft.methods._rows import copy_matches, head_bias, provenance, start
from tokgraft.numerics.sums import finite

Doubles = npt.NDArray[np.float64]
Ids = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
NEARER = (
    "take a donor trained on more text, a tokenizer nearer to the base's, a lower k where the method has one, or a method without a donor"
)
SHOWN = 16  # so many sources of a combined row are recorded


@dataclass(frozen=True)
class Donor:
    """The tables of a model that owns the target tokenizer.

    Attributes:
        E: Input table, (|Vt|, d_donor), float32; a row of zeros is a token that the donor does not know.
        U: Output table, the same object as `E` when the donor is tied.
    """

    E: Floats
    U: Floats

    @property
    def tied(self) -> bool:
        """Whether input and output table are one."""
        return self.U is self.E


@dataclass(frozen=True)
class Side:
    """One table to fill, seen through the donor.

    Attributes:
        name: "input" or "output".
        X: Donor rows of the new tokens, (n, d_donor).
        A: Donor rows of the anchors, (m, d_donor).
        B: Base rows of the anchors, (m, d).
        means: Gives the means over all rows of tokens that both models have, (d_donor,) and (d,), float64.
    """

    name: str
    X: Floats
    A: Floats
    B: Floats
    means: Callable[[], tuple[Doubles, Doubles]]


@dataclass(frozen=True)
class Made:
    """New rows of one side.

    Attributes:
        rows: (n, d).
        used: For each row the anchors it is made from, as places in `Side.A`, the weightiest first, (n, k), -1 after the last one; None
            where rows are made from all.
        failed: Which rows mean nothing, (n,); they become fallbacks.
        stats: What to tell about them.
    """

    rows: Floats
    used: Ids | None = None
    failed: Flags | None = None
    stats: Mapping[str, Any] = field(default_factory=dict)


def transfer(task: Transplant, how: How, make: Callable[[Side], Made], *, at_least: int = 1) -> Rows:
    """Copy the overlap and fill the rest by `make`, once for each table of the base; tied donors serve both with their one table.

    Anchors and new tokens stand in canonical order, so that results do not depend on ids. Special tokens whose place is taken by another
    role are copied but are no anchors. A new token whose donor row is zero becomes a fallback, an anchor whose row is zero is left out;
    both are counted.

    Args:
        task: The transplant; its resource `donor` is a `Donor`.
        how: Provenance of made rows.
        make: Makes the rows of one side.
        at_least: Anchors that are needed.

    Raises:
        DataError: The donor's tables do not fit the target vocabulary, hold NaN, or too few tokens are shared, or no text token is.
    """
    donor: Donor = task.resources["donor"]
    _check(donor, len(task.target))
    matches = task.overlap
    known: Flags = np.asarray(donor.E.any(axis=1))
    if not donor.tied:
        known &= donor.U.any(axis=1)
    order = np.array(task.target.canonical_order, dtype=np.int64)
    shared = np.array([number in matches and matches[number].level != "substitute" for number in order.tolist()], dtype=bool)
    fresh = np.array([number not in matches for number in order.tolist()], dtype=bool)
    anchors, new_ids = order[shared & known[order]], order[fresh & known[order]]
    origin = np.array([matches[number].source for number in anchors.tolist()], dtype=np.int64)
    if len(new_ids) and len(anchors) < at_least:
        raise UnavailableError(
            f"{len(anchors)} tokens are shared by both vocabularies and known to the donor, {at_least} are needed", NEARER
        )
    if len(new_ids) and all(task.target[number].kind == "special" for number in anchors.tolist()):
        raise UnavailableError(
            "no text token is shared by both vocabularies and known to the donor: the two spaces have nothing in common", NEARER
        )
    stats = {"anchors": len(anchors), "zero_donor_rows": int((~known[order]).sum())}
    new, made = {}, dict.fromkeys(new_ids.tolist(), Provenance(how))
    failed: Flags = np.zeros(len(new_ids), dtype=bool)
    for name, table, theirs in _tables(task, donor):
        new[name] = start(table, task.live, len(task.target), new_ids, matches)
        if len(new_ids):
            result = make(Side(name, theirs[new_ids], theirs[anchors], table[origin], partial(_means, theirs, order, table, task.live)))
            new[name][new_ids] = result.rows
            if result.failed is not None:
                failed |= result.failed
            stats |= {key if name == "input" else f"{name}_{key}": value for key, value in result.stats.items()}
            if name == "input" and result.used is not None:
                for number, sources in zip(new_ids.tolist(), _shown(result.used[:, :SHOWN], origin)):
                    made[number] = Provenance(how, tuple(sources))
    made |= dict.fromkeys(new_ids[failed].tolist(), Provenance("fallback"))
    for name, table, _ in _tables(task, donor):
        if failed.any():  # a row that means nothing in one table is a fallback in both
            new[name][new_ids[failed]] = start(table, task.live, 1)
        copy_matches(new[name], table, matches)
    stats["fallbacks"] = int(failed.sum() + (fresh & ~known[order]).sum())
    bias = head_bias(task, matches, task.pieces) if task.bias is not None else None
    return Rows(new["input"], new.get("output"), bias, provenance(task, matches, made), stats)


def _means(theirs: Floats, order: Ids, table: Floats, live: Ids) -> tuple[Doubles, Doubles]:
    return theirs[order].mean(axis=0, dtype=np.float64), table[live].mean(axis=0, dtype=np.float64)


def _shown(used: Ids, origin: Ids) -> list[list[int]]:
    """Source ids of the anchors of each row."""
    found: list[list[int]] = origin[used].tolist()
    counts = (used >= 0).sum(axis=1).tolist()
    return [sources[:count] for sources, count in zip(found, counts)]


def blocks(rows: int, size: int) -> Iterator[slice]:
    """Slices of at most `size` of `rows` rows."""
    for begin in range(0, rows, max(size, 1)):
        yield slice(begin, min(begin + max(size, 1), rows))


def _tables(task: Transplant, donor: Donor) -> list[tuple[str, Floats, Floats]]:
    """Each table of the base with the donor's that stands beside it."""
    return [("input", task.E, donor.E)] if task.tied else [("input", task.E, donor.E), ("output", task.U, donor.U)]


def _check(donor: Donor, size: int) -> None:
    for table in (donor.E,) if donor.tied else (donor.E, donor.U):
        if len(table) != size:
            raise DataError(
                f"the donor has {len(table)} rows, the target vocabulary {size} ids",
                "make the donor for this tokenizer: tokgraft resource --name donor --tokenizer DIR ...",
            )
        if not finite(table):
            bad = np.flatnonzero(~np.isfinite(table).all(axis=1))
            raise DataError(f"the donor's table holds NaN or Inf in {len(bad)} rows, first {bad[:5].tolist()}", "make the donor again")
