"""Two experiment files of one name, wherever they lie, do not replace each other's tables; one's own file may be edited, moved and copied."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from tokgraft.config import layout
from tokgraft.errors import ConfigError
from tokgraft.workflow import Workflow

ROOT = Path(__file__).parents[2]
GRID = {"models": ["pocket"], "languages": ["deu_Latn"], "tokenizers": ["bpe8k"], "methods": ["mean"], "recipes": ["init"], "seeds": [0],
        "tasks": ["bpb"]}  # fmt: skip


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of an experiment `trial` outside config/, which was run here."""
    shutil.copytree(ROOT / "config", tmp_path / "config")
    monkeypatch.chdir(tmp_path)
    file = write("mine/trial.yaml", GRID)
    Workflow(file).begin()
    return file


def write(place: str, grid: dict, name: str = "trial") -> Path:
    path = Path(place)
    path.parent.mkdir(exist_ok=True)
    path.write_text(yaml.safe_dump({"name": name, "grids": [grid]}))
    return path


def test_another_file_of_the_name_is_refused(started: Path) -> None:
    other = write("other/trial.yaml", {**GRID, "methods": ["random"]})
    with pytest.raises(ConfigError, match=r"results/experiments/trial holds the tables of mine/trial\.yaml.*other/trial\.yaml") as found:
        Workflow(other)
    assert "rename one of the two" in found.value.do and layout.source("trial") in found.value.do
    Path(layout.source("trial")).unlink()
    Workflow(other).begin()
    with pytest.raises(ConfigError, match=r"holds the tables of other/trial\.yaml"):
        Workflow(started)


def test_ones_own_file_may_be_edited_moved_and_copied(started: Path) -> None:
    changed = {**GRID, "methods": ["random"]}
    Workflow(write("mine/trial.yaml", changed)).begin()
    Workflow(started.resolve()).begin()
    Workflow(write("copy.yaml", changed)).begin()  # the same content
    started.unlink()
    Workflow("copy.yaml").begin()
    Path("copy.yaml").rename("moved.yaml")
    Workflow(write("moved.yaml", GRID)).begin()  # moved and edited
    write("moved.yaml", GRID, name="another")
    Workflow(write("fresh.yaml", changed)).begin()  # the name is free again
    assert Path(layout.source("trial")).read_text() == "fresh.yaml\n"


def test_a_run_notes_its_file() -> None:
    assert "EXPERIMENT.begin()" in (ROOT / "Snakefile").read_text().split("onstart:")[1].split("include:")[0]
