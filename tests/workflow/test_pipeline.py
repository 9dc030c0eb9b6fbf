"""The whole pipeline, for real, on a slice of the help corpus: results, reruns, equal bytes, a killed job."""

from __future__ import annotations

import csv
import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.workflow.conftest import Project, cache, copy_project, jobs, places
from tokgraft import artifacts
from tokgraft.config.task import Task
from tokgraft.scoring.heldout import read_held
from tokgraft.scoring.tasks import TASKS

pytestmark = [pytest.mark.slow, pytest.mark.network, pytest.mark.timeout(1500)]

SMOKE = "config/experiments/smoke.yaml"
AT = places(SMOKE)
BASE, TEXT = AT.model("pocket-smoke"), AT.language("deu_Latn")
PLACE = f"{BASE}/{TEXT}"
OWN = "results/experiments/smoke"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = copy_project(tmp_path_factory.mktemp("pipeline") / "project")
    done = project.snakemake("--configfile", SMOKE)
    project.write("console.txt", done.stderr)
    return project


def rows(project: Project) -> list[dict[str, str]]:
    with (project.root / f"{OWN}/tables/leaderboard.csv").open() as handle:
        return list(csv.DictReader(handle))


def manifests(project: Project, below: str = "results") -> dict[str, bytes]:
    root = project.root
    found = [folder / artifacts.MANIFEST for folder in artifacts.find(root / below)]
    return {str(path.relative_to(root)): path.read_bytes() for path in found}


def test_the_table_has_every_cell_and_no_hole(finished: Project) -> None:
    found = rows(finished)
    assert {(row["method"], row["stage"]) for row in found} == {
        (m, s) for m in ("none", "random", "mean", "focus") for s in ("init", "trained")
    }
    for row in found:
        assert all(value.strip() for value in row.values()), row
        assert 0 < float(row["bits_per_byte"]) < 20


def test_training_lowers_bits_per_byte(finished: Project) -> None:
    by_cell = {(row["method"], row["stage"]): float(row["bits_per_byte"]) for row in rows(finished)}
    for method in ("none", "random", "mean", "focus"):
        assert by_cell[method, "trained"] < by_cell[method, "init"], method


def test_the_control_is_the_untouched_base(finished: Project) -> None:
    results = finished.root / "results/models" / BASE
    base = json.loads((results / "base/manifest.json").read_text())["files"]["model.safetensors"]
    control = json.loads((results / TEXT / "original/none/s0/init/manifest.json").read_text())["files"]["model.safetensors"]
    assert control == base


def test_products_are_checked_and_published(finished: Project) -> None:
    assert (finished.root / f"{OWN}/checked.txt").read_text().strip()
    assert (finished.root / f"{OWN}/published.json").stat().st_size > 2
    assert (finished.root / "mlflow.db").is_file()
    report = (finished.root / f"{OWN}/tables/report.html").read_text()
    assert "focus" in report and "<svg" in report


def test_the_console_told_every_result_and_the_ranking(finished: Project) -> None:
    """Every score of the table is on the console when it is known, the ranking is its end, and Snakemake's reasons are not on it."""
    said = (finished.root / "console.txt").read_text()
    for row in rows(finished):
        after = "after training by smoke" if row["stage"] == "trained" else "before training"
        line = f"pocket-smoke deu_Latn {row['tokenizer']} {row['method']} s0: {float(row['bits_per_byte']):.2f} bits per byte {after}"
        assert re.search(rf"^\[\d+/\d+(, [0-9a-z ]+ left)?\] {re.escape(line)}", said, flags=re.MULTILINE), line
    assert said.rstrip().endswith((finished.root / OWN / "tables/ranking.txt").read_text().rstrip())
    assert "Reason:" not in said and max(map(len, said.splitlines())) < 200


def test_transplants_tell_what_their_models_predict_most(finished: Project) -> None:
    for folder in artifacts.find(finished.root / "results/models"):
        if (folder / "transplant.json").is_file() and not (folder / "training.json").is_file():
            assert json.loads((folder / "transplant.json").read_text())["most_predicted"], folder


