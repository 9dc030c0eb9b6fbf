"""Checkpoints: only the run's own folder is ever deleted, and a disk that is full is named."""

from __future__ import annotations

from pathlib import Path

import pytest
import safetensors.torch
import torch

from tokgraft import artifacts
from tokgraft.errors import ArtifactError
from tokgraft.training.checkpoints import CheckpointFolder, default_folder

TENSORS = {"rows": torch.arange(6.0)}


@pytest.mark.parametrize("name", [".config", "..", "plain", "."])
def test_a_folder_that_was_given_keeps_what_is_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    folder = Path(name)
    (folder / "deep").mkdir(parents=True, exist_ok=True)
    (folder / "deep/thesis.tex").write_text("five years of work")
    other = CheckpointFolder(folder, {"seed": 1})
    other.write(1, TENSORS, {})
    mine = CheckpointFolder(folder, {"seed": 0})
    mine.write(3, TENSORS, {"curve": []})
    assert mine.newest() is not None
    mine.clear()
    assert (folder / "deep/thesis.tex").is_file() and not mine.folder.exists() and other.newest() is not None


def test_the_hidden_folder_of_an_output_goes_with_earlier_settings(tmp_path: Path) -> None:
    folder = default_folder(tmp_path / "out")
    for seed in (0, 1):
        CheckpointFolder(folder, {"seed": seed}).write(1, TENSORS, {})
    CheckpointFolder(folder, {"seed": 1}, owned=True).clear()
    assert not folder.exists()
    CheckpointFolder(folder, {"seed": 1}).write(1, TENSORS, {})
    (folder / "notes.md").write_text("mine")
    CheckpointFolder(folder, {"seed": 1}, owned=True).clear()
    assert [path.name for path in folder.iterdir()] == ["notes.md"]


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), safetensors.SafetensorError("No space left on device (os error 28)")]
)
def test_a_full_disk_of_checkpoints_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def full(*_: object) -> None:
        raise error

    store = CheckpointFolder(tmp_path / "scratch", {})
    monkeypatch.setattr(safetensors.torch, "save_file", full)
    with (
        pytest.raises(ArtifactError, match=r"cannot write a checkpoint to .*scratch.*No space left on device\n.*--checkpoints"),
        artifacts.create(tmp_path / "out", "model", {}),
    ):
        store.write(1, TENSORS, {})


def test_where_checkpoints_may_not_lie(tmp_path: Path) -> None:
    with artifacts.create(tmp_path / "model", "model", {}) as out:
        (out / "data").write_text("x")
    (tmp_path / "file").write_text("x")
    reads = {"corpus": tmp_path / "corpus", "output": tmp_path / "out"}
    for name, match in (
        ("corpus", "lies inside the corpus"), ("out/deep", "lies inside the output"), ("model", "lies inside .*model, a model"),
        ("model/deep", "a model, which it would damage"), ("file", "is a file"), ("file/deep", "cannot write to"),
    ):  # fmt: skip
        with pytest.raises(ArtifactError, match=match):
            artifacts.check_scratch(tmp_path / name, "--checkpoints", reads)
    artifacts.check_scratch(tmp_path, "--checkpoints", reads)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "model"]
