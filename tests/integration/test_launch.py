"""One cell trained by two processes, from the same rule, by a resource alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.integration.conftest import Checkout, copy_run
from tests.workflow.conftest import places

CELL = places("config/experiments/smoke.yaml").adapted("pocket-smoke", "deu_Latn", "bpe2k", "mean", 0, "smoke")


def curve(checkout: Checkout) -> list[dict[str, float]]:
    """The numbers of every row of the learning curve."""
    rows = [json.loads(line) for line in (checkout.root / CELL / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name != "stage"} for row in rows]


def test_a_resource_makes_a_rule_train_by_two_processes(finished: Checkout, tmp_path: Path) -> None:
    checkout = copy_run(finished, tmp_path / "copy")
    alone = curve(checkout)
    (checkout.root / CELL / "manifest.json").unlink()
    checkout.smoke(f"{CELL}/manifest.json", "--set-resources", "train_continue:processes=2")
    facts = json.loads((checkout.root / CELL / "run.json").read_text())
    assert (facts["processes"], facts["threads"]) == (2, 1)
    together = curve(checkout)
    assert len(together) == len(alone)
    for one, two in zip(alone, together):
        assert two == pytest.approx(one, rel=1e-3)


def test_a_job_that_asks_for_more_gpus_than_there_are_says_so(finished: Checkout, tmp_path: Path) -> None:
    checkout = copy_run(finished, tmp_path / "copy")
    (checkout.root / CELL / "manifest.json").unlink()
    flags = (f"{CELL}/manifest.json", "--set-resources", "train_continue:gpu=2", "--resources", "gpu=2")
    done = checkout.run(
        "snakemake", *flags, "--configfile", "config/experiments/smoke.yaml", check=False, env={"CUDA_VISIBLE_DEVICES": "0"}
    )
    assert done.returncode != 0
    assert "the job asks for 2 GPUs, this machine shows 1 (CUDA_VISIBLE_DEVICES=0)" in done.stdout + done.stderr
    assert "docs/cluster.md" in done.stdout + done.stderr
