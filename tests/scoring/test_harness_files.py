"""Task files of the user's own are followed by content: in the settings of scores, and in what reruns a job."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from tokgraft.config import harness_files
from tokgraft.config.task import Task
from tokgraft.errors import ConfigError
from tokgraft.workflow import Workflow

ROOT = Path(__file__).parents[2]
MINE = "include: common/base.yaml\ntask: mine\ndoc_to_text: !function utils.text\ndataset_kwargs: {data_files: {test: rows.jsonl}}\n"
GRID = {
    "models": ["pocket"], "languages": ["deu_Latn"], "tokenizers": ["bpe8k"], "methods": ["mean"], "recipes": ["init"], "seeds": [0],
    "tasks": ["bpb", "own"],
}  # fmt: skip
FILES = ["mine.yaml", "common/base.yaml", "utils.py", "helper.py", "rows.jsonl"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A task file, what it includes, the code and the data that it names, and code beside that is not named."""
    return write(tmp_path / "tasks")


def write(folder: Path) -> Path:
    (folder / "common").mkdir(parents=True)
    for name, text in (
        ("mine.yaml", MINE), ("common/base.yaml", "output_type: multiple_choice\nmetadata: {version: 1.0}\n"),
        ("utils.py", "from helper import shout\n"), ("helper.py", "shout = str.upper\n"), ("rows.jsonl", "{}\n"), ("notes.txt", "not read"),
    ):  # fmt: skip
        (folder / name).write_text(text)
    return folder


def test_everything_that_decides_what_is_asked_is_found(folder: Path) -> None:
    assert {path.relative_to(folder).as_posix() for path in harness_files.files(folder / "mine.yaml")} == set(FILES)


@pytest.mark.parametrize("changed", FILES)
def test_settings_hold_content_and_no_path(folder: Path, tmp_path: Path, changed: str) -> None:
    other = write(tmp_path / "elsewhere/tasks")
    first, second = (Task(builder="hub", names=[str(place / "mine.yaml"), "xnli_de"]).recorded() for place in (folder, other))
    assert first == second and str(tmp_path) not in str(first) and first["names"] == ["mine.yaml", "xnli_de"]
    (other / "notes.txt").write_text("changed")
    assert Task(builder="hub", names=[str(other / "mine.yaml"), "xnli_de"]).recorded() == first
    (other / changed).write_text((other / changed).read_text() + "\n")
    assert Task(builder="hub", names=[str(other / "mine.yaml"), "xnli_de"]).recorded() != first


def test_a_task_without_files_of_ones_own_is_recorded_as_before() -> None:
    task = Task(builder="bits_per_byte")
    assert task.recorded() == task.canonical()


def test_what_cannot_be_followed_is_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml does not exist"):
        Task(builder="hub", names=["nowhere.yaml"]).recorded()
    (folder / "common/base.yaml").unlink()
    with pytest.raises(ConfigError, match=r"base\.yaml does not exist"):
        Task(builder="hub", names=[str(folder / "mine.yaml")]).recorded()
    with pytest.raises(ConfigError, match=r"one\.yaml stands twice"):
        Task.parse({"builder": "hub", "names": ["a/one.yaml", "b/one.yaml"]}, "task x")
    (folder / "mine.yaml").write_text("include: mine.yaml\n")
    assert harness_files.files(folder / "mine.yaml") == [folder / "mine.yaml"], "a file that includes itself"
    with pytest.raises(ConfigError, match=r"names the file somewhere\.yaml"):
        Task(builder="hub").of_language("deu_Latn", ["somewhere.yaml"])


@pytest.mark.parametrize("changed", FILES)
def test_a_changed_file_runs_the_scoring_job_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: str) -> None:
    """Only that of models that are scored on it, and in two checkouts the settings are the same."""
    settings = set()
    for checkout in ("one", "two"):
        root = tmp_path / checkout
        shutil.copytree(ROOT / "config", root / "config")
        write(root / "tasks")
        own = {"builder": "hub", "names": [str(root / "tasks/mine.yaml")]}
        (root / "config/tasks/own.yaml").write_text(yaml.safe_dump(own))
        (root / "config/experiments/trial.yaml").write_text(
            yaml.safe_dump({"name": "trial", "grids": [GRID, {**GRID, "methods": ["random"], "tasks": ["bpb"]}]})
        )
        monkeypatch.chdir(root)
        jobs = {}
        for method in ("mean", "random"):
            at = {"model": "pocket", "language": "deu_Latn", "tokenizer": "bpe8k", "method": method, "seed": "0", "stage": "init"}
            jobs[method] = SimpleNamespace(**at)
        work = Workflow("config/experiments/trial.yaml")
        settings.add(work.params("score")["settings"](jobs["mean"]))
        before = {method: work.params("score")["code"](job) for method, job in jobs.items()}
        monkeypatch.setattr("tokgraft.sources.file_digest", fresh)
        (root / "tasks" / changed).write_text((root / "tasks" / changed).read_text() + "\n")
        after = {method: work.params("score")["code"](job) for method, job in jobs.items()}
        assert before["random"] == after["random"] and before["mean"] != after["mean"]
    assert len(settings) == 1 and str(tmp_path) not in settings.pop()


def test_a_cell_is_scored_on_the_harness_tasks_of_its_language(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(ROOT / "config", tmp_path / "config")
    grids = [{**GRID, "languages": ["deu_Latn", "ell_Grek"], "tasks": ["hub"]}]
    (tmp_path / "config/experiments/trial.yaml").write_text(yaml.safe_dump({"name": "trial", "grids": grids}))
    monkeypatch.chdir(tmp_path)
    work = Workflow("config/experiments/trial.yaml")
    for language in ("deu_Latn", "ell_Grek"):
        job = SimpleNamespace(model="pocket", language=language, tokenizer="bpe8k", method="mean", seed="0", stage="init")
        wanted = yaml.safe_load((tmp_path / f"config/languages/{language}.yaml").read_text())["hub_tasks"]
        assert wanted and json.loads(work.params("score")["settings"](job))["hub"]["names"] == wanted


def fresh(path: Path) -> str:
    """A digest that is not kept: a run of Snakemake reads each file once."""
    import hashlib

    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_code_beside_a_template_is_followed_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(ROOT / "config", tmp_path / "config")
    (tmp_path / "config/lm_eval/shout.yaml").write_text("doc_to_text: !function shout.text\n")
    code = tmp_path / "config/lm_eval/shout.py"
    code.write_text("text = str.upper\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tokgraft.sources.file_digest", fresh)
    (tmp_path / "config/experiments/trial.yaml").write_text(yaml.safe_dump({"name": "trial", "grids": [{**GRID, "tasks": ["bpb"]}]}))
    work = Workflow("config/experiments/trial.yaml")
    job = SimpleNamespace(model="pocket", language="deu_Latn", tokenizer="bpe8k", method="mean", seed="0", stage="init")
    before = work.params("score")["code"](job)
    code.write_text("text = str.lower\n")
    assert work.params("score")["code"](job) != before
