"""The Kubernetes profile plans the experiment. More has not been tried: see docs/cluster.md."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.integration.conftest import SMOKE, new_checkout
from tests.workflow.conftest import jobs


def test_the_profile_plans_the_experiment(tmp_path: Path) -> None:
    pytest.importorskip("snakemake_executor_plugin_kubernetes", reason="make test-integration installs it")
    checkout = new_checkout(tmp_path / "tokgraft")
    place = ("--workflow-profile", "profiles/kubernetes", "--default-storage-prefix", str(checkout.root))
    done = checkout.snakemake("--dry-run", "--quiet", "rules", *place, *SMOKE)
    expected = checkout.listed()
    found = jobs(done.stdout + done.stderr)
    found.pop("all")
    assert found == expected != Counter()
