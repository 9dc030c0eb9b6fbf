"""What a person sees while it runs: lines for events of Snakemake, and a small real run."""

from __future__ import annotations

import io
import json
import logging
from pathlib import Path
from typing import Any

import pytest

from tests.workflow.conftest import ROOT, Project
from tokgraft import artifacts
from tokgraft.cells import CellList
from tokgraft.console import Console, RunningJob, replaced, span

CELL = {"model": "pocket", "language": "deu_Latn", "tokenizer": "bpe8k", "method": "focus", "chain": "focus", "recipe": "demo", "seed": 0}
SCORES = "results/scores/pocket/deu_Latn~11112222/bpe8k/focus/s0"


def cells() -> CellList:
    paths = {name: f"results/{name}" for name in ("base", "corpus", "english", "tokenizer", "init", "trained")}
    paths |= {"score_init": f"{SCORES}/init~aaaabbbb", "score_trained": f"{SCORES}/demo~aaaabbbb"}
    return CellList.model_validate({"experiment": "e", "cells": [{**CELL, "paths": paths}]})


def score(folder: str, bits: float | None) -> None:
    task = {"builder": "bits_per_byte", "language": "target", "metrics": {"bits_per_byte": bits}, "n": 9} if bits else {}
    with artifacts.create(Path(folder), "scores", {}) as place:
        (place / "scores.json").write_text(json.dumps({"model": {"fingerprint": "f"}, "tasks": {"bpb": task} if bits else {}}))


def event(name: str, message: str = "", **facts: Any) -> logging.LogRecord:
    record = logging.LogRecord("snakemake.logging", logging.INFO, "", 0, message, (), None)
    record.__dict__.update(event=name, **facts)
    return record


class Run:
    """A console on invented jobs, with a clock of its own."""

    def __init__(self, jobs: dict[int, RunningJob], **more: Any) -> None:
        self.now, self.text = 0.0, io.StringIO()
        self.console = Console(jobs, cells(), Path("results/tables/ranking.txt"), self.text, clock=lambda: self.now, **more)

    def do(self, number: int, seconds: float, message: str = "Working") -> str:
        self.console.emit(event("job_info", jobid=number, rule_msg=message, rule_name="rule"))
        self.now += seconds
        return self.said(event("job_finished", job_id=number))

    def said(self, record: logging.LogRecord) -> str:
        before = len(self.text.getvalue())
        self.console.emit(record)
        return self.text.getvalue()[before:].strip()


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_scored_cell_is_a_line_with_its_bits_per_byte() -> None:
    jobs = {
        1: RunningJob("score_model", f"{SCORES}/init~aaaabbbb/manifest.json", ""),
        2: RunningJob("score_model", f"{SCORES}/demo~aaaabbbb/manifest.json", ""),
    }
    run = Run(jobs)
    score(f"{SCORES}/init~aaaabbbb", 2.468)
    assert run.do(1, 5) == "[1/2] pocket deu_Latn bpe8k focus s0: 2.47 bits per byte before training"
    score(f"{SCORES}/demo~aaaabbbb", 2.11)
    assert run.do(2, 5) == "[2/2] pocket deu_Latn bpe8k focus s0: 2.11 bits per byte after training by demo (2.47 before)"


def test_results_are_said_however_quiet_snakemake_is() -> None:
    jobs = {
        1: RunningJob("train", "results/x/manifest.json", ""),
        2: RunningJob("score_model", f"{SCORES}/demo~aaaabbbb/manifest.json", ""),
    }
    run = Run(jobs, quiet={"rules", "progress"})
    score(f"{SCORES}/demo~aaaabbbb", 2.11)
    assert run.do(1, 5) == ""
    assert run.do(2, 5) == "[2/2] pocket deu_Latn bpe8k focus s0: 2.11 bits per byte after training by demo"
    assert "started" not in run.text.getvalue()


