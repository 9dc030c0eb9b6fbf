"""What a run left behind: the list of cells that the workflow hands on, and readers for the artifacts of each cell.

The report and the tracking store both stand on this module: they read finished files and never import the stage that wrote them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from pydantic import Field, ValidationError

from tokgraft import artifacts, jsonl
from tokgraft.config import layout
from tokgraft.config.base import Strict
from tokgraft.errors import ArtifactError, ConfigError, DataError, unknown
from tokgraft.jsonl import read_json as read_json
from tokgraft.scoring.speed import Speed, read_speed

Stage = Literal["init", "trained"]
STAGES: tuple[Stage, ...] = get_args(Stage)
ABSENT = "absent"

# An artifact of a cell -> what its manifest calls an input -> which artifact of the cell that is.
_TEXTS = {"corpus": "corpus", "english": "english"}
_MADE_FROM: dict[str, dict[str, str]] = {
    "tokenizer": {"base": "base", **_TEXTS},
    "evaluation": {"tokenizer": "tokenizer", "base": "base", **_TEXTS},
    "speed": {"base": "base", "tokenizer": "tokenizer", "corpus": "corpus"},
    "init": {"model": "base", "tokenizer": "tokenizer", "corpus": "corpus"},
    "trained": {"model": "init", **_TEXTS},
    "score_init": {"model": "init", **_TEXTS},
    "score_trained": {"model": "trained", **_TEXTS},
}


class CellPaths(Strict):
    """Folder of each artifact of a cell, relative to the project root."""

    base: Path = Field(description="Base model.")
    corpus: Path = Field(description="Corpus of the language.")
    english: Path = Field(description="English corpus.")
    tokenizer: Path = Field(description="Tokenizer of the cell.")
    evaluation: Path | None = Field(None, description="Evaluation of the tokenizer; null: none was asked for.")
    init: Path = Field(description="Model after the transplant.")
    trained: Path | None = Field(None, description="Model after continual training; null: the cell is zero-shot.")
    score_init: Path = Field(description="Scores of `init`.")
    score_trained: Path | None = Field(None, description="Scores of `trained`.")
    speed: Path | None = Field(None, description="Speed with the tokenizer beside that of the original; null: not measured.")


class Combination(NamedTuple):
    """What cells that differ in the seed alone have in common."""

    model: str
    language: str
    tokenizer: str
    method: str
    recipe: str

    @property
    def group(self) -> tuple[str, str, str]:
        """What methods are compared within: model, language, training recipe."""
        return (self.model, self.language, self.recipe)

    @property
    def initialiser(self) -> str:
        """The method without its refiners."""
        return self.method.partition("+")[0]

    @property
    def keeps_tokenizer(self) -> bool:
        """Whether it is the original model with its own tokenizer, alone or with refiners: no transplant."""
        return self.initialiser == layout.CONTROL

    @property
    def is_control(self) -> bool:
        """Whether it is the original model with its own tokenizer and nothing else done to it but training."""
        return self.method == layout.CONTROL


class RunCell(Strict):
    """One combination of the matrix, with the folders of its artifacts."""

    model: str = Field(description="Slug of the base model.")
    language: str = Field(description="Slug of the language.")
    tokenizer: str = Field(description="Slug of the tokenizer recipe.")
    method: str = Field(description="Name of the method or chain.")
    chain: str = Field(description="Registered chain that the method stands for: what the record of a transplant names.")
    recipe: str = Field(description="Slug of the training recipe.")
    seed: int = Field(description="Seed of transplant and training.")
    paths: CellPaths = Field(description="Folders of its artifacts.")
    reason: str | None = Field(None, description="Why the cell is skipped; null: it is run.")
    unfit: dict[Stage, str] = Field(default_factory=dict, exclude=True, description="Stage -> why its scores are not the cell's, as read.")

    @property
    def key(self) -> str:
        """Unique name of the cell."""
        return f"{self.model}/{self.language}/{self.tokenizer}/{self.method}/{self.recipe}/s{self.seed}"

    @property
    def combination(self) -> Combination:
        """The cell without its seed."""
        return Combination(self.model, self.language, self.tokenizer, self.method, self.recipe)

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The stages it is scored at: `init` alone when it is zero-shot."""
        return STAGES if self.paths.trained else STAGES[:1]

    @property
    def final(self) -> Stage:
        """The last of its stages."""
        return self.stages[-1]

    def model_folder(self, stage: Stage) -> Path:
        """Folder of the model at a stage that it has."""
        return self._folder(self.paths.init if stage == "init" else self.paths.trained, stage)

    def score_folder(self, stage: Stage) -> Path:
        """Folder of the scores at a stage that it has."""
        return self._folder(self.paths.score_init if stage == "init" else self.paths.score_trained, stage)

    def _folder(self, folder: Path | None, stage: Stage) -> Path:
        if folder is None:
            raise ValueError(f"{self.key} has no stage {stage}")
        return folder

    def records(self, stage: Stage) -> Path:
        """Folder with what is written about the model at a stage (manifest, totals, curve): the copy that its scores carry and hash.

        So tables and tracking are made from the scores alone, whether the models are here or not.
        """
        return self.score_folder(stage) / layout.RECORDS


