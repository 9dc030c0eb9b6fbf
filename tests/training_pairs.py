"""Runs of two training processes on one machine, for ordinary and integration tests."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tokgraft import artifacts
from tokgraft.config.recipe import TrainingRecipe
from tokgraft.models.io import load_model
from tokgraft.training.checkpoints import default_folder
from tokgraft.training.run import train
from training_material import ENGLISH, corpus, model_folder

# Five sequences a step: two processes hold three and two. One sequence a forward pass: gradients accumulate. The numbers of bytes leave
# a last step of each stage that is part filled, and one of a single row, for which the second process has nothing.
STAGES = [
    {"name": "tables", "train": ["embeddings", "head"], "bytes": 4000, "lr": 1e-2},
    {"name": "all", "train": ["all"], "bytes": 9000, "lr": 3e-3, "replay": 0.25},
]
RECIPE = {
    "stages": STAGES, "sequence_length": 32, "batch_size": 5, "micro_batch_size": 1, "validations": 3, "validation_bytes": 1500,
    "checkpoints": 4,
}  # fmt: skip
LONG = {**RECIPE, "stages": [{**stage, "bytes": 60_000} for stage in STAGES], "checkpoints": 40}
LAUNCHERS = {
    "accelerate": ["accelerate.commands.accelerate_cli", "launch", "--multi_gpu", "--num_processes", "2", "--main_process_port", "0", "-m"],
    "torchrun": ["torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m"],
}
BOUND = 90  # seconds in which all must have ended after one is gone


def recipe(settings: dict[str, Any] = RECIPE) -> TrainingRecipe:
    return TrainingRecipe.parse(settings, "test")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    corpus(tmp_path / "de")
    corpus(tmp_path / "en", ENGLISH)
    model_folder(tmp_path / "model")
    return tmp_path


def alone(home: Path, out: str, settings: dict[str, Any] = RECIPE, **more: Any) -> None:
    train(home / "model", home / "de", recipe(settings), home / out, english=home / "en", threads=1, **more)


RUNNING: list[subprocess.Popen[str]] = []


@pytest.fixture(autouse=True)
def nothing_stays() -> Iterator[None]:
    yield
    while RUNNING:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(RUNNING.pop().pid, signal.SIGKILL)


def two(home: Path, out: str, settings: dict[str, Any] = RECIPE, launcher: str = "torchrun", **variables: str) -> subprocess.Popen[str]:
    """Start two processes; what they say goes to `<out>.log`."""
    folders = ["--model", home / "model", "--corpus", home / "de", "--english", home / "en", "--out", home / out]
    flags = ["--threads", "1", "--device", "cpu", "--settings", artifacts.canonical_json(recipe(settings).canonical())]
    command = [sys.executable, "-m", *LAUNCHERS[launcher], "tokgraft", "train", *map(str, folders), *flags]
    with (home / f"{out}.log").open("w") as log:
        variables = {**os.environ, "OMP_NUM_THREADS": "1", **variables}
        RUNNING.append(subprocess.Popen(command, stdout=log, stderr=log, text=True, env=variables, start_new_session=True))
    return RUNNING[-1]


def said(home: Path, out: str) -> str:
    return (home / f"{out}.log").read_text()


def rows(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def check_equal(one: Path, other: Path) -> None:
    """The same artifact but for rounding."""
    left, right = rows(one), rows(other)
    assert [set(row) for row in left] == [set(row) for row in right] and len(left) > 20
    for row, twin in zip(left, right):
        for key, value in row.items():
            assert twin[key] == (pytest.approx(value, rel=2e-4) if isinstance(value, float) else value), (key, row, twin)
    facts, others = (json.loads((folder / "training.json").read_text()) for folder in (one, other))
    assert facts.keys() == others.keys()
    for key, value in facts.items():
        assert others[key] == (pytest.approx(value, rel=2e-4) if isinstance(value, float) else value), key
    first, second = artifacts.read(one), artifacts.read(other)
    assert {**first, "files": sorted(first["files"])} == {**second, "files": sorted(second["files"])}
    rounded = {"metrics.jsonl", "training.json", "model.safetensors"}
    assert {name for name in first["files"] if first["files"][name] != second["files"][name]} <= rounded
    assert artifacts.verify(other) == []
    weights = [dict(load_model(folder).named_parameters()) for folder in (one, other)]
    for name, weight in weights[0].items():
        assert torch.allclose(weight, weights[1][name], rtol=1e-3, atol=1e-4), name


def started(home: Path, out: str, process: subprocess.Popen[str]) -> list[int]:
    """Wait for two checkpoints; process ids of the two workers, the first one first."""
    deadline = time.monotonic() + 240
    while len(list(default_folder(home / out).glob("*/step-*"))) < 2:
        assert process.poll() is None and time.monotonic() < deadline, said(home, out)
        time.sleep(0.02)
    ranks: dict[int, int] = {}
    for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
        variables = Path(f"/proc/{child}/environ").read_bytes().split(b"\0")
        ranks.update({int(text[5:]): int(child) for text in variables if text.startswith(b"RANK=")})
    return [ranks[0], ranks[1]]
