"""`tokgraft run`: what is wrong with the file, the folder or another run is one line before Snakemake starts; the rest is Snakemake's."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.workflow.conftest import Project, jobs

MINE = "config/experiments/mine.yaml"
GRID = {
    "models": ["pocket"],
    "languages": ["deu_Latn"],
    "tokenizers": ["bpe8k"],
    "methods": ["none", "mean"],
    "recipes": ["init"],
    "tasks": ["bpb"],
}


def tokgraft(project: Project, *words: str) -> subprocess.CompletedProcess[str]:
    return project.run(sys.executable, "-m", "tokgraft", "run", *words, check=False)


def refused(project: Project, *words: str) -> str:
    done = tokgraft(project, *words)
    assert done.returncode == 2, done
    assert done.stdout == "" and "Traceback" not in done.stderr and len(done.stderr.splitlines()) <= 2, done
    return done.stderr


def test_flags_behind_the_experiment_are_snakemakes(project: Project) -> None:
    project.write(MINE, {"name": "mine", "grids": [GRID]})
    for name in ("mine", MINE):
        done = tokgraft(project, name, "--dry-run", "--quiet", "rules")
        assert done.returncode == 0, done
        assert jobs(done.stdout + done.stderr) == project.plan("--configfile", MINE)
    target = tokgraft(project, "mine", "report_cells", "--dry-run", "--quiet", "rules")
    assert jobs(target.stdout + target.stderr) == {"report_cells": 1}
    assert tokgraft(project, "mine", "--no-such-flag").returncode != 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nope.yaml"], "nope.yaml does not exist"),
        (["config/experiments/smok.yaml"], "did you mean config/experiments/smoke.yaml?"),
        (["smok"], "did you mean smoke"),
        (["--cores", "2"], "flags of Snakemake go behind the experiment"),
        ([], "EXPERIMENT"),
        (["smoke", "--configfile", "config/config.yaml"], "named twice"),
        ([json.dumps({"name": "x", "grids": [GRID]})], "is a file"),
        (["config/languages/deu_Latn.yaml"], "experiment"),
    ],
)
def test_what_is_wrong_is_one_line(words: list[str], said: str, project: Project) -> None:
    assert said in refused(project, *words)


def test_outside_the_project(project: Project) -> None:
    for name in ("Snakefile", "workflow/Snakefile"):
        (project.root / name).unlink()
    assert "change into the folder of the project" in refused(project, "smoke")


def test_a_run_that_makes_the_same_files_is_refused_before_work(project: Project) -> None:
    """With a real run of Snakemake in the way, and with the lock of one that was killed."""
    project.write(MINE, {"name": "mine", "grids": [GRID]})
    project.write("Other", "rule:\n  output: 'results/corpora/deu_Latn/manifest.json'\n  shell: 'touch started; sleep 60'\n")
    other = project.start("snakemake", "--snakefile", "Other", "--cores", "1")
    try:
        while not (project.root / "started").exists():
            assert other.poll() is None
            time.sleep(0.1)
        said = refused(project, "mine")
        assert "another run makes results/corpora/deu_Latn/manifest.json" in said and f"process {other.pid}" in said and "wait" in said
        assert tokgraft(project, "mine", "--dry-run").returncode == 0
    finally:
        other.kill()
        other.communicate()
    said = refused(project, "mine")
    assert "results/corpora/deu_Latn/manifest.json: locked" in said and "snakemake --unlock" in said
    assert tokgraft(project, "mine", "--unlock").returncode == 0
    assert list(Path(project.root, ".snakemake", "locks").glob("*")) == []


def test_a_run_that_makes_other_files_is_let_through(project: Project) -> None:
    project.write(MINE, {"name": "mine", "grids": [GRID]})
    project.write(".snakemake/locks/0.output.lock", "results/corpora/ell_Grek/manifest.json\n")
    assert tokgraft(project, "mine", "report_cells").returncode == 0
