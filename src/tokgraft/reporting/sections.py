"""The sections of the report: which rows of the table are compared with each other, and in which order they are shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from tokgraft.cells import STAGES, Combination, Stage
from tokgraft.frame import Frame
from tokgraft.reporting.compare import Comparison
from tokgraft.reporting.words import counted
from tokgraft.score_rows import Row
from tokgraft.scoring.statistics import Interval


@dataclass(frozen=True)
class Section:
    """All that is compared with each other: one model, language, training recipe and bits-per-byte task.

    Attributes:
        frame: The table; the section selects from it and holds no number.
        group: (model, language, recipe) slugs.
        rows: Its combinations, best score of the last stage first, those without a score last.
        comparisons: Every comparison within the section.
        task: Slug of the bits-per-byte task of all its rows; empty when nothing was scored.
        one_of_several: Whether other rows of the same model, language and recipe were scored on another task: they are compared apart.
        where: Language and model for sentences, with what else tells the section from others.
    """

    frame: Frame = field(repr=False)
    group: tuple[str, str, str]
    rows: list[Combination]
    comparisons: list[Comparison] = field(repr=False)
    task: str = ""
    one_of_several: bool = False
    where: str = ""

    @property
    def model(self) -> str:
        """Name of the base model for people."""
        return self.frame.cells.name("models", self.group[0])

    @property
    def language(self) -> str:
        """Name of the language for people."""
        return self.frame.cells.name("languages", self.group[1])

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The stages that are scored here: `init` alone when it is zero-shot."""
        return self.frame.stages(self.frame.groups[self.group][0])

    @property
    def final(self) -> Stage:
        """The stage that methods are ranked by."""
        return self.stages[-1]

    @property
    def slug(self) -> str:
        """Name for files and anchors."""
        return "-".join((*self.group, self.task) if self.one_of_several else self.group)

    @property
    def transplants(self) -> list[Combination]:
        """The rows with a new vocabulary, scored or not."""
        return [row for row in self.rows if not row.keeps_tokenizer]

    @property
    def scored(self) -> list[Combination]:
        """Rows with bits per byte at some stage."""
        return [row for row in self.rows if self.intervals(row)]

    @property
    def control(self) -> Combination | None:
        """The original model with its own tokenizer, if it was run."""
        return next((row for row in self.rows if row.is_control), None)

    @property
    def best(self) -> Combination | None:
        """The transplant with the fewest bits per byte at the last stage."""
        return next(iter(self.ranked(self.final)), None)

    @property
    def untouched(self) -> Interval | None:
        """Bits per byte of the original model before any training."""
        return None if self.control is None else self.bits(self.control, "init")

    @property
    def tasks(self) -> list[Row]:
        """A row of each choice task of a known chance level, by name."""
        rows = [row for one in self.rows for row in self.frame.all_rows(one) if row.is_choice and row.chance is not None]
        return [next(row for row in rows if row.task == task) for task in sorted({row.task for row in rows})]

    def label(self, row: Combination) -> str:
        """Name to show; the tokenizer is added where the section has several."""
        several = len({one.tokenizer for one in self.transplants}) > 1
        return f"{row.method} · {row.tokenizer}" if several and not row.keeps_tokenizer else row.method

    def bits(self, row: Combination, stage: Stage) -> Interval | None:
        """Bits per byte in the language."""
        return self.frame.interval(row, stage, self.task)

    def intervals(self, row: Combination) -> dict[Stage, Interval]:
        """Stage -> bits per byte, of the stages that were scored."""
        return {stage: found for stage in self.stages if (found := self.bits(row, stage)) is not None}

    def english(self, row: Combination, stage: Stage) -> Interval | None:
        """Bits per byte in English."""
        return self.frame.interval(row, stage, self.frame.bits_task(row, english=True))

    def accuracies(self, row: Combination, stage: Stage) -> dict[str, Interval]:
        """Choice task -> accuracy."""
        tasks = [one.task for cell in self.frame.scored(row, stage)[:1] for one in self.frame.of_cell(cell, stage) if one.is_choice]
        return {task: found for task in tasks if (found := self.frame.interval(row, stage, task)) is not None}

    def fact(self, row: Combination, metric: str) -> float | None:
        """uniform_baseline, tokens_per_byte or vocabulary, as scored."""
        task = "" if metric == "vocabulary" else self.task
        return next((one.value for one in self.frame.all_rows(row) if (one.task, one.metric) == (task, metric)), None)

    def cost(self, row: Combination, metric: str) -> float | None:
        """What the training took, averaged over the seeds that were run."""
        return self.frame.average([cell for cell in self.frame.combinations[row] if cell.reason is None], "trained", metric)

    def ranked(self, stage: Stage) -> list[Combination]:
        """The transplants that were scored at a stage, the fewest bits per byte first."""
        rows = [(found.mean, row) for row in self.transplants if (found := self.bits(row, stage)) is not None]
        return [row for _, row in sorted(rows, key=lambda pair: pair[0])]

    def against(self, row: Combination, reference: str, stage: Stage) -> Comparison | None:
        """A row's bits per byte minus those of a reference; None where one of the two was not scored."""
        return next((one for one in self.on_bits(reference, stage) if one.combination == row), None)

    def on_bits(self, reference: str, stage: Stage, english: bool = False) -> list[Comparison]:
        """The comparisons of all rows with a reference on bits per byte, in the language or in English."""
        return [
            one
            for one in self.comparisons
            if (one.reference, one.stage, one.is_bits, one.english) == (reference, stage, True, english)
            and one.task == (self.frame.bits_task(one.combination, english=True) if english else self.task)
        ]


