"""One summary per group (its seeds taken together): what figures, findings and the page show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tokgraft.cells import STAGES, CellSpeed, Stage, cell_speed
from tokgraft.config.layout import CONTROL
from tokgraft.reporting.compare import Comparison, interval
from tokgraft.reporting.evidence import Cost, Evidence, Group, average, training_cost
from tokgraft.reporting.words import counted
from tokgraft.scoring.statistics import Interval

Place = tuple[str, str, str]


@dataclass(frozen=True)
class Task:
    """A choice task of the report.

    Attributes:
        slug: Its name.
        chance: Accuracy of blind guessing.
        n: Items.
        pages: Pages that these come from; None where the task has none, and each item stands for itself.
        baselines: Accuracy of rules that never ask a model.
    """

    slug: str
    chance: float
    n: int
    pages: int | None
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
        speed: How fast the model is with this vocabulary beside the original.
        reasons: Stage -> why there is no score.
    """

    group: Group
    label: str
    bits: dict[Stage, Interval]
    english: dict[Stage, Interval]
    accuracy: dict[Stage, dict[str, Interval]]
    facts: dict[str, float]
    cost: Cost
    speed: CellSpeed
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
    """All that is compared with each other: one model, language, training recipe and bits-per-byte task.

    Attributes:
        place: (model, language, recipe) slugs.
        model, language: Names for people.
        rows: One summary a method, best score of the last stage first, groups without a score last.
        tasks: Choice tasks scored here.
        comparisons: Every comparison within the place.
        stages: The stages that are scored here: `init` alone when it is zero-shot.
        task: Slug of the bits-per-byte task of all its rows; empty when nothing was scored.
        one_of_several: Whether other rows of the same model, language and recipe were scored on another task: they are compared apart.
        where: Language and model for sentences, with what else tells the place from others.
    """

    place: Place
    model: str
    language: str
    rows: list[Summary]
    tasks: list[Task]
    comparisons: list[Comparison]
    stages: tuple[Stage, ...] = STAGES
    task: str = ""
    one_of_several: bool = False
    where: str = ""

    @property
    def final(self) -> Stage:
        """The stage that methods are ranked by."""
        return self.stages[-1]

    @property
    def slug(self) -> str:
        """Name for files and anchors."""
        return "-".join((*self.place, self.task) if self.one_of_several else self.place)

    @property
    def transplants(self) -> list[Summary]:
        """The rows with a new vocabulary, scored or not."""
        return [row for row in self.rows if not row.group.keeps_tokenizer]

    @property
    def best(self) -> Summary | None:
        """The transplant with the fewest bits per byte at the last stage."""
        rows = [row for row in self.transplants if self.final in row.bits]
        return min(rows, key=lambda row: row.bits[self.final].mean, default=None)

    @property
    def scored(self) -> list[Summary]:
        """Methods with a score at some stage."""
        return [row for row in self.rows if row.bits]

    @property
    def untouched(self) -> Interval | None:
        """Bits per byte of the original model before any training."""
        return next((row.bits["init"] for row in self.rows if row.is_control and "init" in row.bits), None)

    @property
    def control(self) -> Summary | None:
        """The original model with its own tokenizer, if it was run."""
        return next((row for row in self.rows if row.is_control), None)

    def against(self, row: Summary, reference: str, stage: Stage) -> Comparison | None:
        """A row's bits per byte minus those of a reference; None where one of the two was not scored."""
        return next((one for one in self.on_bits(reference, stage) if one.group is row.group), None)

    def on_bits(self, reference: str, stage: Stage, english: bool = False) -> list[Comparison]:
        """The comparisons of all rows with a reference on bits per byte, in the language or in English."""
        return [
            one
            for one in self.comparisons
            if (one.reference, one.stage, one.is_bits, one.english) == (reference, stage, True, english)
            and one.task == (one.group.bits_task(english=True) if english else self.task)
        ]


def asked_on(tasks: Sequence[Task]) -> str:
    """How many items choice tasks have, and on how many pages where the pages are known."""
    pages = [task.pages for task in tasks if task.pages is not None]
    return counted([task.n for task in tasks], "item") + (f" on {counted(pages, 'page')}" if pages else "")


