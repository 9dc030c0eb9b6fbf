"""Who leads among the transplants of a place, and whom the pages cannot tell apart from it."""

from __future__ import annotations

from dataclasses import dataclass

from tokgraft.cells import Stage
from tokgraft.reporting.compare import compare
from tokgraft.reporting.evidence import Evidence
from tokgraft.reporting.summary import PlaceSummary, Summary
from tokgraft.scoring.statistics import Difference


@dataclass(frozen=True)
class Leaders:
    """The best of the transplanted models at a stage.

    Attributes:
        best: The one with the fewest bits per byte.
        tied: Others that no claim sets apart from it, each with its difference (best minus it).
        runner_up: The first that is worse beyond its interval, with the difference; None when no claim can be made.
    """

    best: Summary
    tied: list[tuple[Summary, Difference]]
    runner_up: tuple[Summary, Difference] | None

    @property
    def differences(self) -> list[Difference]:
        """Those between the best and the others that the leaders name."""
        return [difference for _, difference in [*self.tied, *([self.runner_up] if self.runner_up else [])]]

    @property
    def named(self) -> list[str]:
        """Labels of the best and of the others, the best first."""
        return [row.label for row in (self.best, *(row for row, _ in self.tied), *([self.runner_up[0]] if self.runner_up else []))]

    @property
    def enough(self) -> bool:
        """Whether they were compared on enough pages to name an order."""
        return all(difference.enough for difference in self.differences)


def leaders(evidence: Evidence, place: PlaceSummary, stage: Stage) -> Leaders | None:
    """Who leads among the transplanted models of a place; None with fewer than two that can be compared."""
    rows = sorted((row for row in place.transplants if stage in row.bits), key=lambda row: row.bits[stage].mean)
    compared = [(row, compare(evidence, rows[0].group, stage, row.group, stage, place.task)) for row in rows[1:]]
    others = [(row, difference) for row, difference in compared if difference is not None]
    if not others:
        return None
    tied = [(row, difference) for row, difference in others if not _behind(difference)]
    return Leaders(rows[0], tied, next(((row, difference) for row, difference in others if _behind(difference)), None))


def _behind(difference: Difference) -> bool:
    """Whether the other is worse beyond its interval; where seeds are missing, those that two models share may say the opposite of the means."""
    return difference.claimed and difference.mean < 0