def asked_on(tasks: Sequence[Row]) -> str:
    """How many items choice tasks have, and on how many pages where the pages are known."""
    pages = [task.pages for task in tasks if task.pages is not None]
    return counted([task.items for task in tasks], "item") + (f" on {counted(pages, 'page')}" if pages else "")


def sections(frame: Frame, comparisons: list[Comparison]) -> list[Section]:
    """A section for every group and each bits-per-byte task that transplants of the group were scored on."""
    found = [_section(frame, group, task, comparisons) for group, members in frame.groups.items() for task in bits_tasks(frame, members)]
    return [replace(section, where=_where(section, found)) for section in found]


def _where(section: Section, others: Sequence[Section]) -> str:
    """Language and model of a section; recipe and task only where others share these two."""
    recipes = {other.group[2] for other in others if other.group[:2] == section.group[:2]}
    parts = [section.model, *([section.group[2]] if len(recipes) > 1 else []), *([section.task] if section.one_of_several else [])]
    return f"{section.language} ({', '.join(parts)})"


def _section(frame: Frame, group: tuple[str, str, str], task: str, comparisons: list[Comparison]) -> Section:
    members = frame.groups[group]
    tasks = bits_tasks(frame, members)
    rows = [one for one in members if measured_by(frame, one, task)]
    if task == tasks[0]:
        rows += [one for one in members if not frame.bits_task(one)]  # without a score: shown once, with the reason
    shown = set(rows)
    within = [one for one in comparisons if one.combination in shown and (one.english or not one.is_bits or one.task == task)]
    section = Section(frame, group, rows, within, task, len(tasks) > 1)
    rows[:] = sorted(rows, key=lambda row: (*(_mean(section.bits(row, stage)) for stage in reversed(section.stages)), section.label(row)))
    return section


def bits_tasks(frame: Frame, combinations: Sequence[Combination]) -> list[str]:
    """The bits-per-byte tasks of transplants; of the original where nothing else was scored. One empty name when nothing was."""
    found = dict.fromkeys(task for one in combinations if not one.keeps_tokenizer and (task := frame.bits_task(one)))
    return list(found) or [next((task for one in combinations if (task := frame.bits_task(one))), "")]


def measured_by(frame: Frame, one: Combination, task: str) -> bool:
    """Whether a combination belongs to what this bits-per-byte task compares: it is its own task, or that of the original model."""
    return frame.bits_task(one) == task or (one.keeps_tokenizer and any(frame.main_rows(one, stage, task) for stage in STAGES))


def _mean(found: Interval | None) -> float:
    return found.mean if found else float("inf")