def test_a_model_without_bits_per_byte_and_a_skipped_one() -> None:
    jobs = {
        1: RunningJob("score_model", f"{SCORES}/init~aaaabbbb/manifest.json", ""),
        2: RunningJob("score_model", f"{SCORES}/demo~aaaabbbb/manifest.json", ""),
    }
    run = Run(jobs)
    score(f"{SCORES}/init~aaaabbbb", None)
    artifacts.skip(Path(f"{SCORES}/demo~aaaabbbb"), "no parallel text", {})
    assert run.do(1, 5).endswith("focus s0: scored (init)")
    assert run.do(2, 5) == f"[2/2] skipped: {SCORES}/demo~aaaabbbb: no parallel text"


def test_other_jobs_start_and_end_and_keys_are_left_out() -> None:
    run = Run({1: RunningJob("train", "results/x/manifest.json", "")})
    assert run.do(1, 130, "Training pocket deu_Latn~11112222 bpe8k focus-k5~9999aaaa by demo, seed 0").split("\n") == [
        "[1/1] done: Training pocket deu_Latn bpe8k focus-k5 by demo, seed 0 (2 min)"
    ]
    assert "    started: Training pocket deu_Latn bpe8k focus-k5 by demo, seed 0\n" in run.text.getvalue()


def timed(count: int) -> dict[int, RunningJob]:
    return {
        number: RunningJob("train", f"results/{number}/manifest.json", f"benchmarks/train/pocket/{number}.tsv") for number in range(count)
    }


def test_time_left_is_that_of_jobs_like_those_that_are_done() -> None:
    run = Run(timed(4))
    assert run.do(0, 100).startswith("[1/4, 5 min left]")
    assert run.do(1, 100).startswith("[2/4, 3 min left]")
    assert run.do(2, 100).startswith("[3/4, 2 min left]")
    assert run.do(3, 100).startswith("[4/4] done")


def test_two_jobs_at_once_take_half_as_long() -> None:
    run = Run(timed(6))
    for number in (0, 1):
        run.console.emit(event("job_info", jobid=number, rule_msg="", rule_name="train"))
    run.now = 300
    run.console.emit(event("job_finished", job_id=0))
    run.now = 311
    assert run.said(event("job_finished", job_id=1)).startswith("[2/6, 10 min left]")


def test_time_left_of_earlier_runs() -> None:
    for number, seconds in ((0, 1000), (7, 2000)):
        place = Path(f"benchmarks/train/pocket/{number}.tsv")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(f"s\th:m:s\n{seconds}\t0:00:00\n")
    Path("benchmarks/train/pocket/broken.tsv").write_text("not a table")
    run = Run(
        {
            0: timed(1)[0],
            9: RunningJob("other", "results/9/manifest.json", "benchmarks/train/pocket/9.tsv"),
            1: RunningJob("q", "results/q", "benchmarks/train/q"),
        }
    )
    assert run.do(1, 1).startswith("[1/3, 42 min left]"), "1,000 s of itself, 1,500 s of its likes"


def test_nothing_is_said_of_a_time_that_is_not_known() -> None:
    others = {number: RunningJob("score", f"results/{number}/x", f"benchmarks/score/{number}.tsv") for number in range(10, 20)}
    assert Run(timed(2) | others).do(0, 100).startswith("[1/12] done")


def test_a_failed_job_that_runs_again_is_counted_once() -> None:
    run = Run(timed(2))
    run.console.emit(event("job_info", jobid=0, rule_msg="", rule_name="train"))
    run.console.emit(event("job_error", jobid=0))
    assert run.do(0, 10).startswith("[1/2")
    assert run.said(event("job_finished", job_id=0)) == ""


def test_the_ranking_is_the_end_of_a_run_that_wrote_it() -> None:
    jobs = {1: RunningJob("report_build", "results/tables/manifest.json", "")}
    Path("results/tables").mkdir(parents=True)
    Path("results/tables/ranking.txt").write_text("the ranking\n")
    run, idle = Run(jobs), Run(jobs)
    run.do(1, 1)
    for one in (run, idle):
        one.console.close()
        one.console.close()
    assert run.text.getvalue().count("the ranking") == 1 and run.text.getvalue().endswith("the ranking\n")
    assert "the ranking" not in idle.text.getvalue()


def test_a_damaged_score_does_not_end_the_run() -> None:
    run = Run({1: RunningJob("score_model", f"{SCORES}/init~aaaabbbb/manifest.json", "")})
    Path(f"{SCORES}/init~aaaabbbb").mkdir(parents=True)
    Path(f"{SCORES}/init~aaaabbbb/manifest.json").write_text("{")
    assert f"done, but {SCORES}/init~aaaabbbb/manifest.json is " in run.do(1, 1)


