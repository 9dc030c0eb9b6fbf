"""Who leads among the transplants of a section, and whom the pages cannot tell apart from it."""

from __future__ import annotations

from dataclasses import dataclass

from tokgraft.cells import Combination, Stage
from tokgraft.reporting.sections import Section
from tokgraft.scoring.statistics import Interval


@dataclass(frozen=True)
class Leaders:
    """The best of the transplanted models at a stage.

    Attributes:
        best: The one with the fewest bits per byte.
        tied: Others that no claim sets apart from it, each with its difference (best minus it).
        runner_up: The first that is worse beyond its interval, with the difference; None when no claim can be made.
    """

    best: Combination
    tied: list[tuple[Combination, Interval]]
    runner_up: tuple[Combination, Interval] | None

    @property
    def differences(self) -> list[Interval]:
        """Those between the best and the others that the leaders name."""
        return [difference for _, difference in [*self.tied, *([self.runner_up] if self.runner_up else [])]]

    @property
    def named(self) -> list[Combination]:
        """The best and the others, the best first."""
        return [self.best, *(row for row, _ in self.tied), *([self.runner_up[0]] if self.runner_up else [])]

    @property
    def enough(self) -> bool:
        """Whether they were compared on enough pages to name an order."""
        return all(difference.enough for difference in self.differences)


def leaders(section: Section, stage: Stage) -> Leaders | None:
    """Who leads among the transplanted models of a section; None with fewer than two that can be compared."""
    rows = section.ranked(stage)
    compared = [(row, section.frame.difference(rows[0], stage, row, stage, section.task)) for row in rows[1:]]
    others = [(row, difference) for row, difference in compared if difference is not None]
    if not others:
        return None
    tied = [(row, difference) for row, difference in others if not _behind(difference)]
    return Leaders(rows[0], tied, next(((row, difference) for row, difference in others if _behind(difference)), None))


def _behind(difference: Interval) -> bool:
    """Whether the other is worse beyond its interval; where seeds are missing, those that two models share may say the opposite of the means."""
    return difference.claimed and difference.mean < 0
