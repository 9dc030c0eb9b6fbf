"""Objectives: the worked example of docs/adding-an-objective.md, and what is refused before work."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tokgraft.config.experiment import Experiment
from tokgraft.config.recipe import TrainingRecipe
from tokgraft.errors import ConfigError
from tokgraft.matrix import Matrix
from tokgraft.training import objectives
from tokgraft.training.data_source import DataSource
from tokgraft.training.device import DeviceContext
from tokgraft.training.objectives import OBJECTIVES
from tokgraft.training.run import train
from training_material import corpus, llama, model_folder

ROOT = Path(__file__).parents[2]
STAGE: dict[str, Any] = {"name": "all", "train": ["all"], "bytes": 6000, "lr": 2e-2}
HERE = DeviceContext(torch.device("cpu"), 1, 0, 1, False, False)


def recipe(*names: str | None, **more: Any) -> TrainingRecipe:
    stages = [{**STAGE, "name": f"stage{index}"} | ({"objective": name} if name else {}) for index, name in enumerate(names)]
    settings = {"stages": stages, "sequence_length": 32, "batch_size": 4, "validations": 1, "validation_bytes": 500, "checkpoints": 0}
    return TrainingRecipe.parse({**settings, **more}, "test")


@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The objective of the guide, as a file beside the others."""
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs/adding-an-objective.md").read_text(encoding="utf-8"), flags=re.S)
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts/smoothed.py").write_text(block, encoding="utf-8")
    monkeypatch.setattr(objectives, "__path__", [*objectives.__path__, str(tmp_path / "parts")])
    monkeypatch.setattr(OBJECTIVES, "_discovered", False)  # another test may have asked for all names
    yield
    OBJECTIVES._things.pop("smoothed", None)
    sys.modules.pop("tokgraft.training.objectives.smoothed", None)


def test_the_example_trains_a_stage_of_a_recipe(example: None, tmp_path: Path) -> None:
    corpus(tmp_path / "de")
    model_folder(tmp_path / "model")

    def losses(how: TrainingRecipe, out: str) -> list[float]:
        train(tmp_path / "model", tmp_path / "de", how, tmp_path / out, threads=1)
        rows = [json.loads(line) for line in (tmp_path / out / "metrics.jsonl").read_text().splitlines()]
        return [row["loss"] for row in rows if "loss" in row]

    plain, own = losses(recipe(None, None), "plain"), losses(recipe("smoothed", "next_token"), "own")
    half = len(plain) // 2
    assert all(one != other for one, other in zip(plain, own))
    assert own[half - 1] > plain[half - 1] + 0.01, "smoothed labels cannot be met"
    # Accumulated over micro-batches, the step is the same but for rounding.
    parts = losses(recipe("smoothed", "next_token", micro_batch_size=1), "micro")
    assert parts[:half] == pytest.approx(own[:half], rel=1e-3)


def test_a_recipe_that_names_the_usual_objective_is_what_it_was() -> None:
    assert recipe("next_token").canonical() == recipe(None).canonical()
    assert "objective" not in recipe(None).canonical()["stages"][0]
    assert recipe("smoothed").canonical()["stages"][0]["objective"] == "smoothed"


def test_an_unknown_objective_is_refused_before_work(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"unknown training objective 'next_tokens' in stage stage0\n.*did you mean next_token"):
        train(tmp_path / "model", tmp_path / "de", recipe("next_tokens"), tmp_path / "out")


def test_an_unknown_objective_is_refused_when_the_run_is_planned(tmp_path: Path) -> None:
    matrix = Matrix(Experiment.load("smoke", ROOT / "config"), ROOT / "config")
    matrix.load_all()
    changed = matrix.recipes["smoke"].model_copy(update={"stages": recipe("nxt_token").stages})
    matrix.recipes["smoke"] = changed
    with pytest.raises(ConfigError, match="unknown training objective 'nxt_token' in recipe smoke, stage stage0"):
        matrix.load_all()


def test_next_token_is_the_models_own_loss(tmp_path: Path) -> None:
    """The sum over the labels of what transformers computes as a mean."""
    from tokgraft.training.data_source import Batch

    model = llama(50)
    objective = OBJECTIVES.get("next_token")(model, recipe(None), HERE)
    ids = torch.arange(32).reshape(2, 16) % 50
    labels = torch.cat([ids[:, 1:], torch.full((2, 1), -100)], dim=1)
    expected = model(input_ids=ids, labels=ids).loss * 30
    assert objective.loss(Batch(ids, labels)).item() == pytest.approx(expected.item(), rel=1e-5)


def test_a_data_source_says_what_it_owes() -> None:
    with pytest.raises(TypeError, match="abstract"):
        DataSource()  # type: ignore[abstract]
