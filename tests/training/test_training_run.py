"""Whole runs on tiny models: what is written, resume after a kill, determinism, early errors."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from tokgraft import artifacts
from tokgraft.config.recipe import TrainingRecipe
from tokgraft.errors import ConfigError, DataError, ModelError
from tokgraft.models.bits import bits_per_byte, document_bits
from tokgraft.training.checkpoints import CheckpointFolder, default_folder
from tokgraft.training.pages import Pages
from tokgraft.training.run import train
from training_material import ENGLISH, corpus, model_folder

STAGES = [
    {"name": "tables", "train": ["embeddings", "head"], "bytes": 4000, "lr": 1e-2},
    {"name": "all", "train": ["all"], "bytes": 9000, "lr": 3e-3, "replay": 0.25},
]


def recipe(**more: Any) -> TrainingRecipe:
    settings = {"stages": STAGES, "sequence_length": 32, "batch_size": 4, "validations": 3, "validation_bytes": 1500, "checkpoints": 4}
    return TrainingRecipe.parse({**settings, **more}, "test")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    corpus(tmp_path / "de")
    corpus(tmp_path / "en", ENGLISH)
    model_folder(tmp_path / "model")
    return tmp_path


def start(place: Path, out: Path, how: TrainingRecipe | None = None, **more: Any) -> dict[str, Any]:
    return train(place / "model", place / "de", how or recipe(), out, english=place / "en", threads=1, **more)


def rows(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def test_a_run_lowers_bits_per_byte_and_writes_a_complete_model(place: Path) -> None:
    (place / "model" / "provenance.jsonl").write_text('{"id": 0, "how": "role"}\n')
    summary = start(place, place / "out")
    assert artifacts.verify(place / "out") == []
    found = rows(place / "out")
    curve, points = [row for row in found if "loss" in row], [row for row in found if "val_bpb" in row]
    assert [row["step"] for row in curve] == list(range(1, summary["steps"] + 1))
    assert set(curve[0]) == {"step", "stage", "bytes", "tokens", "loss", "lr", "grad_norm"}
    assert curve[0]["stage"] == "tables" and curve[-1]["stage"] == "all"
    assert points[0]["step"] == 0 and points[-1]["step"] == summary["steps"] and len(points) == 4
    assert points[-1]["val_bpb"] < points[0]["val_bpb"] - 0.3
    assert points[-1]["val_bpb_english"] < points[0]["val_bpb_english"]
    assert summary["bytes"] == curve[-1]["bytes"] <= 13_000 and summary["replay_bytes"] == pytest.approx(2250, abs=300)
    assert (place / "out" / "provenance.jsonl").read_text() == '{"id": 0, "how": "role"}\n'
    assert not default_folder(place / "out").exists()
    assert json.loads((place / "out" / "run.json").read_text())["threads"] == 1
    # Plain transformers reads the folder and finds the same number.
    words = AutoTokenizer.from_pretrained(place / "out")
    model = AutoModelForCausalLM.from_pretrained(place / "out")
    again = bits_per_byte(document_bits(model, words, Pages(place / "de", "dev").sample(1500), max_tokens=64))
    assert again == pytest.approx(points[-1]["val_bpb"], rel=1e-5)


def test_the_same_run_gives_the_same_bytes_and_another_seed_does_not(place: Path) -> None:
    start(place, place / "one")
    start(place, place / "two", checkpoints=place / "elsewhere")
    start(place, place / "three", seed=1)
    first, second, third = (artifacts.read(place / name)["files"] for name in ("one", "two", "three"))
    assert first == second
    assert first["model.safetensors"] != third["model.safetensors"]


def test_stage_that_trains_tables_leaves_the_body(place: Path) -> None:
    start(place, place / "out", recipe(stages=STAGES[:1]))
    before, after = (AutoModelForCausalLM.from_pretrained(place / name) for name in ("model", "out"))
    for (name, old), new in zip(before.named_parameters(), after.parameters()):
        assert torch.equal(old, new) == ("embed_tokens" not in name), name


def test_micro_batches_give_nearly_the_same_model(place: Path) -> None:
    start(place, place / "one")
    start(place, place / "two", recipe(micro_batch_size=1))
    for left, right in zip(rows(place / "one"), rows(place / "two")):
        assert left.get("loss", 0) == pytest.approx(right.get("loss", 0), rel=1e-3)


COMMAND = [sys.executable, "-m", "tokgraft", "train", "--threads", "1"]


def command(place: Path, out: str, how: TrainingRecipe) -> list[str]:
    folders = ["--model", place / "model", "--corpus", place / "de", "--english", place / "en", "--out", place / out]
    return [*COMMAND, *map(str, folders), "--settings", artifacts.canonical_json(how.canonical())]


def until_checkpoint(process: subprocess.Popen[str], folder: Path, newest: str) -> None:
    """Wait until a run has written a checkpoint after `newest`."""
    deadline = time.monotonic() + 240
    while max([path.name for path in folder.glob("*/step-*")], default="") <= newest:
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.slow
def test_a_run_killed_twice_gives_the_artifact_of_an_unbroken_one(place: Path) -> None:
    long = recipe(stages=[{**stage, "bytes": 12_000} for stage in STAGES], checkpoints=30)
    store = default_folder(place / "out")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    start(place, place / "whole", long)
    for how, status in ((signal.SIGKILL, -9), (signal.SIGTERM, 143)):
        seen = max([path.name for path in store.glob("*/step-*")], default="")
        process = subprocess.Popen(command(place, "out", long), stderr=subprocess.PIPE, text=True, env=environment)
        until_checkpoint(process, store, seen)
        process.send_signal(how)
        process.communicate()
        assert process.returncode == status
        assert not (place / "out").exists()
    done = subprocess.run(command(place, "out", long), capture_output=True, text=True, check=True, env=environment)
    assert "going on from the checkpoint of step" in done.stderr
    assert artifacts.fingerprint(place / "out") == artifacts.fingerprint(place / "whole")
    assert not store.exists()


def test_every_checkpoint_leads_to_the_same_model_and_damaged_ones_are_skipped(
    place: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("tokgraft.training.checkpoints.KEPT", 100)
    monkeypatch.setattr("tokgraft.logs.log.propagate", True)
    caplog.set_level(logging.INFO, "tokgraft")
    with monkeypatch.context() as patch:
        patch.setattr(CheckpointFolder, "clear", lambda self: None)
        start(place, place / "whole", checkpoints=place / "kept")
    found = sorted(place.glob("kept/*/step-*"))
    assert len(found) == 4
    # In turn: the newest whole; its tensors cut short; the next one's state unreadable too; the one before that gone.
    damages = [halve_tensors, lambda path: (path / "state.json").write_text("{"), shutil.rmtree]
    for round_, resumed in enumerate([3, 2, 1, 0]):
        store = place / f"store{round_}"
        shutil.copytree(place / "kept", store)
        for damage, checkpoint in zip(damages[:round_], reversed(found)):
            damage(store / checkpoint.relative_to(place / "kept"))
        caplog.clear()
        start(place, place / "again", checkpoints=store)
        assert f"going on from the checkpoint of step {int(found[resumed].name[5:])}" in caplog.text
        warned = {record.getMessage() for record in caplog.records if "is damaged" in record.getMessage()}
        assert len(warned) == min(round_, 2)
        assert artifacts.fingerprint(place / "again") == artifacts.fingerprint(place / "whole")


def halve_tensors(checkpoint: Path) -> None:
    content = (checkpoint / "tensors.safetensors").read_bytes()
    (checkpoint / "tensors.safetensors").write_bytes(content[: len(content) // 2])


def test_checkpoint_of_other_settings_is_not_taken(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CheckpointFolder, "clear", lambda self: None)
    start(place, place / "one", checkpoints=place / "kept")
    start(place, place / "two", seed=1, checkpoints=place / "kept")
    monkeypatch.undo()
    start(place, place / "three", seed=1)
    assert artifacts.fingerprint(place / "two") == artifacts.fingerprint(place / "three")


def test_head_that_is_not_plain_trains_by_the_models_own_forward(place: Path) -> None:
    from transformers import Gemma2Config, Gemma2ForCausalLM

    from tokgraft.models.io import save_model
    from training_material import tokenizer

    words = tokenizer()
    torch.manual_seed(0)
    config = Gemma2Config(vocab_size=len(words), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
                          num_key_value_heads=2, head_dim=16, max_position_embeddings=64, final_logit_softcapping=5.0)  # fmt: skip
    save_model(Gemma2ForCausalLM(config), words, place / "capped")
    summary = train(place / "capped", place / "de", recipe(stages=STAGES[:1]), place / "out", threads=1)
    assert summary["final_val_bpb"] < summary["initial_val_bpb"]
    assert "final_val_bpb_english" not in summary


def test_errors_come_before_work(place: Path) -> None:
    with pytest.raises(DataError, match="no English corpus"):
        train(place / "model", place / "de", recipe(), place / "out")
    with pytest.raises(DataError, match=r"provenance\.jsonl"):
        start(place, place / "out", recipe(stages=[{**STAGES[0], "train": ["new_rows"]}]))
    with pytest.raises(ModelError, match="context of 64 tokens"):
        start(place, place / "out", recipe(sequence_length=128))
    with pytest.raises(DataError, match="less than one sequence"):
        start(place, place / "out", recipe(stages=[{**STAGES[0], "bytes": 20}]))
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match="no CUDA device"):
            start(place, place / "out", device="cuda")
    assert not (place / "out").exists() and not list(place.glob(".out*"))


def test_loss_that_is_no_number_stops_the_run(place: Path) -> None:
    one = recipe(stages=[{**STAGES[0], "warmup": 0}])
    wild = one.model_copy(update={"stages": [one.stages[0].model_copy(update={"lr": 1e30})]})  # more than a file may say
    with pytest.raises(ModelError, match=r"stage 'tables', step \d+ of \d+: loss .*nan"):
        start(place, place / "out", wild)
    assert not (place / "out").exists()


def test_nan_weights_are_refused(place: Path) -> None:
    from tokgraft.models.io import load_model, load_tokenizer, save_model

    model = load_model(place / "model")
    with torch.no_grad():
        model.get_input_embeddings().weight[7] = float("nan")
    save_model(model, load_tokenizer(place / "model"), place / "broken")
    with pytest.raises(ModelError, match="NaN"):
        train(place / "broken", place / "de", recipe(stages=STAGES[:1]), place / "out")
