from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
import torch

from tokgraft import artifacts
from tokgraft.config.recipe import TrainingRecipe
from tokgraft.training import usage
from tokgraft.training.device import DeviceContext
from tokgraft.training.run import train
from training_material import corpus, model_folder

HERE = DeviceContext(torch.device("cpu"), 1, 0, 1, False, False)
GPU = DeviceContext(torch.device("cuda", 1), 1, 0, 1, False, False)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_samples_are_a_second_apart_and_rarer_in_a_long_run() -> None:
    clock = Clock()
    sampled = usage.Usage(HERE, clock)
    taken = []
    while clock.now < 86_400:
        clock.now += 0.5
        if sampled.due():
            taken.append(clock.now)
            sampled.sample(len(taken))
    assert taken[:3] == [1.0, 2.0, 3.0]
    assert 1000 < len(taken) < 2000, "a day"
    assert taken[-1] - taken[-2] == pytest.approx(0.005 * 86_400, rel=0.1)


def test_a_busy_process_is_seen_as_busy() -> None:
    sampled = usage.Usage(HERE)
    end = time.process_time() + 0.3
    while time.process_time() < end:
        pass
    row = sampled.sample(7)
    assert row["process_cpu_percentage"] > 10 and row["process_memory_megabytes"] > 50 and row["step"] == 7
    assert 0 < row["system_memory_usage_percentage"] <= 100
    assert abs(row["time"] / 1000 - time.time()) < 60


def test_a_gpu_is_asked_and_one_that_does_not_answer_ends_no_training(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:  # fmt: skip
    class Properties:
        total_memory = 16_000_000_000

    monkeypatch.setattr(torch.cuda, "device_memory_used", lambda gpu: 4_000_000_000)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda gpu: Properties)
    monkeypatch.setattr(torch.cuda, "utilization", lambda gpu: 87)
    monkeypatch.setattr(torch.cuda, "power_draw", lambda gpu: 250_000)
    sampled = usage.Usage(GPU)
    row = sampled.sample(0)
    assert {name: value for name, value in row.items() if name.startswith("gpu_")} == {
        "gpu_1_utilization_percentage": 87.0, "gpu_1_memory_usage_megabytes": 4000.0, "gpu_1_memory_usage_percentage": 25.0,
        "gpu_1_power_usage_watts": 250.0,
    }  # fmt: skip

    def silent(gpu: int) -> int:
        raise RuntimeError("driver/library version mismatch")

    monkeypatch.setattr(torch.cuda, "utilization", silent)
    assert sampled.sample(1)["step"] == 1
    assert not any(name.startswith("gpu_") for name in sampled.sample(2))


def test_a_training_leaves_its_samples_outside_the_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = TrainingRecipe.model_validate({
        "stages": [{"name": "all", "bytes": 4000, "lr": 1e-3, "train": ["all"]}], "sequence_length": 32, "batch_size": 2, "validations": 1,
        "checkpoints": 0, "validation_bytes": 500,
    })  # fmt: skip
    monkeypatch.setattr(usage, "SECONDS", 0.0)
    monkeypatch.setattr(usage, "SHARE", 0.0)
    train(model_folder(tmp_path / "model"), corpus(tmp_path / "corpus"), recipe, tmp_path / "out", threads=1)
    rows = [json.loads(line) for line in (tmp_path / "out" / usage.FILE).read_text().splitlines()]
    assert len(rows) > 3 and [row["step"] for row in rows] == list(range(1, len(rows) + 1))
    assert [row["time"] for row in rows] == sorted(row["time"] for row in rows)
    manifest = artifacts.read(tmp_path / "out")
    assert usage.FILE in artifacts.VOLATILE["model"] and usage.FILE not in manifest["files"]
    assert not artifacts.verify(tmp_path / "out")
