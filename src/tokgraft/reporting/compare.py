"""Every combination against every reference, and what may be claimed of the differences."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from tokgraft.cells import Combination, Stage
from tokgraft.config.layout import CONTROL
from tokgraft.frame import Frame
from tokgraft.score_rows import BITS
from tokgraft.scoring.statistics import FEWEST, Interval, holm

REFERENCES = (CONTROL, "random", "mean")


@dataclass(frozen=True)
class Comparison:
    """A combination minus a reference on one task.

    Attributes:
        combination: What is compared.
        stage: At which stage.
        task: Slug of the task; `metric` its metric, `english` whether its text is English.
        reference: What it is compared with: a method of the same group and stage (`mean`), `own init` (the same cells before training),
            `untouched` (the original model before any training), or the plain initialiser of a chain (`plain mean`).
        difference: The paired difference.
        p_holm: p-value corrected over the methods compared with the same reference.
    """

    combination: Combination
    stage: Stage
    task: str
    metric: str
    english: bool
    reference: str
    difference: Interval
    p_holm: float

    @property
    def is_bits(self) -> bool:
        """Whether the task measures bits per byte, of which fewer are better; of all other metrics more are."""
        return self.metric == BITS

    @property
    def better(self) -> bool | None:
        """True: better than the reference; False: worse; None: no claim, for the interval includes 0 or there are too few units."""
        return better(self.difference, self.is_bits)

    @property
    def claim(self) -> str:
        """The claim in words."""
        return claim_of(self.difference, self.is_bits)


def better(difference: Interval, is_bits: bool = True) -> bool | None:
    """Whether a claimed difference is for the better: fewer bits per byte, or more right answers; None: no claim."""
    return (difference.mean < 0) == is_bits if difference.claimed else None


def claim_of(difference: Interval, is_bits: bool = True) -> str:
    """What a difference allows to say."""
    if not difference.enough:
        return f"no claim: fewer than {FEWEST} {difference.unit}s"
    return {True: "better", False: "worse", None: "no claim: the interval includes 0"}[better(difference, is_bits)]


def comparisons(frame: Frame) -> list[Comparison]:
    """Every combination against every reference, at every stage, on every task; p-values corrected by Holm."""
    found: list[Comparison] = []
    families: dict[tuple[object, ...], dict[str, float]] = {}
    for group, members in frame.groups.items():
        for task in frame.tasks(members):
            for one, stage in ((member, stage) for member in members for stage in frame.stages(member)):
                for reference, other, other_stage in _references(frame, one, stage):
                    difference = frame.difference(one, stage, other, other_stage, task)
                    if difference is not None:
                        row = frame.main_rows(one, stage, task)[0]
                        families.setdefault((group, stage, task, reference), {})[str(len(found))] = difference.p
                        found.append(Comparison(one, stage, task, row.metric, row.english, reference, difference, 1.0))
    corrected = {int(index): p for family in families.values() for index, p in holm(family).items()}
    return [replace(one, p_holm=corrected[index]) for index, one in enumerate(found)]


def _references(frame: Frame, one: Combination, stage: Stage) -> Iterable[tuple[str, Combination, Stage]]:
    for method in REFERENCES:
        other = frame.control(one, method)
        if other is not None and other != one:
            yield method, other, stage
    plain = frame.plain(one)
    if plain is not None and plain.method not in REFERENCES:
        yield f"plain {plain.method}", plain, stage
    if stage == "trained":
        yield "own init", one, "init"
        original = frame.control(one, CONTROL)
        if original is not None and original != one:
            yield "untouched", original, "init"
