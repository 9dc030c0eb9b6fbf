"""Rows of the table of all numbers, as one scores artifact gives them: what the console, MLflow and the report read of a score."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tokgraft import artifacts, jsonl
from tokgraft.cells import RunCell, Stage

BITS = "bits_per_byte"
MAIN = (BITS, "acc_bytes", "acc_norm", "acc")  # the metric that tables show of a task: the first of these that it has
# What the scores say of a model beside metrics: name of the metric here -> name in scores.json.
FACTS = {"uniform_baseline": "flat_guess", "tokens_per_byte": "tokens_per_byte"}


@dataclass(frozen=True)
class Score:
    """A scores artifact."""

    folder: Path
    hash: str
    data: dict[str, Any]

    @property
    def model(self) -> str:
        """Fingerprint of the model that was scored."""
        return str(self.data["model"]["fingerprint"])


def read_score(folder: Path) -> Score:
    """Read a scores artifact, all of whose files are compared with its manifest first.

    Raises:
        ArtifactError: It is missing, not whole, altered, or of another kind.
    """
    artifacts.expect(folder, "scores")
    return Score(folder, artifacts.fingerprint(folder), jsonl.read_object(folder / "scores.json"))


@dataclass(frozen=True, eq=False)
class Row:
    """One number.

    Attributes:
        cell: What was measured: model, language, tokenizer, method, recipe and seed.
        stage: When it was measured.
        task: Slug of the task; empty for what is said of the model itself (its vocabulary, what it cost).
        metric: What was measured.
        value: The number.
        builder: How the items of the task are made (bits_per_byte, heading, ...); empty where the number is no metric of a task.
        main: Whether it is the metric that tables show of its task.
        english: Whether the text is English (forgetting) instead of the cell's language.
        items: Documents or items.
        pages: Pages that these come from; None where the task has none (tasks of the harness).
        chance: Accuracy of blind guessing; None for bits per byte.
        baselines: Accuracy of rules that never ask a model (the shortest choice, ...).
        samples: The file of per-document samples.
    """

    cell: RunCell
    stage: Stage
    task: str
    metric: str
    value: float
    builder: str = ""
    main: bool = False
    english: bool = False
    items: int = 0
    pages: int | None = None
    chance: float | None = None
    baselines: dict[str, float] = field(default_factory=dict)
    samples: Path = Path()

    @property
    def is_choice(self) -> bool:
        """Whether it is the main metric of a task in which a model chooses."""
        return self.main and self.builder != BITS


def score_rows(cell: RunCell, stage: Stage, score: Score) -> Iterator[Row]:
    """The rows of a scores artifact, by task and metric; what is said of the model comes last."""
    for task, facts in sorted(score.data.get("tasks", {}).items()):
        metrics = {name: float(value) for name, value in facts.get("metrics", {}).items() if isinstance(value, int | float)}
        main, chance = next((name for name in MAIN if name in metrics), ""), facts.get("chance")
        for metric, value in sorted(metrics.items()):
            yield Row(
                cell, stage, task, metric, value, str(facts.get("builder", task)), metric == main, facts.get("language") == "english",
                int(facts.get("n", 0)), int(facts["pages"]) if "pages" in facts else None, None if chance is None else float(chance),
                dict(facts.get("baselines", {})), score.folder / "samples" / f"{task}.jsonl",
            )  # fmt: skip
        yield from (
            Row(cell, stage, task, metric, float(facts[name])) for metric, name in FACTS.items() if isinstance(facts.get(name), int | float)
        )
    if isinstance(tokens := score.data["model"].get("tokens"), int | float):
        yield Row(cell, stage, "", "vocabulary", float(tokens))


def read_rows(cell: RunCell, *stages: Stage) -> list[Row]:
    """All that was scored of a cell at these stages; at all that it has where none is named.

    Raises:
        ArtifactError, DataError: Scores are missing or damaged.
    """
    return [row for stage in stages or cell.stages for row in score_rows(cell, stage, read_score(cell.score_folder(stage)))]


def bits_task(rows: Iterable[Row], english: bool = False) -> str:
    """Slug of the task that says the bits per byte of a model: the one of most of its scores, of several the one with most documents.

    Args:
        rows: Rows of one model at its stages and with its seeds. Models of one experiment may be scored on different tasks.
        english: The task on English text instead of the one in the model's language.

    Returns:
        The slug; empty when no score holds such a task.
    """
    scored = [row for row in rows if row.main and row.builder == BITS and row.english == english]
    times = Counter(row.task for row in scored)
    return max(scored, key=lambda row: (times[row.task], row.items, row.task)).task if scored else ""


def main_row(rows: Iterable[Row], task: str, stage: Stage | None = None) -> Row | None:
    """The row that tables show of a task, of one stage where that is named."""
    return next((row for row in rows if row.main and row.task == task and stage in (None, row.stage)), None)


def bits_row(rows: Iterable[Row], english: bool = False) -> Row | None:
    """Bits per byte of a model that was scored once."""
    rows = list(rows)
    return main_row(rows, bits_task(rows, english))
