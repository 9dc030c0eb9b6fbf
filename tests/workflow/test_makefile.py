"""The targets of the Makefile run what was typed, and name the results of the experiment that ran."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.workflow.conftest import ROOT
from tokgraft.cli import main


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
@pytest.mark.parametrize("target", ["demo", "run", "report"])
def test_make_names_the_results_of_the_experiment_that_ran(target: str) -> None:
    ready = ["-o", ".venv/.ready"]  # nothing is installed
    done = subprocess.run(
        ["make", "--no-print-directory", "-n", *ready, target, "CONFIG=config/experiments/smoke.yaml"], cwd=ROOT, env=dict(os.environ), capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    last = done.stdout.rstrip().splitlines()[-1]
    assert "list results --settings 'config/experiments/smoke.yaml'" in last and "experiments/demo" not in done.stdout


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
@pytest.mark.parametrize(
    ("target", "command"), [("pull", "tokgraft pull --run"), ("push", "tokgraft push"), ("run", "tokgraft run 'config/config.yaml'")]
)
def test_make_chooses_nothing_that_was_not_typed(target: str, command: str) -> None:
    """Neither by a variable of the Makefile's own nor by one of the environment: Debian sets LANGUAGE."""
    names = ("CONFIG", "ARGS", "STAGE", "LANGUAGE", "METHOD", "MODEL", "ONLY", "NEEDED", "TARGET", "EXPERIMENT", "REMOTE")
    words = ["make", "--no-print-directory", "-n", "-o", ".venv/.ready", target]
    for environment in ({}, dict.fromkeys(names, "unwanted")):
        done = subprocess.run(words, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, check=True)
        assert command in [" ".join(line.split()) for line in done.stdout.replace("\\\n", " ").splitlines()]
    typed = [*words, "LANGUAGE=deu_Latn", "CONFIG=my file.yaml", "REMOTE=store"]
    shown = subprocess.run(typed, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    wanted = {
        "pull": ("--language deu_Latn", "--configfile 'my file.yaml'"),
        "push": ("--remote store",),
        "run": ("tokgraft run 'my file.yaml'",),
    }
    assert all(words in shown for words in wanted[target])


def test_results_are_those_of_the_named_experiment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["list", "results", "--settings", str(ROOT / "config/experiments/smoke.yaml"), "--config", str(ROOT / "config")]
    assert main(words) == 0
    name = yaml.safe_load((ROOT / "config/experiments/smoke.yaml").read_text())["name"]
    report = Path(f"results/experiments/{name}/tables/report.html")
    assert f"{report} (not made yet)" in capsys.readouterr().out
    report.parent.mkdir(parents=True)
    report.touch()
    assert main(words) == 0
    assert f"{report}\n" in capsys.readouterr().out
