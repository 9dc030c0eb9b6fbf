"""Where the rows of a new vocabulary come from: what is known, without a further experiment, of why a method leads.

Copied rows are those of the base model; made rows follow from other rows (combined, mapped through another model's space, or trained);
a fallback is the mean of the base's rows, for want of anything better; the rest is sampled at random.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tokgraft.cells import RunCell
from tokgraft.reporting.evidence import Group, transplant_facts

if TYPE_CHECKING:
    from tokgraft.reporting.summary import Summary  # which reads tables, and these read shares from here

# A stand-in is read like the special token of the base whose input row it has.
COPIED, FALLBACK, RANDOM = ("copied", "role", "stand_in"), ("fallback",), ("random",)
SHOWN = 0.005  # a share below this is not worth a sentence


@dataclass(frozen=True)
class Origins:
    """Provenance of a new vocabulary -> number of rows."""

    counts: dict[str, int]

    def share(self, *kinds: str) -> float:
        """Share of the rows that are of these kinds."""
        return sum(self.counts.get(kind, 0) for kind in kinds) / sum(self.counts.values())

    @property
    def made(self) -> tuple[str, ...]:
        """The kinds of rows that the method made."""
        return tuple(kind for kind in sorted(self.counts) if kind not in (*COPIED, *FALLBACK, *RANDOM))

    @property
    def shares(self) -> dict[str, float]:
        """Shares of the rows that are copied, made, fallbacks, and sampled at random; they sum to 1."""
        return {
            "copied": self.share(*COPIED),
            "made": self.share(*self.made),
            "fallback": self.share(*FALLBACK),
            "random": self.share(*RANDOM),
        }


def origins(cell: RunCell) -> Origins | None:
    """What the transplant of a cell recorded; None where no record is here."""
    facts = transplant_facts(cell).items()
    counts = {key.removeprefix("how/"): int(value) for key, value in facts if key.startswith("how/")}
    return Origins(counts) if sum(counts.values()) else None


def of_group(group: Group) -> Origins | None:
    """What the transplant of the first seed that has one recorded: the shares follow from the two vocabularies."""
    return next((found for cell in group.cells if (found := origins(cell))), None)


def words(rows: Sequence[Summary]) -> list[str]:
    """What the shares say about the differences between the transplants of a model and language."""
    known = [(row, found) for row in rows if not row.is_control and (found := of_group(row.group))]
    said = []
    for tokenizer in dict.fromkeys(row.group.tokenizer for row, _ in known):
        copying = [(row, found) for row, found in known if row.group.tokenizer == tokenizer and found.share(*COPIED) > 0.05]
        shares = [found.share(*COPIED) for _, found in copying]
        if len(copying) > 1 and max(shares) - min(shares) < SHOWN:
            said.append(
                f"{_listed([row.label for row, _ in copying])} copy the same {_percent(shares[0])} of the tokens of {tokenizer}, "
                "so what separates them is how the other rows are made, and what refiners or training do to all."
            )
    for row, found in known:
        for kind, what in ((FALLBACK, "falls back to the mean row"), (RANDOM, "samples the row at random")):
            if 0.01 <= (share := found.share(*kind)) < 0.99:
                said.append(f"{row.label} {what} for {_percent(share)} of the tokens.")
    return said


def _percent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.095 else f"{share:.1%}"


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}"