class CellList(Strict):
    """The cells of an experiment."""

    experiment: str = Field(description="Name of the experiment.")
    description: str = Field("", description="What it asks.")
    cells: list[RunCell] = Field(min_length=1, description="Its cells.")
    names: dict[str, dict[str, str]] = Field(default_factory=dict, description="Kind (languages, models) -> slug -> name for people.")
    licences: dict[str, str] = Field(default_factory=dict, description="Slug of a base model -> licence of its weights.")

    def name(self, kind: str, slug: str) -> str:
        """The name for people of a slug; the slug itself when none was given."""
        return self.names.get(kind, {}).get(slug) or slug


def listed(experiment: str | None = None, root: Path = Path()) -> Path:
    """The cell list of an experiment that was run here; of none named: of the only one.

    Raises:
        ConfigError: There is no such experiment here, or none was named and there are several.
    """
    found = {path.parent.name: path for path in sorted(root.glob(layout.cells("*")))}
    if experiment is None and len(found) == 1:
        return next(iter(found.values()))
    if experiment in found:
        return found[experiment]
    if experiment is None:
        several = f"several experiments were run here: {', '.join(found)}" if found else "no experiment was run here"
        raise ConfigError(several, "name one with --experiment" if found else "make demo, or make run CONFIG=...")
    raise unknown("experiment", experiment, found, f"{layout.RESULTS / layout.EXPERIMENTS}/")


def load_cells(path: Path) -> CellList:
    """Read a cell list.

    Raises:
        DataError: The file is missing, is not JSON, or does not have the form of a cell list.
    """
    data = read_json(path)
    try:
        cells = CellList.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise DataError(
            f"{path} is not a cell list: {place}: {first['msg']}",
            "make it again: tokgraft list cells, or let the workflow write it (rule report_cells)",
        ) from None
    keys = [cell.key for cell in cells.cells]
    twice = sorted({key for key in keys if keys.count(key) > 1})
    if twice:
        raise DataError(f"{path} names a cell twice: {twice[0]}", "remove one of the two")
    return cells.model_copy(update={"cells": [_with_reason(cell) for cell in cells.cells]})


def _with_reason(cell: RunCell) -> RunCell:
    """The cell, and the reason that a stage wrote in the place of its scores, if one did."""
    reason = cell.reason or artifacts.skipped(cell.paths.score_trained or cell.paths.score_init)
    return cell.model_copy(update={"reason": reason})


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """The records of a file with one JSON object a line; an absent file has none.

    Raises:
        DataError: A line is not JSON.
    """
    return list(jsonl.records(path)) if Path(path).is_file() else []


@dataclass(frozen=True)
class CellSpeed:
    """The speed of a cell's vocabulary beside that of the original, or why none can be shown.

    Attributes:
        folder: Its artifact; None where the experiment has none for the cell.
        speed: What was measured; None unless the machine did nothing else meanwhile.
        reason: Why there is none.
    """

    folder: Path | None
    speed: Speed | None
    reason: str = ""


def cell_speed(cell: RunCell) -> CellSpeed:
    """The speed of a cell: every reader takes it from here, so that nothing shows what was not measured alone.

    Raises:
        DataError: The artifact is damaged.
    """
    folder = cell.paths.speed
    if folder is None:
        return CellSpeed(None, None, "the original itself" if cell.tokenizer == layout.ORIGINAL else "not measured in this experiment")
    if problem := missing(folder) or artifacts.skipped(folder):
        return CellSpeed(folder, None, f"not measured: {problem}")
    if problem := stale(cell, "speed"):
        return CellSpeed(folder, None, f"not shown: {problem}")
    found = read_speed(folder)
    return CellSpeed(folder, found) if found.alone.alone else CellSpeed(folder, None, f"not measured alone: {found.alone.reason}")


def read_facts(folder: Path, name: str, role: str) -> dict[str, Any]:
    """A JSON file of an artifact as a mapping, compared with the manifest first; empty when the file is not here.

    Raises:
        ArtifactError: The file or the manifest was altered.
        DataError: The file is not JSON.
    """
    path = Path(folder) / name
    if not path.is_file():
        return {}
    artifacts.demand_whole(folder, role, [name])
    data = read_json(path)
    return data if isinstance(data, dict) else {}


def missing(folder: Path) -> str | None:
    """Why an artifact cannot be read; None when it is whole."""
    try:
        artifacts.read(folder)
    except ArtifactError as error:
        return error.what
    return None


def identity(folder: Path) -> str:
    """Manifest hash of an artifact, or `ABSENT`."""
    return artifacts.fingerprint(folder) if artifacts.is_artifact(folder) else ABSENT


