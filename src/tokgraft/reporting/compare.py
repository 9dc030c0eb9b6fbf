"""Intervals and paired differences for every group, stage and task; the only place of the report that does statistics."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tokgraft.cells import Stage, TaskScore
from tokgraft.config.layout import CONTROL
from tokgraft.reporting.evidence import Evidence, Group
from tokgraft.scoring.statistics import FEWEST, Difference, Interval, holm, paired_difference, score_interval

REFERENCES = (CONTROL, "random", "mean")


@dataclass(frozen=True)
class Comparison:
    """A group minus a reference on one task.

    Attributes:
        group: What is compared.
        stage: At which stage.
        task: Slug of the task; `metric` its metric.
        reference: What it is compared with: a method of the same place and stage (`mean`), `own init` (the same cells before training),
            `untouched` (the original model before any training), or the plain initialiser of a chain (`plain mean`).
        difference: The paired difference.
        p_holm: p-value corrected over the methods compared with the same reference.
    """

    group: Group
    stage: Stage
    task: str
    metric: str
    english: bool
    reference: str
    difference: Difference
    p_holm: float

    @property
    def is_bits(self) -> bool:
        """Whether the task measures bits per byte, of which fewer are better; of all other metrics more are."""
        return self.metric == "bits_per_byte"

    @property
    def better(self) -> bool | None:
        """True: better than the reference; False: worse; None: no claim, for the interval includes 0 or there are too few units."""
        return better(self.difference, self.is_bits)

    @property
    def claim(self) -> str:
        """The claim in words."""
        return claim_of(self.difference, self.is_bits)


def better(difference: Difference, is_bits: bool = True) -> bool | None:
    """Whether a claimed difference is for the better: fewer bits per byte, or more right answers; None: no claim."""
    return (difference.mean < 0) == is_bits if difference.claimed else None


def claim_of(difference: Difference, is_bits: bool = True) -> str:
    """What a difference allows to say."""
    if not difference.enough:
        return f"no claim: fewer than {FEWEST} {difference.unit}s"
    return {True: "better", False: "worse", None: "no claim: the interval includes 0"}[better(difference, is_bits)]


def interval(evidence: Evidence, group: Group, stage: Stage, task: str) -> Interval | None:
    """Score of a task over the seeds of a group, with its interval."""
    tasks = group.tasks(stage, task)
    if not tasks:
        return None
    return score_interval([evidence.samples(one) for one in tasks])


def compare(evidence: Evidence, group: Group, stage: Stage, other: Group, other_stage: Stage, task: str) -> Difference | None:
    """Paired difference of two groups on a task; None where one of them was not scored.

    Raises:
        DataError: The two were scored on different documents.
    """
    ours, theirs = _paired(group, stage, other, other_stage, task)
    if not ours or not theirs:
        return None
    left, right = ([evidence.samples(one) for one in side] for side in (ours, theirs))
    return paired_difference(left, right)


def comparisons(evidence: Evidence) -> list[Comparison]:
    """Every group against every reference, at every stage, on every task."""
    found: list[Comparison] = []
    for place in evidence.places:
        groups = evidence.within(place)
        for task in evidence.task_slugs(groups):
            for group in groups:
                found += [one for stage in group.outcomes for one in _against_references(evidence, group, stage, task)]
    return _corrected(found)


def _against_references(evidence: Evidence, group: Group, stage: Stage, task: str) -> list[Comparison]:
    found = []
    for name, other, other_stage in _references(evidence, group, stage):
        difference = compare(evidence, group, stage, other, other_stage, task)
        if difference is not None:
            score = group.tasks(stage, task)[0]
            found.append(Comparison(group, stage, task, score.metric, score.english, name, difference, 1.0))
    return found


def _references(evidence: Evidence, group: Group, stage: Stage) -> Iterable[tuple[str, Group, Stage]]:
    for method in REFERENCES:
        other = evidence.control(group, method)
        if other is not None and other is not group:
            yield method, other, stage
    plain = evidence.plain(group)
    if plain is not None and plain.method not in REFERENCES:
        yield f"plain {plain.method}", plain, stage
    if stage == "trained":
        yield "own init", group, "init"
        original = evidence.control(group, CONTROL)
        if original is not None and original is not group:
            yield "untouched", original, "init"


def _paired(group: Group, stage: Stage, other: Group, other_stage: Stage, task: str) -> tuple[list[TaskScore], list[TaskScore]]:
    """Scores of the seeds that both have, in the same order; a side that was run with a single seed is compared with every seed of the other.

    A side of several seeds of which one alone was scored is not spread over the others: that would count a score several times.
    """
    ours, theirs = _by_seed(group, stage, task), _by_seed(other, other_stage, task)
    if len(group.cells) > 1 and len(other.cells) > 1:
        shared = sorted(set(ours) & set(theirs))
        return [ours[seed] for seed in shared], [theirs[seed] for seed in shared]
    return [ours[seed] for seed in sorted(ours)], [theirs[seed] for seed in sorted(theirs)]


def _by_seed(group: Group, stage: Stage, task: str) -> dict[int, TaskScore]:
    found: dict[int, TaskScore] = {}
    for outcome in group.outcomes.get(stage, ()):
        if outcome.score is not None:
            for one in outcome.score.tasks:
                if one.slug == task and one.metric:
                    found[outcome.cell.seed] = one
    return found


def _corrected(found: list[Comparison]) -> list[Comparison]:
    """Holm over the methods compared with the same reference in the same place, stage and task."""
    families: dict[tuple[object, ...], dict[str, float]] = {}
    for index, one in enumerate(found):
        families.setdefault((one.group.place, one.stage, one.task, one.reference), {})[str(index)] = one.difference.p
    corrected = {name: value for family in families.values() for name, value in holm(family).items()}
    return [Comparison(**{**one.__dict__, "p_holm": corrected[str(index)]}) for index, one in enumerate(found)]
