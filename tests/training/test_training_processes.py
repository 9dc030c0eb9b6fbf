"""Several processes train as one: the same curve and artifact, and what they tell each other."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tokgraft.errors import ConfigError
from tokgraft.training.device import timeout
from training_pairs import alone, check_equal, home, nothing_stays, said, two

__all__ = ["home", "nothing_stays"]  # fixtures


@pytest.mark.slow
def test_two_processes_train_as_one(home: Path) -> None:
    alone(home, "one")
    assert two(home, "two", launcher="accelerate").wait(240) == 0, said(home, "two")
    check_equal(home / "one", home / "two")
    assert json.loads((home / "two" / "run.json").read_text())["processes"] == 2
    # Only the first process logs and writes.
    assert said(home, "two").count("validation at step 0") == 1
    assert said(home, "two").count("wrote ") == 1
    assert not [path.name for path in home.iterdir() if path.name.startswith(".")]


EXCHANGE = """
import sys
import torch
from tokgraft.config.recipe import TrainingRecipe
from tokgraft.errors import ConfigError
from tokgraft.training import device, processes
recipe = TrainingRecipe.parse({"stages": [{"name": "all", "train": ["all"], "bytes": 1, "lr": 1}]}, "test")
context = device.device_context(recipe, "cpu", 1)
rank = context.rank
# The first parameter has gradients in both processes, the second in one, the third in none.
parameters = [torch.nn.Parameter(torch.zeros(3)) for _ in range(3)]
parameters[0].grad = torch.tensor([1.0, 2.0, 3.0]) * (rank + 1)
if rank == 1:
    parameters[1].grad = torch.ones(3)
processes.BUCKET = 4  # a parameter a bucket
sums = processes.sum_step(rank + 0.5, rank == 1, parameters, context)
processes.sum_gradients(parameters, sums.holders, context)
assert sums == (2.0, True, [2, 1, 0])
assert processes.sum_step(0.0, False, parameters, context).stop is False
assert parameters[0].grad.tolist() == [3, 6, 9] and parameters[1].grad.tolist() == [1, 1, 1] and parameters[2].grad is None
sent = (5, {"a": torch.arange(4), "b": torch.ones(2, 2)}) if rank == 0 else (None, {})
value, tensors = processes.from_first(*sent, context)
assert value == 5 and tensors["a"].tolist() == [0, 1, 2, 3] and tensors["b"].shape == (2, 2)
processes.demand_same("equal", context)
try:
    processes.demand_same(f"rank {rank}", context)
except ConfigError as error:
    assert "of 2 processes, 1 have other settings" in str(error)
    processes.wait(context)
    print("done")
"""


@pytest.mark.slow
def test_what_processes_exchange(tmp_path: Path) -> None:
    (tmp_path / "exchange.py").write_text(EXCHANGE)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", str(tmp_path / "exchange.py")]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("done") == 2


def test_timeout_is_a_number_of_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    assert timeout().total_seconds() == 1800
    monkeypatch.setenv("TOKGRAFT_PROCESS_TIMEOUT", "2.5")
    assert timeout().total_seconds() == 2.5
    for wrong in ("soon", "0", "-3", "nan"):
        monkeypatch.setenv("TOKGRAFT_PROCESS_TIMEOUT", wrong)
        with pytest.raises(ConfigError, match="TOKGRAFT_PROCESS_TIMEOUT"):
            timeout()
