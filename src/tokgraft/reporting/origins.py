"""Where the rows of a new vocabulary come from: what is known, without a further experiment, of why a method leads.

Copied rows are those of the base model; made rows follow from other rows (combined, mapped through another model's space, or trained);
a fallback is the mean of the base's rows, for want of anything better; the rest is sampled at random.
"""

from __future__ import annotations

from dataclasses import dataclass

from tokgraft.cells import Combination, RunCell
from tokgraft.frame import ROWS, Frame
from tokgraft.reporting.sections import Section
from tokgraft.reporting.words import listed

# A stand-in is read like the special token of the base whose input row it has.
COPIED, FALLBACK, RANDOM = ("copied", "role", "stand_in"), ("fallback",), ("random",)
KINDS = ("copied", "made", "fallback", "random")
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
        return dict(zip(KINDS, (self.share(*kinds) for kinds in (COPIED, self.made, FALLBACK, RANDOM)), strict=True))


def cell_origins(frame: Frame, cell: RunCell) -> Origins | None:
    """What the transplant of a cell recorded; None where no record is here."""
    rows = [row for row in frame.of_cell(cell, "init") if row.metric.startswith(ROWS)]
    counts = {row.metric.removeprefix(ROWS): int(row.value) for row in rows}
    return Origins(counts) if sum(counts.values()) else None


def origins(frame: Frame, one: Combination) -> Origins | None:
    """What the transplant of the first seed that has one recorded: the shares follow from the two vocabularies."""
    return next((found for cell in frame.combinations[one] if (found := cell_origins(frame, cell))), None)


def words(section: Section) -> list[str]:
    """What the shares say about the differences between the transplants of a model and language."""
    known = [(row, found) for row in section.rows if not row.is_control and (found := origins(section.frame, row))]
    sentences = []
    for tokenizer in dict.fromkeys(row.tokenizer for row, _ in known):
        copying = [(row, found) for row, found in known if row.tokenizer == tokenizer and found.share(*COPIED) > 0.05]
        shares = [found.share(*COPIED) for _, found in copying]
        if len(copying) > 1 and max(shares) - min(shares) < SHOWN:
            sentences.append(
                f"{listed([section.label(row) for row, _ in copying])} copy the same {_percent(shares[0])} of the tokens of {tokenizer}, "
                "so what separates them is how the other rows are made, and what refiners or training do to all."
            )
    for row, found in known:
        for kind, what in ((FALLBACK, "falls back to the mean row"), (RANDOM, "samples the row at random")):
            if 0.01 <= (share := found.share(*kind)) < 0.99:
                sentences.append(f"{section.label(row)} {what} for {_percent(share)} of the tokens.")
    return sentences


def _percent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.095 else f"{share:.1%}"
