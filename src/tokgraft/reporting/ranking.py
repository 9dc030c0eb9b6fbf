"""Everything that was scored on one model and language in one order, whatever its tokenizer, refiners and training, with what it cost."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from tokgraft.cells import Combination, Stage
from tokgraft.config.layout import CONTROL, INIT
from tokgraft.frame import Frame
from tokgraft.reporting.compare import claim_of
from tokgraft.reporting.figures import WIDTH, Canvas
from tokgraft.reporting.sections import bits_tasks, measured_by
from tokgraft.reporting.style import INK, PAPER, axes, bits_axis, legend, look, mark, save, stroke, wrapped
from tokgraft.reporting.tables import CsvTable, Line, Value, sources_of
from tokgraft.scoring.statistics import FEWEST, Interval

PLAIN = "plain"
ORIGINAL: dict[str, Any] = {"color": INK, "lw": 1, "ls": (0, (4, 3))}  # the stroke of the best original tokenizer


@dataclass(frozen=True)
class Ranked:
    """One model that was scored.

    Attributes:
        combination: What was done; its cells are the seeds.
        stage: When it was scored.
        bits: Bits per byte of the language, with its interval.
        behind: The paired difference to the first of the ranking; None for itself.
        original: The paired difference to the best of the models that keep the original tokenizer; None for these.
    """

    combination: Combination
    stage: Stage
    bits: Interval
    behind: Interval | None = None
    original: Interval | None = None

    @property
    def after(self) -> str:
        """What followed the initialiser: refiners, a training recipe, or `plain`."""
        parts = [self.combination.method.partition("+")[2], self.combination.recipe if self.stage == "trained" else ""]
        return ", then ".join(part for part in parts if part) or PLAIN

    @property
    def name(self) -> str:
        """Method, refiners and training."""
        return self.combination.initialiser if self.after == PLAIN else f"{self.combination.initialiser} + {self.after.replace('+', ' + ')}"

    def cost(self, frame: Frame, metric: str) -> float | None:
        """What the transplant or training took, averaged over the seeds that were scored; training costs nothing before it."""
        if metric.startswith("training"):
            return 0.0 if self.stage == "init" else frame.average(frame.scored(self.combination, self.stage), "trained", metric)
        return frame.average(frame.scored(self.combination, self.stage), "init", metric)


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
    entries: tuple[Ranked, ...]
    one_of_several: bool = False

    @property
    def slug(self) -> str:
        """Name for files and anchors."""
        return "-".join(["ranking", self.model, self.language, *([self.task] if self.one_of_several else [])])

    @property
    def pooled(self) -> bool:
        """Whether it holds more than the methods of one tokenizer before and after one training, which have a figure of their own."""
        transplants = {entry.combination.tokenizer for entry in self.entries if not entry.combination.keeps_tokenizer}
        return len(transplants) > 1 or len({entry.after for entry in self.entries}) > 2

    @property
    def original(self) -> Ranked | None:
        """The best of the models that keep the original tokenizer: what a transplant has to beat."""
        return next((entry for entry in self.entries if entry.combination.keeps_tokenizer), None)


def rankings(frame: Frame) -> list[Ranking]:
    """One ranking for each base model, language and bits-per-byte task.

    Raises:
        DataError: Two models were scored on different documents.
    """
    members_of: dict[tuple[str, str], list[Combination]] = {}
    for one in frame.combinations:
        members_of.setdefault((one.model, one.language), []).append(one)
    found = []
    for (model, language), members in members_of.items():
        tasks = bits_tasks(frame, members)
        for task in tasks if tasks != [""] else []:
            entries = _entries(frame, [one for one in members if measured_by(frame, one, task)], task)
            found.append(Ranking(model, language, task, entries, len(tasks) > 1))
    return found


def _entries(frame: Frame, members: list[Combination], task: str) -> tuple[Ranked, ...]:
    found: dict[tuple[str, ...], Ranked] = {}
    for one in members:
        for stage in frame.stages(one):
            # A transplant that several recipes start from was scored once.
            key = (one.tokenizer, one.method, INIT if stage == "init" else one.recipe)
            if key not in found and (bits := frame.interval(one, stage, task)) is not None:
                found[key] = Ranked(one, stage, bits)
    ordered = sorted(found.values(), key=lambda entry: (entry.bits.mean, entry.name))
    first, original = ordered[0], next((entry for entry in ordered if entry.combination.keeps_tokenizer), None)

    def against(entry: Ranked, other: Ranked | None) -> Interval | None:
        return (
            None
            if other is None or other is entry
            else frame.difference(entry.combination, entry.stage, other.combination, other.stage, task)
        )

    return tuple(
        replace(entry, behind=against(entry, first), original=None if entry.combination.keeps_tokenizer else against(entry, original))
        for entry in ordered
    )


def table(frame: Frame, found: Iterable[Ranking]) -> CsvTable:
    """One row for each model that was scored, in order, with what it took to make it."""
    rows = [_row(frame, ranking, rank, entry) for ranking in found for rank, entry in enumerate(ranking.entries, 1)]
    return CsvTable("ranking", ("model", "language", "task", "tokenizer", "method", "recipe", "stage"), rows)


def _row(frame: Frame, ranking: Ranking, rank: int, entry: Ranked) -> Line:
    sources, bits, one = sources_of(frame, entry.combination, entry.stage), entry.bits, entry.combination
    numbers = {"n": bits.n, "seeds": bits.seeds, "bits_per_byte": bits.mean, "low": bits.low, "high": bits.high}
    line: Line = {
        "model": ranking.model, "language": ranking.language, "task": ranking.task,
        "rank": str(rank) if bits.enough else f"n/a: fewer than {FEWEST} {bits.unit}s", "tokenizer": one.tokenizer, "method": one.method,
        "recipe": INIT if entry.stage == "init" else one.recipe, "stage": entry.stage,
        **{name: Value(number, "", sources) for name, number in numbers.items()},
    }  # fmt: skip
    for name, difference, reason in (
        ("behind_first", entry.behind, "the first"),
        ("minus_original", entry.original, "an original tokenizer"),
    ):
        for label, part in ((name, "mean"), (f"{name}_low", "low"), (f"{name}_high", "high")):
            line[label] = Value(getattr(difference, part) if difference else None, reason, sources)
        line[f"{name}_claim"] = claim_of(difference) if difference else f"n/a: {reason}"
    costs = ("transplant_flops", "training_flops")
    return line | {metric: Value(entry.cost(frame, metric), "not recorded", sources) for metric in costs}


def figure(on: Canvas, ranking: Ranking) -> str:
    """One line for each tokenizer and initialiser, the best first; a mark for the plain rows and one for each thing done to them."""
    rows: dict[tuple[str, str], list[Ranked]] = {}
    for entry in ranking.entries:
        rows.setdefault((entry.combination.tokenizer, entry.combination.initialiser), []).append(entry)
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


def _mark(ax: Any, entry: Ranked, y: int, style: tuple[str, str], tips: dict[str, str]) -> None:
    gid, (colour, marker), bits, behind = f"rank{len(tips)}", style, entry.bits, entry.behind
    ax.plot([bits.low, bits.high], [y, y], color=colour, lw=2.4, alpha=0.3, solid_capstyle="butt", zorder=2)
    ax.plot([bits.mean], [y], marker, ms=5.5, mfc=colour, mec=PAPER, mew=0.8, zorder=3, ls="none", gid=gid)
    to_first = f", {behind.mean:.3f} [{behind.low:.3f}, {behind.high:.3f}] behind the first" if behind else ""
    tips[gid] = f"{entry.name}: {bits.mean:.3f} (95% interval {bits.low:.3f} to {bits.high:.3f}){to_first}"