@pytest.mark.parametrize("stage", ["init", "smoke"])
def test_plain_transformers_agrees_with_the_table(finished: Project, stage: str) -> None:
    """The model folder stands alone: stock classes load it, and a sum of log-probabilities gives the table's bits per byte."""
    results = finished.root / "results"
    folder = results / "models" / PLACE / "bpe2k/mean/s0" / stage
    scores = finished.root / AT.scores("pocket-smoke", "deu_Latn", "bpe2k", "mean", 0, stage)
    found = json.loads((scores / "scores.json").read_text())["tasks"]["bpb-small"]
    texts = [
        item["text"] for item in TASKS.get("bits_per_byte").build(Task.load("bpb-small"), read_held(results / "corpora" / TEXT)).documents
    ]
    assert len(texts) == found["n"] > 3

    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    prefix = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    nats = 0.0
    for text in texts:
        ids = torch.tensor([[prefix, *tokenizer.encode(text, add_special_tokens=False)]])
        assert tokenizer.decode(ids[0, 1:]) == text
        with torch.no_grad():
            nats += float(torch.nn.functional.cross_entropy(model(ids).logits[0, :-1].double(), ids[0, 1:], reduction="sum"))
    bits = nats / math.log(2) / sum(len(text.encode()) for text in texts)
    assert bits == pytest.approx(found["metrics"]["bits_per_byte"], rel=1e-5)
    prompt = tokenizer("Klicken Sie auf", return_tensors="pt")
    written = model.generate(**prompt, max_new_tokens=8, do_sample=False)
    assert written.shape[1] > prompt["input_ids"].shape[1] and int(written.max()) < len(tokenizer)


def test_everything_verifies(finished: Project) -> None:
    done = finished.run(sys.executable, "-m", "tokgraft", "verify", "results")
    assert "0 problems" in done.stdout


def test_a_second_run_has_nothing_to_do(finished: Project) -> None:
    assert "Nothing to be done" in finished.snakemake("--configfile", SMOKE).stderr


def test_the_plan_does_not_depend_on_where_one_stands(finished: Project, tmp_path: Path) -> None:
    """Started from another folder, or with the same package installed in another place."""
    root = finished.root
    flags = ("--dry-run", "--snakefile", f"{root}/Snakefile", "--directory", str(root), "--configfile", str(root / SMOKE))
    away = Project(tmp_path).run("snakemake", *flags, env={"PYTHONPATH": str(root / "src")})
    assert "Nothing to be done" in away.stdout + away.stderr
    copy = copy_project(tmp_path / "elsewhere")
    other = finished.run("snakemake", "--dry-run", "--configfile", SMOKE, env={"PYTHONPATH": str(copy.root / "src")})
    assert "Nothing to be done" in other.stdout + other.stderr


def test_experiments_leave_each_others_results_valid(finished: Project) -> None:
    """Two more with other slices of the corpora, tasks and parameters, at once; then all three have nothing to do."""
    smoke = yaml.safe_load((finished.root / SMOKE).read_text())
    grid = {**smoke["grids"][0], "methods": ["random"], "recipes": ["init"]}
    more = {
        "half": {"max_corpus_bytes": 150_000, "grids": [grid]},
        "third": {
            "max_corpus_bytes": 300_000,
            "grids": [{**grid, "methods": ["multivariate"], "tasks": ["bpb-small"]}],
            "methods": {"multivariate": {"params": {"copy_overlap": False}}},
        },
    }
    before = manifests(finished)
    own = {path.name: path.read_bytes() for path in (finished.root / OWN).glob("*.*")}
    for name, settings in more.items():
        finished.write(f"config/experiments/{name}.yaml", {"name": name, **settings})
    running = [finished.start("snakemake", "--configfile", f"config/experiments/{name}.yaml", "--cores", "1") for name in more]
    for one in running:
        said, _ = one.communicate(timeout=1200)
        assert one.returncode == 0, said[-5000:]
    for name in ("smoke", *more):
        done = finished.snakemake("--dry-run", "--configfile", f"config/experiments/{name}.yaml")
        assert "Nothing to be done" in done.stdout + done.stderr, name
        assert (finished.root / f"results/experiments/{name}/tables/report.html").is_file()
    after = manifests(finished)
    assert {place: after[place] for place in before} == before
    assert own == {path.name: path.read_bytes() for path in (finished.root / OWN).glob("*.*")}