def test_what_is_cut_from_snakemakes_own_output() -> None:
    assert all(replaced(event(name)) for name in ("job_info", "job_finished", "progress", "job_started", "group_info"))
    assert not any(replaced(event(name)) for name in ("job_error", "group_error", "error", "run_info", "shellcmd", "resources_info"))
    plain = logging.LogRecord("snakemake.logging", logging.INFO, "", 0, "Select jobs to execute...", (), None)
    assert replaced(plain)
    plain.msg = "MissingOutputException: ..."
    assert not replaced(plain)


@pytest.mark.parametrize(("seconds", "words"), [(0.2, "1 s"), (99, "99 s"), (100, "2 min"), (5990, "100 min"), (7200, "2 h 0 min")])
def test_times_for_people(seconds: float, words: str) -> None:
    assert span(seconds) == words if words != "100 min" else span(seconds) == "1 h 40 min"


SNAKEFILE = """
from tokgraft import console
from tests.workflow.test_console import cells

onstart:
    console.attach(workflow, cells(), "results/tables/ranking.txt")

rule all:
    input: "results/tables/manifest.json"

rule score_model:
    output: "{scores}/manifest.json"
    log: "logs/score.log"
    message: "Scoring"
    shell: "{{python}} -c 'from tests.workflow.test_console import score; score(\\"{scores}\\", 2.11)' 2> {{log}}"

rule report_build:
    input: "{scores}/manifest.json"
    output: "results/tables/manifest.json"
    log: "logs/report.log"
    message: "Building tables"
    shell: "echo wrong > {{log}}; test ! -e fail && {{python}} -c 'from tests.workflow.test_console import tables; tables()' 2> {{log}}"
"""


def tables() -> None:
    with artifacts.create(Path("results/tables"), "tables", {}) as place:
        (place / "ranking.txt").write_text("the ranking\n")


@pytest.fixture
def small(tmp_path: Path) -> Project:
    import sys

    (tmp_path / "Snakefile").write_text(SNAKEFILE.format(scores=f"{SCORES}/demo~aaaabbbb").replace("{python}", sys.executable))
    return Project(tmp_path)


def call(project: Project, *flags: str, check: bool = True) -> str:
    paths = f"{ROOT / 'src'}:{ROOT}:{ROOT / 'tests'}"
    done = project.run("snakemake", "--cores", "1", "--show-failed-logs", *flags, check=check, env={"PYTHONPATH": paths})
    assert not done.stdout, "all of it is on standard error"
    return done.stderr


def test_a_real_run(small: Project) -> None:
    said = call(small)
    lines = [line.strip() for line in said.splitlines()]
    assert "2 jobs, 1 of them score a model. Logs are below logs/." in lines
    assert "started: Scoring" in lines
    assert any(line.startswith("[1/2] pocket deu_Latn bpe8k focus s0: 2.11 bits per byte after training by demo") for line in lines), said
    assert lines[-1] == "the ranking"
    assert not any(noise in said for noise in ("Reason:", "Finished jobid", "Select jobs", "Execute 1 jobs", "steps ("))
    log = next((small.root / ".snakemake/log").glob("*.log")).read_text()
    assert "Reason:" in log and "Finished jobid" in log, "the log file keeps everything"


def test_a_real_run_that_fails_shows_the_log(small: Project) -> None:
    (small.root / "fail").touch()
    said = call(small, check=False)
    assert "Error in rule report_build" in said and "wrong" in said and "the ranking" not in said
    assert "[1/2] pocket" in said


def test_a_real_run_for_a_user_who_wants_silence_or_all_of_it(small: Project) -> None:
    assert "pocket deu_Latn" not in call(small, "--quiet", "all")
    said = call(small, "--verbose", "--forceall")
    assert "Reason:" in said and "[1/2] pocket" not in said
    planned = small.run("snakemake", "-n", "--forceall", env={"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}:{ROOT / 'tests'}"})
    assert "Reason:" in planned.stdout + planned.stderr, "a plan says why"
