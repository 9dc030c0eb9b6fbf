"""Everything that was scored on one model and language in one order, whatever its tokenizer, refiners and training, with what it cost."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tokgraft.cells import Stage
from tokgraft.config.layout import CONTROL, INIT
from tokgraft.reporting.compare import claim_of, compare, interval
from tokgraft.reporting.evidence import Cost, Evidence, Group, TransplantCost, average, training_cost, transplant_cost
from tokgraft.reporting.figures import WIDTH, Canvas
from tokgraft.reporting.style import INK, PAPER, axes, bits_axis, legend, look, mark, save, stroke, wrapped
from tokgraft.reporting.summary import bits_tasks, measured_by
from tokgraft.reporting.tables import Table, Value
from tokgraft.scoring.statistics import FEWEST, Difference, Interval

PLAIN = "plain"
ORIGINAL: dict[str, Any] = {"color": INK, "lw": 1, "ls": (0, (4, 3))}  # the stroke of the best original tokenizer


@dataclass(frozen=True)
class Entry:
    """One model that was scored.

    Attributes:
        group: The cells, one for each seed.
        stage: When it was scored.
        bits: Bits per byte of the language, with its interval.
        behind: The paired difference to the first entry of the ranking; None for itself.
        original: The paired difference to the best of the models that keep the original tokenizer; None for these.
    """

    group: Group
    stage: Stage
    bits: Interval
    behind: Difference | None = None
    original: Difference | None = None

    @property
    def transplant(self) -> TransplantCost:
        """What the transplant took, averaged over the seeds that were scored."""
        return average([transplant_cost(cell) for cell in self.group.scored(self.stage)])

    @property
    def training(self) -> Cost:
        """What the training took, in the same way; nothing before it."""
        if self.stage == "init":
            return Cost(flops=0.0, seconds=0.0)
        return average([training_cost(cell) for cell in self.group.scored(self.stage)])

    @property
    def initialiser(self) -> str:
        """The method without its refiners."""
        return self.group.method.partition("+")[0]

    @property
    def after(self) -> str:
        """What followed the initialiser: refiners, a training recipe, or `plain`."""
        parts = [self.group.method.partition("+")[2], self.group.place[2] if self.stage == "trained" else ""]
        return ", then ".join(part for part in parts if part) or PLAIN

    @property
    def name(self) -> str:
        """Method, refiners and training."""
        return self.initialiser if self.after == PLAIN else f"{self.initialiser} + {self.after.replace('+', ' + ')}"


@dataclass(frozen=True)
class Ranking:
    """The models of one base and language that were scored on one bits-per-byte task, the fewest bits per byte first.

    Attributes:
        model, language: Slugs.
        task: Slug of the task.
        entries: The models.
        one_of_several: Whether other models of this base and language were scored on another task: they are ranked apart.
    """

    model: str
    language: str
    task: str
    entries: tuple[Entry, ...]
    one_of_several: bool = False

    @property
    def slug(self) -> str:
        """Name for files and anchors."""
        return "-".join(["ranking", self.model, self.language, *([self.task] if self.one_of_several else [])])

    @property
    def pooled(self) -> bool:
        """Whether it holds more than the methods of one tokenizer before and after one training, which have a figure of their own."""
        made = {entry.group.tokenizer for entry in self.entries if entry.initialiser != CONTROL}
        return len(made) > 1 or len({entry.after for entry in self.entries}) > 2

    @cached_property
    def original(self) -> Entry | None:
        """The best of the models that keep the original tokenizer: what a transplant has to beat."""
        return next((entry for entry in self.entries if entry.initialiser == CONTROL), None)


def rankings(evidence: Evidence) -> list[Ranking]:
    """One ranking for each base model, language and bits-per-byte task.

    Raises:
        DataError: Two models were scored on different documents.
    """
    by_place: dict[tuple[str, str], list[Group]] = {}
    for group in evidence.groups:
        by_place.setdefault((group.cells[0].model, group.cells[0].language), []).append(group)
    found = []
    for (model, language), groups in by_place.items():
        tasks = bits_tasks(groups)
        for task in tasks if tasks != [""] else []:
            measured = [group for group in groups if measured_by(group, task)]
            found.append(Ranking(model, language, task, _entries(evidence, measured, task), len(tasks) > 1))
    return found


def _entries(evidence: Evidence, groups: list[Group], task: str) -> tuple[Entry, ...]:
    entries: dict[tuple[str, ...], Entry] = {}
    for group in groups:
        for stage in group.outcomes:
            # A transplant that several recipes start from was scored once.
            key = (group.tokenizer, group.method, INIT if stage == "init" else group.place[2])
            if key not in entries and (bits := interval(evidence, group, stage, task)) is not None:
                entries[key] = Entry(group, stage, bits)
    ordered = sorted(entries.values(), key=lambda entry: (entry.bits.mean, entry.name))
    first, original = ordered[0], next((entry for entry in ordered if entry.initialiser == CONTROL), None)

    def against(entry: Entry, other: Entry | None) -> Difference | None:
        return None if other is None or other is entry else compare(evidence, entry.group, entry.stage, other.group, other.stage, task)

    return tuple(
        Entry(
            entry.group, entry.stage, entry.bits, against(entry, first), None if entry.initialiser == CONTROL else against(entry, original)
        )
        for entry in ordered
    )


def table(found: list[Ranking]) -> Table:
    """One row for each model that was scored, in order, with what it took to make it."""
    made = Table("ranking", ("model", "language", "task", "tokenizer", "method", "recipe", "stage"))
    for ranking in found:
        for place, entry in enumerate(ranking.entries, 1):
            made.rows.append(_row(ranking, place, entry))
    return made


def _row(ranking: Ranking, place: int, entry: Entry) -> dict[str, Value | str]:
    sources = tuple(score.folder for score in entry.group.scores(entry.stage))
    cell = entry.group.cells[0]
    rank = str(place) if entry.bits.n >= FEWEST else f"n/a: fewer than {FEWEST} {entry.bits.unit}s"
    row: dict[str, Value | str] = {
        "model": ranking.model, "language": ranking.language, "task": ranking.task, "rank": rank, "tokenizer": entry.group.tokenizer,
        "method": entry.group.method, "recipe": INIT if entry.stage == "init" else cell.recipe, "stage": entry.stage,
        "n": Value(entry.bits.n, "", sources), "seeds": Value(entry.bits.seeds, "", sources), "bits_per_byte": Value(entry.bits.mean, "", sources), "low": Value(entry.bits.low, "", sources),
        "high": Value(entry.bits.high, "", sources),
    }  # fmt: skip
    for name, difference, reason in (
        ("behind_first", entry.behind, "the first"),
        ("minus_original", entry.original, "an original tokenizer"),
    ):
        for part in ("mean", "low", "high"):
            label = name if part == "mean" else f"{name}_{part}"
            row[label] = Value(getattr(difference, part) if difference else None, reason, sources)
        row[f"{name}_claim"] = claim_of(difference) if difference else f"n/a: {reason}"
    numbers = {"transplant_flops": entry.transplant.flops, "training_flops": entry.training.flops}
    return row | {name: Value(number, "not recorded", sources) for name, number in numbers.items()}


def figure(on: Canvas, ranking: Ranking) -> str:
    """One line for each tokenizer and initialiser, the best first; a mark for the plain rows and one for each thing done to them."""
    rows: dict[tuple[str, str], list[Entry]] = {}
    for entry in ranking.entries:
        rows.setdefault((entry.group.tokenizer, entry.initialiser), []).append(entry)
    kinds = sorted({entry.after for entry in ranking.entries}, key=lambda kind: (kind != PLAIN, kind.count("+"), kind))
    looks = look(kinds, PLAIN)
    several = len({tokenizer for tokenizer, name in rows if name != CONTROL}) > 1
    drawn, ax = axes(1.5 * WIDTH, 1.3 + 0.26 * len(rows) + 0.15 * len(kinds))
    tips: dict[str, str] = {}
    for y, entries in enumerate(reversed(rows.values())):
        for entry in entries:
            _mark(ax, entry, y, looks[entry.after], tips)
    scale = bits_axis(ax, "x", [end for entry in ranking.entries for end in (entry.bits.low, entry.bits.high)])
    labels = [f"{name} · {tokenizer}" if several and name != CONTROL else name for tokenizer, name in reversed(rows)]
    ax.set_yticks(range(len(rows)), labels)
    ax.set_ylim(-0.7, len(rows) - 0.3)
    handles = [mark(wrapped(kind), *looks[kind]) for kind in kinds]
    if (original := ranking.original) is not None:
        ax.axvline(original.bits.mean, zorder=1, **ORIGINAL)
        handles.append(stroke(f"best with the\noriginal tokenizer {original.bits.mean:.2f}", **ORIGINAL))
    legend(drawn, handles)
    ax.set_xlabel(f"bits per byte, lower is better{scale}")
    label = f"Ranking by bits per byte, {ranking.model}, {ranking.language}"
    return save(drawn, on.folder, ranking.slug, tips, label)


def _mark(ax: Any, entry: Entry, y: int, style: tuple[str, str], tips: dict[str, str]) -> None:
    gid, (colour, marker) = f"rank{len(tips)}", style
    ax.plot([entry.bits.low, entry.bits.high], [y, y], color=colour, lw=2.4, alpha=0.3, solid_capstyle="butt", zorder=2)
    ax.plot([entry.bits.mean], [y], marker, ms=5.5, mfc=colour, mec=PAPER, mew=0.8, zorder=3, ls="none", gid=gid)
    behind = f", {_words(entry.behind)} behind the first" if entry.behind else ""
    tips[gid] = f"{entry.name}: {entry.bits.mean:.3f} (95% interval {entry.bits.low:.3f} to {entry.bits.high:.3f}){behind}"


def _words(difference: Difference) -> str:
    return f"{difference.mean:.3f} [{difference.low:.3f}, {difference.high:.3f}]"
