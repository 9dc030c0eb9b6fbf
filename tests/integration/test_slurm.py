"""The smoke experiment on a real Slurm of two nodes: to its end, with a cancelled job, a lost node, and a cell trained on two nodes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest

from tests.integration.conftest import SMOKE, Checkout, new_checkout
from tests.integration.slurm_cluster import CannotStart, Cluster
from tests.integration.test_launch import CELL, curve
from tests.workflow.conftest import cache, places

pytestmark = [pytest.mark.slow, pytest.mark.network, pytest.mark.timeout(5400)]

# The profile as it is, but looking for finished jobs more often: every job here lasts seconds.
SLURM = ("--workflow-profile", "profiles/slurm", "--slurm-init-seconds-before-status-checks", "3", "--slurm-keep-successful-logs")
GPU_RULES = {"model_pretrain", "train_continue", "score_model", "speed_measure"}
# Four threads on two cores, as the profile has it, would be slower than one.
THREADS = ("--set-threads", *(f"{rule}=1" for rule in sorted(GPU_RULES)))
PRETRAINING = f"logs/model_pretrain/{places('config/experiments/smoke.yaml').model('pocket-smoke')}.log"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    before = etc()
    try:
        cluster = Cluster(tmp_path_factory.mktemp("slurm"))
    except CannotStart as why:
        pytest.skip(str(why))
    yield cluster
    cluster.stop()
    assert etc() == before
    assert not cluster._daemons() and not cluster._processes()


def etc() -> dict[str, float]:
    return {str(path): path.lstat().st_mtime for path in Path("/etc").rglob("*")}


@dataclass
class Run:
    """Snakemake at work on the cluster."""

    checkout: Checkout
    process: subprocess.Popen[str]
    output: Path

    def end(self) -> None:
        """End it where a test has failed; on SIGTERM it would wait for its jobs."""
        self.process.kill()
        self.process.wait()

    def wait(self, seconds: float) -> str:
        """Wait for the end, which must be a good one; everything that was printed."""
        code = self.process.wait(seconds)
        text = self.output.read_text()
        assert code == 0, text[-6000:]
        return text


def start(checkout: Checkout, cluster: Cluster, *flags: str) -> Run:
    output = checkout.root / "snakemake.txt"
    environment = {
        **{name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"},
        "PATH": f"{cluster.bin}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(checkout.root / "src"),
        "TOKGRAFT_CACHE": str(cache()),
    }
    with output.open("w") as handle:
        process = subprocess.Popen(
            ["snakemake", *SLURM, *flags, *SMOKE], cwd=checkout.root, env=environment, stdout=handle, stderr=handle, text=True
        )
    return Run(checkout, process, output)


def until(what: Callable[[], object], run: Run, seconds: float = 900) -> None:
    """Wait until something is so; Snakemake must not have ended before."""
    for _ in range(int(seconds / 0.3)):
        if what():
            return
        assert run.process.poll() is None, run.output.read_text()[-6000:]
        time.sleep(0.3)
    raise AssertionError(f"not within {seconds} s\n{run.output.read_text()[-3000:]}")


def contains(path: Path, text: str) -> bool:
    return path.exists() and text in path.read_text()


def sent(checkout: Checkout) -> dict[str, str]:
    """Slurm job -> rule or group, as the executor's log files tell."""
    found = (checkout.root / ".snakemake/slurm_logs").rglob("*.log")
    return {path.stem: path.relative_to(checkout.root / ".snakemake/slurm_logs").parts[0].split("_", 1)[1] for path in found}


