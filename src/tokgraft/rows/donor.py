"""What methods share that learn from a donor: another model's tables, which have a row for every target token.

The donor owns the target tokenizer. Tokens of both vocabularies are anchors: they have a row in the donor's space and one in the base's.
A method turns the donor's row of a new token into a row of the base by means of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from tokgraft.errors import DataError, UnavailableError
from tokgraft.numerics.sums import finite
from tokgraft.numerics.types import Doubles, Flags, Floats, Ints
from tokgraft.rows.composition import Composition, Dense
from tokgraft.rows.contract import How, Provenance, Transplant
from tokgraft.rows.mixtures import Mixtures

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
class DonorSide:
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
        used: For each row the anchors it is made from, as places in `DonorSide.A`, the weightiest first, (n, k), -1 after the last one; None
            where rows are made from all.
        failed: Which rows mean nothing, (n,); they become fallbacks.
        stats: What to tell about them.
    """

    rows: Floats
    used: Ints | None = None
    failed: Flags | None = None
    stats: Mapping[str, Any] = field(default_factory=dict)


def transfer(task: Transplant, how: How, make: Callable[[DonorSide], Made], *, at_least: int = 1) -> Composition:
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
    known: Flags = np.asarray(donor.E.any(axis=1))
    if not donor.tied:
        known &= donor.U.any(axis=1)
    order = np.array(task.target.canonical_order, dtype=np.int64)
    matches = [task.overlap.get(number) for number in order.tolist()]
    shared = np.array([match is not None and match.level != "substitute" for match in matches], dtype=bool)
    fresh = np.array([match is None for match in matches], dtype=bool)
    anchors, new_ids = order[shared & known[order]], order[fresh & known[order]]
    if len(new_ids):
        _check_anchors(task, anchors, at_least)
    origin = np.array([task.overlap[number].source for number in anchors.tolist()], dtype=np.int64)
    results = {
        name: make(DonorSide(name, theirs[new_ids], theirs[anchors], table[origin], partial(_means, theirs, order, table, task.live)))
        for name, table, theirs in _tables(task, donor)
        if len(new_ids)
    }
    failed: Flags = np.zeros(len(new_ids), dtype=bool)  # a row that means nothing in one table is a fallback in both
    stats = {"anchors": len(anchors), "zero_donor_rows": int((~known[order]).sum())}
    for name, made in results.items():
        failed |= False if made.failed is None else made.failed
        stats |= {key if name == "input" else f"{name}_{key}": value for key, value in made.stats.items()}
    used = results["input"].used if results else None
    sources = [()] * len(new_ids) if used is None else _shown(used[:, :SHOWN], origin)
    kept = np.flatnonzero(~failed)
    dense = Dense(
        new_ids[kept],
        {name: made.rows if len(kept) == len(new_ids) else made.rows[kept] for name, made in results.items()},
        [Provenance(how, sources[place]) for place in kept.tolist()],
    )
    stats["fallbacks"] = int(failed.sum() + (fresh & ~known[order]).sum())
    wanted = task.bias is not None or task.columns is not None
    bias = Mixtures.means(task.pieces) if wanted else None
    return Composition(task.overlap, dense=dense if len(new_ids) else None, bias=bias, stats=stats)


def _check_anchors(task: Transplant, anchors: Ints, at_least: int) -> None:
    if len(anchors) < at_least:
        raise UnavailableError(
            f"{len(anchors)} tokens are shared by both vocabularies and known to the donor, {at_least} are needed", NEARER
        )
    if all(task.target[number].kind == "special" for number in anchors.tolist()):
        raise UnavailableError(
            "no text token is shared by both vocabularies and known to the donor: the two spaces have nothing in common", NEARER
        )


def _means(theirs: Floats, order: Ints, table: Floats, live: Ints) -> tuple[Doubles, Doubles]:
    return theirs[order].mean(axis=0, dtype=np.float64), table[live].mean(axis=0, dtype=np.float64)


def _shown(used: Ints, origin: Ints) -> list[tuple[int, ...]]:
    """Source ids of the anchors of each row."""
    found: list[list[int]] = origin[used].tolist()
    counts = (used >= 0).sum(axis=1).tolist()
    return [tuple(sources[:count]) for sources, count in zip(found, counts)]


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
