"""One cell as a tracking store shows it: settings, scores, curves, links. Read from finished artifacts, no store involved."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from tokgraft import artifacts
from tokgraft.artifacts import canonical_json, file_sha256
from tokgraft.cells import (
    ABSENT,
    CellList,
    RunCell,
    Stage,
    cell_speed,
    flatten,
    identities,
    missing,
    of_stage,
    read_facts,
    read_jsonl,
    stale,
)
from tokgraft.errors import TokgraftError
from tokgraft.score_rows import FACTS, Row, bits_task, main_row, read_rows
from tokgraft.scoring.speed import FILE
from tokgraft.tracking.views import METRICS, PARAMETERS

FORM = 5  # raised when records of the same artifacts change, so that they are published again
USAGE = "system.jsonl"  # of the training job; what it holds differs from run to run, so it counts for no fingerprint
SETTINGS = ("base", "corpus", "tokenizer", "init", "trained", "score_init", "score_trained")
SMALL_FILES = {
    "init": ("manifest.json", "transplant.json"), "trained": ("manifest.json", "training.json"), "tokenizer": ("manifest.json", "metrics.json"),
    "score_init": ("manifest.json", "scores.json"), "score_trained": ("manifest.json", "scores.json"),
}  # fmt: skip


@dataclass(frozen=True)
class Point:
    """A value of a curve; `time` in milliseconds since 1970 where it was noted."""

    name: str
    step: int
    value: float
    time: int | None = None


@dataclass(frozen=True)
class Source:
    """Text that a cell was trained on.

    Attributes:
        name: Slug of the language.
        digest: Manifest hash of the corpus.
        folder: Folder of the corpus.
        context: What it was used for.
        facts: Bytes, pages and licence of its splits.
    """

    name: str
    digest: str
    folder: str
    context: str
    facts: dict[str, Any]


@dataclass(frozen=True)
class CellRecord:
    """A cell, ready to be shown.

    Attributes:
        key: Which cell of the matrix it is.
        fingerprint: Hash of everything it was made from; two records with the same one show the same content.
        name: Name for people, `focus/bpe8k/pocket/deu_Latn/pocket-demo/s0`: what differs within a comparison comes first, since the UI cuts names.
        params: What tells the cells of an experiment apart.
        settings: Role of an artifact -> all its resolved settings.
        tags: What runs are filtered by, and the folder and manifest hash of every artifact.
        metrics: Final scores and costs.
        curve: Learning curve, and the use of the machine while training.
        texts: The corpora.
        files: (file, folder in the store) of small files worth keeping beside it.
        span: Begin and end of the training in milliseconds since 1970; None where it is not known here.
    """

    key: str
    fingerprint: str
    name: str
    params: dict[str, str]
    settings: dict[str, Any]
    tags: dict[str, str]
    metrics: dict[str, float]
    curve: list[Point]
    texts: list[Source]
    files: list[tuple[Path, str]]
    span: tuple[int, int] | None = None


def why_not(cell: RunCell) -> str | None:
    """Why a cell cannot be published; None when all that it needs is there."""
    if cell.reason is not None:
        return f"skipped: {cell.reason}"
    for stage in cell.stages:
        if problem := missing(cell.score_folder(stage)) or missing(cell.records(stage)):
            return problem
    return None


def fingerprint(cell: RunCell) -> str:
    """Hash of the manifests of a cell's artifacts; the same whether they are all here or only the scores.

    A speed that is measured again leaves its manifest as it was, so what was measured counts as well.
    """
    measured = cell.paths.speed / FILE if cell.paths.speed is not None else None
    content = {
        "form": FORM,
        **identities(cell),
        "measured": file_sha256(measured) if measured is not None and measured.is_file() else ABSENT,
    }
    return hashlib.sha256(canonical_json(content).encode()).hexdigest()


def strange(cell: RunCell) -> str | None:
    """Which artifact of a cell is not its own, or no longer; None when all are."""
    return stale(cell, *of_stage(cell.final), *of_stage("init"), *_roles(cell, ("tokenizer", "evaluation", "speed")))


def unpublishable(cells: CellList) -> Iterator[str]:
    """Why publishing would be refused, a sentence for each problem: a finished cell whose artifacts are not its own, or are altered."""
    for cell in cells.cells:
        if why_not(cell) is not None:
            continue
        try:
            if problem := strange(cell):
                yield f"{cell.key}: {problem}"
            else:
                record(cells, cell)
        except TokgraftError as error:
            yield f"{cell.key}: {error.what}"


def record(cells: CellList, cell: RunCell) -> CellRecord:
    """Read a cell whose artifacts are all there.

    Raises:
        ArtifactError, DataError: One of them is damaged.
    """
    rows = read_rows(cell)
    return CellRecord(
        cell.key, fingerprint(cell), _name(cell), params(cell), _settings(cell), _tags(cells, cell, rows), dict(_metrics(cell, rows)),
        [*_curve(cell), *_usage(cell)], _texts(cell), _files(cell), _span(cell),
    )  # fmt: skip


def place(cell: RunCell, role: str) -> Path:
    """Folder with the records of an artifact of a cell."""
    if role in cell.stages:
        return cell.records("trained" if role == "trained" else "init")
    folder: Path = getattr(cell.paths, role)
    return folder


def _roles(cell: RunCell, roles: Iterable[str]) -> list[str]:
    """Those roles that the cell has: a zero-shot cell has nothing that is trained."""
    return [role for role in roles if getattr(cell.paths, role) is not None]


def params(cell: RunCell) -> dict[str, str]:
    """What tells the cells of an experiment apart."""
    return {name: str(getattr(cell, name)) for name in PARAMETERS}


def _name(cell: RunCell) -> str:
    return f"{cell.method}/{cell.tokenizer}/{cell.model}/{cell.language}/{cell.recipe}/s{cell.seed}"


def _settings(cell: RunCell) -> dict[str, Any]:
    found = {}
    for role in _roles(cell, SETTINGS):
        folder = place(cell, role)
        if artifacts.is_artifact(folder):
            artifacts.demand_whole(folder, role, ())
            found[role] = artifacts.read(folder)["settings"]
    return found


@dataclass(frozen=True)
class Headline:
    """The bits per byte of a cell.

    Attributes:
        task: The task that says them; those of another task are of another text.
        english: The same of the English text.
        pages: Pages of that task.
        values: Name of a metric (`views.METRICS`) -> value. `bits_per_byte` is that of the last stage, `init_...` that right after the transplant.
    """

    task: str
    english: str
    values: dict[str, float]
    pages: int


def headline(rows: Iterable[Row], final: Stage) -> Headline:
    """The bits per byte of a cell, both stages by the same task.

    Args:
        rows: Its rows at all stages.
        final: The last stage.
    """
    rows = list(rows)
    tasks = {english: bits_task(rows, english) for english in (False, True)}
    found = {name: main_row(rows, tasks[name.endswith("english")], "init" if name.startswith("init") else final) for name in METRICS}
    own = [row.pages or 0 for name, row in found.items() if row and not row.english]
    return Headline(tasks[False], tasks[True], {name: row.value for name, row in found.items() if row}, own[-1] if own else 0)


def _tags(cells: CellList, cell: RunCell, rows: list[Row]) -> dict[str, str]:
    head = headline(rows, cell.final)
    tags = {
        **params(cell), "task.bits_per_byte": head.task, "task.bits_per_byte_english": head.english, "language.name": cells.name("languages", cell.language), "model.name": cells.name("models", cell.model),
        "plain": cell.method.partition("+")[0], "pipeline.key": cell.key, "pipeline.fingerprint": fingerprint(cell),
    }  # fmt: skip
    for role, manifest in identities(cell).items():
        tags[f"artifact.{role}"] = str(getattr(cell.paths, role))
        tags[f"manifest.{role}"] = manifest
    return tags


def _metrics(cell: RunCell, rows: list[Row]) -> Iterator[tuple[str, float]]:
    yield from headline(rows, cell.final).values.items()
    for stage in cell.stages:
        of_stage = [row for row in rows if row.stage == stage]
        for row in of_stage:
            if row.builder:
                yield f"{stage}/{row.task}/{row.metric}", row.value
                if row.chance is not None:
                    yield f"{stage}/{row.task}/chance", row.chance
        for row in of_stage:
            if row.metric == "vocabulary" or (row.metric in FACTS and row.task == bits_task(of_stage)):
                yield f"{stage}/{row.metric}", row.value
    if (speed := cell_speed(cell).speed) is not None:
        yield from _numbers("speed", speed.summary())
    for role, file, label in (("init", "transplant.json", "transplant"), ("trained", "training.json", "training")):
        if role not in cell.stages:
            continue
        folder = place(cell, role)
        for path in [folder / file] if (folder / file).is_file() else []:
            yield from _numbers(label, artifacts_json(path))


def artifacts_json(path: Path) -> dict[str, Any]:
    """A JSON file that holds a mapping; another value counts as empty."""
    from tokgraft.cells import read_json

    data = read_json(path)
    return data if isinstance(data, dict) else {}


def _numbers(label: str, data: dict[str, Any]) -> Iterator[tuple[str, float]]:
    for name, value in flatten(data).items():
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            yield f"{label}/{name}", float(value)


def _curve(cell: RunCell) -> list[Point]:
    points = []
    for file in ("metrics.jsonl", "timing.jsonl"):
        for row in read_jsonl(cell.records(cell.final) / file):
            for name, value in row.items():
                if name != "step" and isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
                    points.append(Point(f"curve/{name}", int(row.get("step", 0)), float(value)))
    return points


def _usage(cell: RunCell) -> Iterator[Point]:
    """What the training job noted of its machine, under the names that MLflow gives its own system metrics."""
    for row in read_jsonl(cell.records(cell.final) / USAGE):
        for name, value in row.items():
            if name not in {"time", "step"} and isinstance(value, int | float) and math.isfinite(value):
                yield Point(f"system/{name}", int(row["step"]), float(value), int(row["time"]))


def _texts(cell: RunCell) -> list[Source]:
    found, hashes = [], identities(cell)
    for role, context in (("corpus", "training"), ("english", "English: replay and forgetting")):
        folder = getattr(cell.paths, role)
        card = read_facts(folder, "card.json", role)
        facts: dict[str, Any] = {name: card[name] for name in ("name", "licence", "splits") if name in card}
        found.append(Source(folder.name, hashes[role], str(folder), context, facts))
    return found


def _span(cell: RunCell) -> tuple[int, int] | None:
    path = cell.records(cell.final) / artifacts.RUN
    how = artifacts_json(path) if path.is_file() else {}
    try:
        begin = datetime.strptime(how["started"], "%Y-%m-%dT%H:%M:%S%z")
        return int(begin.timestamp() * 1000), int((begin.timestamp() + how["wall_seconds"]) * 1000)
    except (KeyError, OverflowError, TypeError, ValueError):
        return None


def _files(cell: RunCell) -> list[tuple[Path, str]]:
    found = []
    for role in _roles(cell, SMALL_FILES):
        names = SMALL_FILES[role]
        folder = place(cell, role)
        if role not in cell.stages:  # those of the models came with the scores, which are whole
            artifacts.demand_whole(folder, role, [name for name in names if name != artifacts.MANIFEST])
        found += [(folder / name, role) for name in names if (folder / name).is_file()]
    return found