def summarise(evidence: Evidence, comparisons: list[Comparison]) -> list[PlaceSummary]:
    """Summaries of every place, one for each bits-per-byte task that transplants of the place were scored on."""
    found = [_place(evidence, place, task, comparisons) for place in evidence.places for task in bits_tasks(evidence.within(place))]
    return [replace(place, where=_where(place, found)) for place in found]


def _where(place: PlaceSummary, places: Sequence[PlaceSummary]) -> str:
    """Language and model of a place; recipe and task only where others share these two."""
    rivals = [other for other in places if other.place[:2] == place.place[:2]]
    several = len({other.place[2] for other in rivals}) > 1
    parts = [place.model, *([place.place[2]] if several else []), *([place.task] if place.one_of_several else [])]
    return f"{place.language} ({', '.join(parts)})"


def _place(evidence: Evidence, place: Place, task: str, comparisons: list[Comparison]) -> PlaceSummary:
    everything = evidence.within(place)
    groups = [group for group in everything if measured_by(group, task)]
    if task == bits_tasks(everything)[0]:
        groups += [group for group in everything if not group.bits_task()]  # without a score: shown once, with the reason
    several = len({group.tokenizer for group in groups if not group.keeps_tokenizer}) > 1
    rows = [_summary(evidence, group, task, several) for group in groups]
    rows.sort(key=lambda row: (*(_mean(row.bits.get(stage)) for stage in reversed(evidence.stages(place))), row.label))
    shown = {id(group) for group in groups}
    within = [one for one in comparisons if id(one.group) in shown and (one.english or not one.is_bits or one.task == task)]
    return PlaceSummary(
        place, evidence.cells.name("models", place[0]), evidence.cells.name("languages", place[1]), rows, _tasks(groups), within,
        evidence.stages(place), task, len(bits_tasks(everything)) > 1,
    )  # fmt: skip


def bits_tasks(groups: Sequence[Group]) -> list[str]:
    """The bits-per-byte tasks of transplants; of the original where nothing else was scored. One empty name when nothing was."""
    found = dict.fromkeys(task for group in groups if not group.keeps_tokenizer and (task := group.bits_task()))
    return list(found) or [next((task for group in groups if (task := group.bits_task())), "")]


def measured_by(group: Group, task: str) -> bool:
    """Whether a group belongs to what this bits-per-byte task compares: it is the group's own, or that of the original model."""
    return group.bits_task() == task or (group.keeps_tokenizer and any(group.tasks(stage, task) for stage in group.outcomes))


def _summary(evidence: Evidence, group: Group, task: str, several: bool) -> Summary:
    bits: dict[Stage, Interval] = {}
    english: dict[Stage, Interval] = {}
    accuracy: dict[Stage, dict[str, Interval]] = {}
    reasons: dict[Stage, str] = {}
    for stage in STAGES:
        scores = group.scores(stage)
        for outcome in group.outcomes.get(stage, ()):
            if outcome.score is None:
                reasons[stage] = outcome.reason
        if not scores:
            continue
        for into, slug in ((bits, task), (english, group.bits_task(english=True))):
            if (found := interval(evidence, group, stage, slug)) is not None:
                into[stage] = found
        choices = {one.slug: interval(evidence, group, stage, one.slug) for one in scores[0].choices()}
        accuracy[stage] = {slug: one for slug, one in choices.items() if one is not None}
    label = f"{group.method} · {group.tokenizer}" if several and not group.keeps_tokenizer else group.method
    return Summary(group, label, bits, english, accuracy, _facts(group, task), _cost(group), cell_speed(group.cells[0]), reasons)


def _facts(group: Group, task: str) -> dict[str, float]:
    facts: dict[str, float] = {}
    for stage in STAGES:
        for score in group.scores(stage):
            for key in ("flat_guess", "tokens_per_byte", "tokens"):
                if (found := score.fact(key, task)) is not None:
                    facts.setdefault(key, found)
    return facts


def _cost(group: Group) -> Cost:
    return average([training_cost(cell) for cell in group.cells if cell.reason is None] or [Cost()])


def _tasks(groups: list[Group]) -> list[Task]:
    found: dict[str, Task] = {}
    for group in groups:
        for stage in STAGES:
            for score in group.scores(stage):
                for task in score.choices():
                    if task.chance is not None:
                        found.setdefault(task.slug, Task(task.slug, task.chance, task.n, task.pages, task.baselines))
    return [found[slug] for slug in sorted(found)]


def _mean(found: Interval | None) -> float:
    return found.mean if found else float("inf")
