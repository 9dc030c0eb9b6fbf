"""Do the products of a run make sense? Each problem is one line: what, where, and what it may mean."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

from tokgraft import artifacts
from tokgraft.cells import STAGES, CellList, RunCell, Stage, cell_speed, missing, read_facts, read_jsonl, stale, walk
from tokgraft.config.layout import CONTROL
from tokgraft.errors import TokgraftError
from tokgraft.frame import Frame, cost_rows, read_frame
from tokgraft.reporting.tables import tokenizer_facts
from tokgraft.score_rows import BITS, bits_row, bits_task, main_row

# Chance: how far random rows may be from it: standard errors, and what items give away by their form (their baselines, or this share).
CHANCE_ERRORS, CHANCE_SHARE = 4.0, 0.05
# A model with random rows that needs fewer bits than this share of the uniform baseline knows the vocabulary from somewhere.
FLAT_SHARE = 0.75


def check_products(cells: CellList) -> list[str]:
    """Every product that does not make sense, in one line each; empty: all is well.

    Checked: all cells present (or skipped with a reason), every file that the report reads unaltered, every score and curve finite, everything made from what is there now, `none`
    before training has the weights of the base, `random` before training is near chance and no better than guessing, training lowers bits
    per byte, and no two methods gave identical samples.
    """
    frame = read_frame(cells, refuse=False)
    checks = (_present, _readable, _finite, _current, _control_is_base, _random_is_chance, _training_helps, _no_twins)
    return list(dict.fromkeys(problem for check in checks for problem in check(frame)))


def _present(frame: Frame) -> Iterator[str]:
    for cell, stage in walk(frame.cells):
        key = (cell.key, stage)
        if cell.reason is not None:
            if not cell.reason.strip():
                yield f"{cell.key}: skipped without a reason"
        elif key in frame.damage:
            yield frame.damage[key]
        elif key not in frame.scores:
            yield f"{cell.key} ({stage}): {frame.reasons[key]}"
        elif not bits_task(frame.of_cell(cell, stage)):
            yield f"{cell.key} ({stage}): {frame.scores[key].folder} holds no bits per byte of the cell's language"
        if cell.reason is None and key not in frame.damage and (problem := missing(cell.records(stage))):
            yield f"{cell.key} ({stage}): {problem}"


def _readable(frame: Frame) -> Iterator[str]:
    """What the report would refuse to read beside what the scores stand on."""
    cells = [cell for cell in frame.cells.cells if cell.reason is None]
    readers: list[Callable[[RunCell], object]] = [
        cell_speed,
        tokenizer_facts,
        lambda cell: list(cost_rows(cell)),
        lambda cell: read_facts(cell.paths.corpus, "card.json", "corpus"),
        lambda cell: read_facts(cell.paths.english, "card.json", "english"),
        lambda cell: cell.paths.evaluation and read_facts(cell.paths.evaluation, "evaluation.json", "evaluation"),
    ]
    for read in readers:
        for cell in cells:
            try:
                read(cell)
            except TokgraftError as error:
                if not any(damage in error.what for damage in frame.damage.values()):
                    yield error.what


def _finite(frame: Frame) -> Iterator[str]:
    for cell, stage in walk(frame.cells):
        if (score := frame.scores.get((cell.key, stage))) is None:
            continue
        for where in _not_finite(score.data):
            yield f"{score.folder / 'scores.json'}: {where} is not a finite number"
        path = cell.records(stage) / "metrics.jsonl"
        for number, record in enumerate(read_jsonl(path), 1):
            for where in _not_finite(record):
                yield f"{path}, line {number}: {where} is not a finite number (the training diverged?)"


def _not_finite(value: Any, where: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _not_finite(inner, f"{where}/{name}" if where else str(name))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _not_finite(inner, f"{where}[{index}]")
    elif isinstance(value, float) and not math.isfinite(value):
        yield where


def _current(frame: Frame) -> Iterator[str]:
    for role in ("tokenizer", "evaluation", "speed"):  # those of scores are said with the cells that they leave without one
        yield from (problem for cell in _whole(frame) if (problem := stale(cell, role)))


def _control_is_base(frame: Frame) -> Iterator[str]:
    for cell in _whole(frame):
        if cell.method == CONTROL and cell.paths.init.is_dir() and cell.paths.base.is_dir():
            ours, base = weights(cell.paths.init), weights(cell.paths.base)
            if ours != base:
                yield f"{cell.key}: the weights of {cell.paths.init} are not those of {cell.paths.base} (the control must not change the model)"


def weights(folder: Path) -> dict[str, str]:
    """SHA-256 of every weights file of a model folder, from its manifest where it has one."""
    if artifacts.is_artifact(folder):
        listed = artifacts.read(folder)["files"].items()
        return {name: str(facts["sha256"]) for name, facts in listed if name.endswith(".safetensors")}
    return {path.name: artifacts.file_sha256(path) for path in sorted(folder.glob("*.safetensors"))}


def _random_is_chance(frame: Frame) -> Iterator[str]:
    for cell in frame.cells.cells:
        rows = frame.of_cell(cell, "init") if cell.method == "random" else []
        for row in rows:
            if row.is_choice and row.chance is not None and row.items:
                form = max([CHANCE_SHARE, *(abs(value - row.chance) for value in row.baselines.values())])
                reach = CHANCE_ERRORS * math.sqrt(row.chance * (1 - row.chance) / row.items) + form
                if abs(row.value - row.chance) > reach:
                    yield (
                        f"{cell.key} (init): {row.task} is {row.value:.3f}, chance is {row.chance:.3f} +- {reach:.3f}; "
                        "random rows should know nothing (do the items give the answer away?)"
                    )
        bits, flat = bits_row(rows), frame.value(cell, "init", "uniform_baseline", bits_task(rows))
        if bits is not None and flat is not None and bits.value < FLAT_SHARE * flat:
            yield (
                f"{cell.key} (init): {bits.value:.2f} bits per byte with random rows is far below the uniform baseline of {flat:.2f} "
                "(are the rows really random?)"
            )


def _training_helps(frame: Frame) -> Iterator[str]:
    for cell in frame.cells.cells:
        by_stage = {stage: frame.of_cell(cell, stage) for stage in STAGES}
        task = bits_task(row for rows in by_stage.values() for row in rows)
        before, after = (main_row(rows, task) for rows in by_stage.values())
        if before is not None and after is not None and not after.value < before.value:
            yield f"{cell.key}: training raises bits per byte from {before.value:.4f} to {after.value:.4f} ({task})"


def _no_twins(frame: Frame) -> Iterator[str]:
    for members in frame.groups.values():
        for stage in frame.stages(members[0]):
            found = [(cell, _samples(frame, cell, stage)) for one in members for cell in frame.scored(one, stage)]
            for (one, ours), (other, theirs) in combinations(found, 2):
                same = sorted(name for name in ours if ours[name] == theirs.get(name))
                if one.method != other.method and same:
                    yield f"{one.key} and {other.key} ({stage}) gave identical samples for {', '.join(same)} (is it the same model?)"


def _samples(frame: Frame, cell: RunCell, stage: Stage) -> dict[str, str]:
    """Samples file -> SHA-256, of the tasks that measure bits: those of different models never agree to the last digit."""
    files = artifacts.read(frame.scores[cell.key, stage].folder)["files"]
    tasks = sorted({row.task for row in frame.of_cell(cell, stage) if row.builder == BITS})
    return {task: str(files[name]["sha256"]) for task in tasks if (name := f"samples/{task}.jsonl") in files}


def _whole(frame: Frame) -> list[RunCell]:
    """The cells that are run and whose manifests can be read; of the others `_present` says what is wrong."""
    return [cell for cell in frame.cells.cells if cell.reason is None and (cell.key, "init") not in frame.damage]
