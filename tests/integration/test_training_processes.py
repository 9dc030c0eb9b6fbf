"""Two training processes with faults: told to end, killed, hung; and checkpoints that one and two processes take up from each other."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from tokgraft.training.checkpoints import CheckpointFolder, default_folder
from training_pairs import BOUND, LONG, alone, check_equal, home, nothing_stays, said, started, two

__all__ = ["home", "nothing_stays"]  # fixtures
pytestmark = pytest.mark.integration


def test_two_processes_go_on_from_the_checkpoint_of_one(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = default_folder(home / "two")
    with monkeypatch.context() as patch:
        patch.setattr(CheckpointFolder, "clear", lambda self: None)
        alone(home, "one", checkpoints=store)
    step = int(max(store.glob("*/step-*")).name[5:])
    assert two(home, "two").wait(240) == 0, said(home, "two")
    assert said(home, "two").count(f"going on from the checkpoint of step {step}") == 1
    check_equal(home / "one", home / "two")
    assert not store.exists()


@pytest.mark.parametrize("told", [[0, 1], [1]], ids=["both", "second"])
def test_told_to_end_all_stop_after_one_step_and_one_process_goes_on(home: Path, told: list[int]) -> None:
    process = two(home, "two", LONG)
    workers = started(home, "two", process)
    for rank in told:
        os.kill(workers[rank], signal.SIGTERM)
    assert process.wait(BOUND) != 0
    newest = max(path.name for path in default_folder(home / "two").glob("*/step-*"))
    assert f"stopped after step {int(newest[5:])} with a checkpoint" in said(home, "two")
    assert "has lost another one" not in said(home, "two")
    assert not (home / "two").exists() and not list(home.glob("*.part"))
    alone(home, "two", LONG)
    assert not default_folder(home / "two").exists()
    alone(home, "one", LONG)
    check_equal(home / "one", home / "two")


@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_that_dies_ends_the_others_with_a_reason(home: Path, rank: int) -> None:
    process = two(home, "two", LONG)
    workers = started(home, "two", process)
    os.kill(workers[rank], signal.SIGKILL)
    begun = time.monotonic()
    assert process.wait(BOUND) != 0
    assert f"process {1 - rank} of 2" in said(home, "two") and "has lost another one" in said(home, "two")
    assert "goes on from the newest checkpoint" in said(home, "two")
    assert time.monotonic() - begun < BOUND
    assert not any(Path(f"/proc/{worker}").exists() for worker in workers)
    assert not (home / "two").exists() and list(default_folder(home / "two").glob("*/step-*"))


def test_a_process_that_hangs_is_given_up_after_the_timeout(home: Path) -> None:
    process = two(home, "two", LONG, TOKGRAFT_PROCESS_TIMEOUT="5")
    workers = started(home, "two", process)
    os.kill(workers[1], signal.SIGSTOP)
    try:
        assert process.wait(BOUND) != 0
    finally:
        for worker in workers:
            if Path(f"/proc/{worker}").exists():
                os.kill(worker, signal.SIGKILL)
    assert "process 0 of 2" in said(home, "two") and "has lost another one" in said(home, "two")