@pytest.fixture(scope="module")
def ran(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """The experiment, run on the cluster; in the middle of it the job that trains the base model is cancelled."""
    checkout = new_checkout(tmp_path_factory.mktemp("run") / "tokgraft")
    run = start(checkout, cluster, *THREADS)
    try:
        log = checkout.root / PRETRAINING
        until(lambda: contains(log, "validation at step 0"), run)
        victims = [number for number, (comment, _) in cluster.running().items() if "model_pretrain" in comment]
        assert len(victims) == 1
        cluster.run("scancel", victims[0])
        (checkout.root / "cancelled").write_text(victims[0])
        run.wait(4500)
    finally:
        run.end()
    return checkout


def test_the_experiment_comes_to_its_end(ran: Checkout) -> None:
    assert (ran.root / "results/experiments/smoke/checked.txt").read_text().strip()
    assert {"focus", "mean", "none", "random"} <= set(
        re.findall(r"[a-z]+", (ran.root / "results/experiments/smoke/tables/leaderboard.csv").read_text())
    )
    assert ran.listed() == Counter()  # the workstation's profile sees nothing left to do


def test_the_cancelled_job_went_on_where_it_was_stopped(ran: Checkout, cluster: Cluster) -> None:
    cancelled = (ran.root / "cancelled").read_text()
    states = {job.id: job.state for job in cluster.finished()}
    assert states[cancelled] == "CANCELLED"
    tries = [number for number, rule in sent(ran).items() if rule == "model_pretrain"]
    assert len(tries) == 2 and {states[number] for number in tries} == {"CANCELLED", "COMPLETED"}
    assert contains(ran.root / PRETRAINING, "going on from the checkpoint")
    assert {states[number] for number, rule in sent(ran).items() if rule != "model_pretrain"} == {"COMPLETED"}


def test_gpu_jobs_run_one_at_a_time_where_the_gpu_is(ran: Checkout, cluster: Cluster) -> None:
    rules = sent(ran)
    jobs = [job for job in cluster.finished() if rules.get(job.id)]
    gpu = [job for job in jobs if rules[job.id] in GPU_RULES]
    assert {job.partition for job in gpu} == {"gpu"} and {job.nodes for job in gpu} == {"n1"}
    assert Counter(rules[job.id] for job in gpu) == {"model_pretrain": 2, "train_continue": 4, "score_model": 8, "speed_measure": 1}
    gpu.sort(key=lambda job: (job.start, job.end))
    assert all(first.end <= second.start for first, second in pairwise(gpu))
    others = [job for job in jobs if rules[job.id] not in GPU_RULES]
    assert {job.partition for job in others} == {"cpu"} and {job.nodes for job in others} == {"n1", "n2"}
    assert "GPUs of this job: 0" in next((ran.root / "logs/train_continue").rglob("*.log")).read_text()


def test_short_jobs_share_a_slurm_job(ran: Checkout) -> None:
    count = Counter(sent(ran).values())
    transplants = sum(number for name, number in count.items() if "transplant" in name)
    assert transplants == 1  # four of them
    assert not any("report_cells" in name or "publish" in name for name in count)  # they run where Snakemake runs


def test_a_lost_node_costs_one_more_try(ran: Checkout, cluster: Cluster) -> None:
    """n1 takes nothing new, so the job goes to n2; n2 is gone; n1 is back and gets the job."""
    (ran.root / "results/experiments/smoke/checked.txt").unlink()
    log = ran.root / "logs/report_check/smoke.log"
    log.unlink()
    before = {job.id for job in cluster.finished()}
    cluster.run("scontrol", "update", "nodename=n1", "state=drain", "reason=test")
    run = start(ran, cluster, "results/experiments/smoke/checked.txt")
    try:
        until(log.exists, run)  # the job itself is at work, not only its launcher
        assert [nodes for _, nodes in cluster.running().values()] == ["n2"]
        cluster.lose("n2")
        cluster.run("scontrol", "update", "nodename=n1", "state=resume")
        run.wait(1800)
    finally:
        run.end()
        cluster.bring_back("n2")
    last = [job for job in cluster.finished() if job.id not in before]
    assert [(job.state, job.nodes) for job in last] == [("NODE_FAIL", "n2"), ("COMPLETED", "n1")]
    assert (ran.root / "results/experiments/smoke/checked.txt").read_text().strip()


def test_a_cell_trains_on_two_nodes(ran: Checkout, cluster: Cluster) -> None:
    alone = curve(ran)
    (ran.root / CELL / "manifest.json").unlink()
    wanted = {"slurm_partition": "cpu", "gpu": 0, "nodes": 2, "tasks": 2, "mpi": "srun"}
    resources = [f"train_continue:{name}={value}" for name, value in wanted.items()]
    run = start(ran, cluster, f"{CELL}/manifest.json", *THREADS, "--set-resources", *resources)
    try:
        run.wait(1800)
    finally:
        run.end()
    assert json.loads((ran.root / CELL / "run.json").read_text())["processes"] == 2
    assert cluster.finished()[-1].nodes == "n[1-2]"
    together = curve(ran)
    assert len(together) == len(alone)
    for one, two in zip(alone, together):
        assert two == pytest.approx(one, rel=1e-3)
