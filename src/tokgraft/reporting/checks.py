"""Do the products of a run make sense? Each problem is one line: what, where, and what it may mean."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

from tokgraft import artifacts
from tokgraft.cells import STAGES, CellList, RunCell, bits_task, cell_speed, missing, read_facts, read_jsonl, stale
from tokgraft.config.layout import CONTROL
from tokgraft.errors import TokgraftError
from tokgraft.reporting.evidence import Evidence, Outcome, gather, tokenizer_facts

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
    evidence = gather(cells, refuse=False)
    checks = (_present, _readable, _finite, _current, _control_is_base, _random_is_chance, _training_helps, _no_twins)
    return list(dict.fromkeys(problem for check in checks for problem in check(evidence)))


def _present(evidence: Evidence) -> Iterator[str]:
    for outcome in evidence.outcomes:
        cell = outcome.cell
        if cell.reason is not None:
            if not cell.reason.strip():
                yield f"{cell.key}: skipped without a reason"
        elif outcome.damage:
            yield outcome.damage
        elif outcome.score is None:
            yield f"{cell.key} ({outcome.stage}): {outcome.reason}"
        elif outcome.score.bits_per_byte() is None:
            yield f"{cell.key} ({outcome.stage}): {outcome.score.folder} holds no bits per byte of the cell's language"
        if cell.reason is None and not outcome.damage and (problem := missing(cell.records(outcome.stage))):
            yield f"{cell.key} ({outcome.stage}): {problem}"


def _readable(evidence: Evidence) -> Iterator[str]:
    """What the report would refuse to read beside what the scores stand on."""
    told = {outcome.damage for outcome in evidence.outcomes if outcome.damage}
    cells = [cell for cell in evidence.cells.cells if cell.reason is None]
    readers: list[Callable[[RunCell], object]] = [
        cell_speed,
        tokenizer_facts,
        lambda cell: read_facts(cell.paths.corpus, "card.json", "corpus"),
        lambda cell: read_facts(cell.paths.english, "card.json", "english"),
        lambda cell: cell.paths.evaluation and read_facts(cell.paths.evaluation, "evaluation.json", "evaluation"),
    ]
    for read in readers:
        for cell in cells:
            try:
                read(cell)
            except TokgraftError as error:
                if not any(damage in error.what for damage in told):
                    yield error.what


def _finite(evidence: Evidence) -> Iterator[str]:
    for outcome in evidence.outcomes:
        if outcome.score is None:
            continue
        for place in _not_finite(outcome.score.data):
            yield f"{outcome.score.folder / 'scores.json'}: {place} is not a finite number"
        path = outcome.cell.records(outcome.stage) / "metrics.jsonl"
        for number, record in enumerate(read_jsonl(path), 1):
            for place in _not_finite(record):
                yield f"{path}, line {number}: {place} is not a finite number (the training diverged?)"


def _not_finite(value: Any, place: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _not_finite(inner, f"{place}/{name}" if place else str(name))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _not_finite(inner, f"{place}[{index}]")
    elif isinstance(value, float) and not math.isfinite(value):
        yield place


def _current(evidence: Evidence) -> Iterator[str]:
    for role in ("tokenizer", "evaluation", "speed"):  # those of scores are said with the cells that they leave without one
        yield from (problem for cell in _whole(evidence) if (problem := stale(cell, role)))


def _control_is_base(evidence: Evidence) -> Iterator[str]:
    for cell in _whole(evidence):
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


def _random_is_chance(evidence: Evidence) -> Iterator[str]:
    for outcome in _scored(evidence):
        score = outcome.score
        if outcome.stage != "init" or outcome.cell.method != "random" or score is None:
            continue
        for task in score.choices():
            if task.chance is not None and task.n:
                form = max([CHANCE_SHARE, *(abs(value - task.chance) for value in task.baselines.values())])
                reach = CHANCE_ERRORS * math.sqrt(task.chance * (1 - task.chance) / task.n) + form
                if abs(task.value - task.chance) > reach:
                    yield (
                        f"{outcome.cell.key} (init): {task.slug} is {task.value:.3f}, chance is {task.chance:.3f} +- {reach:.3f}; "
                        "random rows should know nothing (do the items give the answer away?)"
                    )
        bits, flat = score.bits_per_byte(), score.fact("flat_guess")
        if bits is not None and flat is not None and bits.value < FLAT_SHARE * flat:
            yield (
                f"{outcome.cell.key} (init): {bits.value:.2f} bits per byte with random rows is far below the uniform baseline of {flat:.2f} "
                "(are the rows really random?)"
            )


def _training_helps(evidence: Evidence) -> Iterator[str]:
    for cell in evidence.cells.cells:
        by_stage = {one.stage: one.score for one in evidence.outcomes if one.cell is cell and one.score is not None}
        task = bits_task(by_stage.values())
        before, after = (score.task(task) if (score := by_stage.get(stage)) else None for stage in STAGES)
        if before is not None and after is not None and not after.value < before.value:
            yield f"{cell.key}: training raises bits per byte from {before.value:.4f} to {after.value:.4f} ({task})"


def _no_twins(evidence: Evidence) -> Iterator[str]:
    for place in evidence.places:
        for stage in evidence.stages(place):
            found: list[tuple[Outcome, dict[str, str]]] = []
            for group in evidence.within(place):
                found += [(one, _samples(one)) for one in group.outcomes[stage] if one.score is not None]
            for (one, ours), (other, theirs) in combinations(found, 2):
                same = sorted(name for name in ours if ours[name] == theirs.get(name))
                if one.cell.method != other.cell.method and same:
                    yield f"{one.cell.key} and {other.cell.key} ({stage}) gave identical samples for {', '.join(same)} (is it the same model?)"


def _samples(outcome: Outcome) -> dict[str, str]:
    """Samples file -> SHA-256, of the tasks that measure bits: those of different models never agree to the last digit."""
    if outcome.score is None:
        return {}
    files = artifacts.read(outcome.score.folder)["files"]
    bits = {task.slug for task in outcome.score.tasks if task.builder == "bits_per_byte"}
    return {slug: str(files[name]["sha256"]) for slug in sorted(bits) if (name := f"samples/{slug}.jsonl") in files}


def _whole(evidence: Evidence) -> list[RunCell]:
    """The cells that are run and whose manifests can be read; of the others `_present` says what is wrong."""
    return [outcome.cell for outcome in evidence.outcomes if outcome.stage == "init" and outcome.cell.reason is None and not outcome.damage]


def _scored(evidence: Evidence) -> list[Outcome]:
    return [outcome for outcome in evidence.outcomes if outcome.score is not None]