def identities(cell: RunCell) -> dict[str, str]:
    """Role -> manifest hash of every artifact of a cell. Of one that is not here: the hash that the scores or their model were made from."""
    scored = {stage: _inputs(cell.score_folder(stage)) for stage in cell.stages}
    begun, final = _inputs(cell.records("init")), scored[cell.final]
    named = {
        "base": begun.get("model"), "tokenizer": begun.get("tokenizer"), "corpus": final.get("corpus"), "english": final.get("english"),
        **{str(stage): inputs.get("model") for stage, inputs in scored.items()},
    }  # fmt: skip
    found = {role: identity(folder) for role, folder in vars(cell.paths).items() if folder is not None}
    return {role: named.get(role) or ABSENT if value == ABSENT else value for role, value in found.items()}


def stale(cell: RunCell, *roles: str) -> str | None:
    """Why an artifact is not the cell's, or no longer: it was made from others than the cell's are now. None: all of them are the cell's.

    An artifact that is not here has nothing that could be wrong; an input that is not here is known by the hash that the scores name.

    Args:
        cell: The cell.
        roles: Artifacts to look at, in this order (names of `CellPaths`).
    """
    now = identities(cell)
    for role in roles:
        folder = _records(cell, role)
        if folder is None or missing(folder) is not None:
            continue  # who reads it says so
        manifest = artifacts.read(folder)
        if manifest["kind"] == artifacts.SKIPPED:
            continue
        scores = read_facts(folder, "scores.json", "scores") if role.startswith("score_") else {}
        inputs = manifest["inputs"] | ({"model": scores["model"]["fingerprint"]} if scores else {})
        for name, other in _MADE_FROM[role].items():
            want, known = inputs.get(name), now.get(other, ABSENT)
            if want is not None and known not in (want, ABSENT):
                place = getattr(cell.paths, other)
                held = f"{place} holds" if artifacts.is_artifact(place) else "the rest of the cell"
                return f"{_subject(cell, role)} was made from another {name} than {held} ({_again(cell, role)})"
        for name, found, own in (
            ("language", scores.get("language"), cell.language),
            ("seed", manifest["settings"].get("seed") if role in STAGES else None, cell.seed),
            ("method", manifest["settings"].get("method") if role in STAGES else None, cell.chain),
        ):
            if found is not None and own is not None and found != own:
                return f"{_subject(cell, role)} belongs to another cell: its {name} is {found}, not {own}"
    return None


_AGAIN = {"score_init": "score it again", "score_trained": "score it again", "speed": "measure it again", "evaluation": "evaluate it again"}


def of_stage(stage: Stage) -> tuple[str, ...]:
    """The artifacts that a score stands on, itself first: what `stale` is asked for."""
    return ("score_init", "init") if stage == "init" else ("score_trained", "trained", "init")


def _subject(cell: RunCell, role: str) -> str:
    """What a manifest speaks of: the artifact, or the scores, where a model is not here and is known by what they say of it."""
    scores = f"score_{role}" if _is_known_by_scores(cell, role) else ""
    return f"{getattr(cell.paths, scores)} is of a model that" if scores else str(getattr(cell.paths, role))


def _again(cell: RunCell, role: str) -> str:
    return _AGAIN.get(f"score_{role}" if _is_known_by_scores(cell, role) else role, "make it again")


def _is_known_by_scores(cell: RunCell, role: str) -> bool:
    folder: Path | None = getattr(cell.paths, role)
    return role in STAGES and folder is not None and not artifacts.is_artifact(folder)


def _records(cell: RunCell, role: str) -> Path | None:
    """Where the manifest of an artifact lies: of a model that is not here, beside its scores."""
    if _is_known_by_scores(cell, role):
        return cell.records("init" if role == "init" else "trained")
    folder: Path | None = getattr(cell.paths, role)
    return folder


def _inputs(folder: Path) -> dict[str, str]:
    return dict(artifacts.read(folder)["inputs"]) if artifacts.is_artifact(folder) else {}


def command(folder: Path) -> str:
    """The command that made an artifact here; empty when it is not known."""
    return str(artifacts.run(folder).get("command", ""))


def versions(folder: Path) -> dict[str, str]:
    """What an artifact was made with: tokgraft, the libraries that matter to it, and Python where that is known; empty when it is not here."""
    if not artifacts.is_artifact(folder):
        return {}
    manifest, python = artifacts.read(folder), artifacts.run(folder).get("python")
    return {"tokgraft": manifest.get("tokgraft", ""), **manifest.get("libraries", {}), **({"python": str(python)} if python else {})}


def walk(cells: CellList) -> Iterator[tuple[RunCell, Stage]]:
    """Every cell at every stage that it has."""
    for cell in cells.cells:
        for stage in cell.stages:
            yield cell, stage


def flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one level, keys joined by `/`; lists become JSON texts."""
    if not isinstance(value, dict):
        return {prefix: value} if prefix else {}
    flat: dict[str, Any] = {}
    for name, inner in value.items():
        place = f"{prefix}/{name}" if prefix else str(name)
        if isinstance(inner, dict):
            flat.update(flatten(inner, place))
        else:
            flat[place] = json.dumps(inner, sort_keys=True, ensure_ascii=False) if isinstance(inner, list) else inner
    return flat
