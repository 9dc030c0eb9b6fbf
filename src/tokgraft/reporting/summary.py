"""One summary per group (its seeds taken together): what figures, findings and the page show."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean

from tokgraft.cells import STAGES, Stage
from tokgraft.config.layout import CONTROL
from tokgraft.reporting.compare import Comparison, interval
from tokgraft.reporting.evidence import Cost, Evidence, Group, training_cost
from tokgraft.reporting.measured import generation_speed
from tokgraft.scoring.statistics import Interval

Place = tuple[str, str, str]


@dataclass(frozen=True)
class Task:
    """A choice task of the report."""

    slug: str
    chance: float
    n: int
    baselines: dict[str, float]


@dataclass(frozen=True)
class Summary:
    """A method in one place (model, language, recipe), over its seeds.

    Attributes:
        group: The group.
        label: Name to show; the tokenizer is added where the place has several.
        bits: Stage -> bits per byte in the language.
        english: Stage -> bits per byte in English.
        accuracy: Stage -> task -> accuracy.
        facts: flat_guess, tokens_per_byte, tokens (size of the vocabulary) as scored.
        cost: Training totals, averaged over seeds.
        speed: Stage -> generation speed in bytes/s on the machine that scored.
        reasons: Stage -> why there is no score.
    """

    group: Group
    label: str
    bits: dict[Stage, Interval]
    english: dict[Stage, Interval]
    accuracy: dict[Stage, dict[str, Interval]]
    facts: dict[str, float]
    cost: Cost
    speed: dict[Stage, float]
    reasons: dict[Stage, str]

    @property
    def method(self) -> str:
        """Name of the method or chain."""
        return self.group.method

    @property
    def is_control(self) -> bool:
        """Whether it is the original model with its own tokenizer."""
        return self.method == CONTROL


@dataclass(frozen=True)
class PlaceSummary:
    """All that is compared with each other: one model, language and training recipe.

    Attributes:
        place: (model, language, recipe) slugs.
        model, language: Names for people.
        rows: One summary a method, best score of the last stage first, groups without a score last.
        tasks: Choice tasks scored here.
        comparisons: Every comparison within the place.
        stages: The stages that are scored here: `init` alone when it is zero-shot.
    """

    place: Place
    model: str
    language: str
    rows: list[Summary]
    tasks: list[Task]
    comparisons: list[Comparison]
    stages: tuple[Stage, ...] = STAGES

    @property
    def final(self) -> Stage:
        """The stage that methods are ranked by."""
        return self.stages[-1]

    @property
    def slug(self) -> str:
        """Name for files and anchors."""
        return "-".join(self.place)

    @property
    def best(self) -> Summary | None:
        """The transplant with the fewest bits per byte at the last stage."""
        rows = [row for row in self.rows if not row.is_control and self.final in row.bits]
        return min(rows, key=lambda row: row.bits[self.final].mean, default=None)

    @property
    def scored(self) -> list[Summary]:
        """Methods with a score at some stage."""
        return [row for row in self.rows if row.bits]

    @property
    def untouched(self) -> Interval | None:
        """Bits per byte of the original model before any training."""
        return next((row.bits["init"] for row in self.rows if row.is_control and "init" in row.bits), None)

    def against(self, method: str, reference: str, stage: Stage, task: str, tokenizer: str | None = None) -> Comparison | None:
        """A comparison of this place."""
        wanted = (method, reference, stage, task)
        for one in self.comparisons:
            same = (one.group.method, one.reference, one.stage, one.task) == wanted
            if same and tokenizer in (None, one.group.tokenizer):
                return one
        return None


def summarise(evidence: Evidence, comparisons: list[Comparison]) -> list[PlaceSummary]:
    """Summaries of every place."""
    found = []
    for place in evidence.places:
        groups = evidence.within(place)
        several = len({group.tokenizer for group in groups if group.method != CONTROL}) > 1
        rows = [_summary(evidence, group, several) for group in groups]
        rows.sort(key=lambda row: (*(_mean(row.bits.get(stage)) for stage in reversed(evidence.stages(place))), row.label))
        found.append(PlaceSummary(
            place, evidence.cells.name("models", place[0]), evidence.cells.name("languages", place[1]), rows,
            _tasks(groups), [one for one in comparisons if one.group.place == place], evidence.stages(place),
        ))  # fmt: skip
    return found


def bits_task(evidence: Evidence, english: bool = False) -> str:
    """Slug of the bits-per-byte task; empty when nothing was scored on one."""
    for group in evidence.groups:
        for stage in STAGES:
            for score in group.scores(stage):
                if task := score.bits_per_byte(english):
                    return task.slug
    return ""


def _summary(evidence: Evidence, group: Group, several: bool) -> Summary:
    bits: dict[Stage, Interval] = {}
    english: dict[Stage, Interval] = {}
    accuracy: dict[Stage, dict[str, Interval]] = {}
    speed: dict[Stage, float] = {}
    reasons: dict[Stage, str] = {}
    for stage in STAGES:
        scores = group.scores(stage)
        for outcome in group.outcomes.get(stage, ()):
            if outcome.score is None:
                reasons[stage] = outcome.reason
        if not scores:
            continue
        for into, is_english in ((bits, False), (english, True)):
            task = scores[0].bits_per_byte(is_english)
            found = interval(evidence, group, stage, task.slug) if task else None
            if found:
                into[stage] = found
        choices = {task.slug: interval(evidence, group, stage, task.slug) for task in scores[0].choices()}
        accuracy[stage] = {slug: one for slug, one in choices.items() if one is not None}
        speeds = [one for outcome in group.outcomes[stage] if (one := generation_speed(outcome)) is not None]
        if speeds:
            speed[stage] = fmean(speeds)
    label = f"{group.method} · {group.tokenizer}" if several and group.method != CONTROL else group.method
    return Summary(group, label, bits, english, accuracy, _facts(group), _cost(group), speed, reasons)


def _facts(group: Group) -> dict[str, float]:
    facts: dict[str, float] = {}
    for stage in STAGES:
        for score in group.scores(stage):
            for key in ("flat_guess", "tokens_per_byte", "tokens"):
                if (found := score.fact(key)) is not None:
                    facts.setdefault(key, found)
    return facts


def _cost(group: Group) -> Cost:
    costs = [training_cost(cell) for cell in group.cells if cell.reason is None]

    def mean(name: str) -> float | None:
        known = [value for cost in costs if (value := getattr(cost, name)) is not None]
        return fmean(known) if known else None

    return Cost(mean("bytes"), mean("tokens"), mean("steps"), mean("flops"), mean("seconds"))


def _tasks(groups: list[Group]) -> list[Task]:
    found: dict[str, Task] = {}
    for group in groups:
        for stage in STAGES:
            for score in group.scores(stage):
                for task in score.choices():
                    if task.chance is not None:
                        found.setdefault(task.slug, Task(task.slug, task.chance, task.n, task.baselines))
    return [found[slug] for slug in sorted(found)]


def _mean(found: Interval | None) -> float:
    return found.mean if found else float("inf")
