"""What a job becomes when its profile gives it GPUs, processes or nodes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tokgraft import launch
from tokgraft.errors import ConfigError
from tokgraft.launch import LaunchRequest


def test_one_process_a_gpu_unless_said_otherwise() -> None:
    assert [
        LaunchRequest(0).total,
        LaunchRequest(4).total,
        LaunchRequest(4, 2).total,
        LaunchRequest(0, 3).total,
        LaunchRequest(0, 0, 2).total,
    ] == [1, 4, 2, 3, 2]
    assert LaunchRequest(8, 0, 2).per_node == 4
    assert LaunchRequest(4, threads=10).threads_each == 2
    assert LaunchRequest(4, threads=1).threads_each == 1


@pytest.mark.parametrize("bad", [(-1, 0, 1), (0, 0, 0), (3, 0, 2), (0, 3, 2), (4, 3, 2)])
def test_what_cannot_be_is_said(bad: tuple[int, int, int]) -> None:
    with pytest.raises(ConfigError):
        LaunchRequest(*bad)


def test_several_processes_on_one_machine() -> None:
    found = launch.command_line(LaunchRequest(2, threads=4), ["train", "--threads", "4", "--out", "o"], {})
    assert found[:3] == [sys.executable, "-m", "torch.distributed.run"]
    assert "--nproc_per_node=2" in found and "--standalone" in found
    assert found[found.index("tokgraft") :] == ["tokgraft", "train", "--threads", "4", "--out", "o", "--threads", "2"]


def test_several_nodes_meet_by_slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "srun").write_text("#!/bin/sh\n")
    (tmp_path / "srun").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    found = launch.command_line(LaunchRequest(8, nodes=2), ["train"], {"SLURM_JOB_ID": "41234", "SLURM_JOB_NUM_NODES": "2"})
    assert found[0] == "srun" and {"--nodes=2", "--ntasks=2", "--gpus=8", "--nproc_per_node=4", "--nnodes=2", "--rdzv_id=41234"} <= set(
        found
    )
    with pytest.raises(ConfigError, match="job 41234 has 3"):
        launch.command_line(LaunchRequest(8, nodes=2), ["train"], {"SLURM_JOB_ID": "41234", "SLURM_JOB_NUM_NODES": "3"})
    with pytest.raises(ConfigError, match="outside a Slurm job"):
        launch.command_line(LaunchRequest(8, nodes=2), ["train"], {})


def test_a_process_that_was_started_by_a_launcher_starts_no_other() -> None:
    assert launch.begin(LaunchRequest(8, 8, 1, 3), {"RANK": "0", "WORLD_SIZE": "8", "LOCAL_RANK": "0"}) == 3