def test_a_changed_parameter_reruns_that_method_only(finished: Project) -> None:
    config = yaml.safe_load((finished.root / SMOKE).read_text())
    config |= {"name": "changed", "methods": {"random": {"params": {"copy_overlap": True}}}}
    finished.write("config/experiments/changed.yaml", config)
    done = finished.snakemake("--dry-run", "--quiet", "rules", "--configfile", "config/experiments/changed.yaml")
    found = jobs(done.stdout + done.stderr)
    assert found == {
        "all": 1,
        "transplant_apply": 1,
        "train_continue": 1,
        "score_model": 2,
        "report_cells": 1,
        "report_build": 1,
        "report_check": 1,
        "publish_mlflow": 1,
    }


def test_an_edited_method_reruns_that_method_only(finished: Project) -> None:
    place = finished.root / "src/tokgraft/methods/focus.py"
    before = place.read_text()
    try:
        place.write_text(before + "\n# edited\n")
        found = finished.plan("--configfile", SMOKE)
    finally:
        place.write_text(before)
    assert (found["transplant_apply"], found["train_continue"], found["score_model"]) == (1, 1, 2)
    assert "Nothing to be done" in finished.snakemake("--dry-run", "--configfile", SMOKE).stdout


def test_a_second_clone_gives_equal_bytes(finished: Project, tmp_path: Path) -> None:
    """Of one cell with everything below it: corpora, tokenizers, the base's training, token vectors, transplant, training, scores."""
    clone = copy_project(tmp_path / "elsewhere" / "clone")
    config = yaml.safe_load((finished.root / SMOKE).read_text())
    config["name"], config["grids"][0]["methods"] = "one", ["focus"]
    clone.write("config/experiments/one.yaml", config)
    clone.run("snakemake", "--configfile", "config/experiments/one.yaml", "--until", "score_model", env={"PYTHONHASHSEED": "123"})
    found, expected = manifests(clone), manifests(finished)
    assert {Path(place).parts[1] for place in found} == {"corpora", "models", "resources", "scores", "tokenizers"}
    assert found == {place: expected[place] for place in found}


def test_a_killed_training_continues_to_the_same_bytes(finished: Project) -> None:
    out = f"results/models/{PLACE}/bpe2k/mean/s0/smoke"
    want = (finished.root / out / "manifest.json").read_bytes()
    (finished.root / out / "manifest.json").unlink()
    environment = {
        **os.environ,
        "PYTHONPATH": str(finished.root / "src"),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "TOKGRAFT_CACHE": str(cache()),
    }
    command = ["snakemake", f"{out}/manifest.json", "--configfile", SMOKE]
    running = subprocess.Popen(
        command, cwd=finished.root, env=environment, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 240
    hidden = (finished.root / out).parent
    while not list(hidden.glob(".smoke.checkpoints/*/step-*")):
        assert running.poll() is None, "the job ended before it wrote a checkpoint"
        assert time.monotonic() < deadline, "no checkpoint appeared"
        time.sleep(0.05)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    assert not (finished.root / out / "manifest.json").exists(), "a half-written artifact looks whole"
    finished.snakemake("--unlock", "--configfile", SMOKE)
    finished.snakemake(f"{out}/manifest.json", "--configfile", SMOKE)
    assert (finished.root / out / "manifest.json").read_bytes() == want
    log = (finished.root / f"logs/train_continue/{PLACE}/bpe2k/mean/s0/smoke.log").read_text()
    assert "going on from the checkpoint" in log


def test_a_language_nobody_has_configured(finished: Project) -> None:
    """Khmer has a script of its own and no file in the box: one file makes it work."""
    finished.write(
        "config/languages/khm_Khmr.yaml",
        {
            "name": "Khmer",
            "bcp47": "km",
            "iso639_3": "khm",
            "script": "Khmr",
            "lid": ["km"],
            "words": "none",
            "sources": [{"kind": "apt_help", "package": "libreoffice-help-km"}],
        },
    )
    config = yaml.safe_load((finished.root / SMOKE).read_text())
    config["name"] = "khmer"
    config["grids"][0].update(languages=["khm_Khmr"], methods=["mean"])
    finished.write("config/experiments/khmer.yaml", config)
    finished.snakemake("--configfile", "config/experiments/khmer.yaml", "--until", "score_model")
    scores = list((finished.root / "results/scores" / BASE / AT.language("khm_Khmr")).rglob("scores.json"))
    assert len(scores) == 2
