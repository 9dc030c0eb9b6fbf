"""The tests in this folder use real parts (stores, servers, a cluster) and a finished run of the smoke experiment, made once.

`make test-integration` runs them. A finished run that is at hand saves minutes: TOKGRAFT_FINISHED_RUN=/path/of/a/checkout names one; its
results are copied and brought up to date with the sources here, so that they are never those of other sources.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.workflow.conftest import ROOT, Project, jobs

SMOKE = ("--configfile", "config/experiments/smoke.yaml")
# What is taken from a run at hand. Not its MLflow store, which names its own folder: the cells are published again.
LEFT = ("results", "logs", "benchmarks", ".snakemake")
GIT = (
    "git",
    "-c",
    "user.email=nobody@example.org",
    "-c",
    "user.name=nobody",
    "-c",
    "init.defaultBranch=main",
    "-c",
    "protocol.file.allow=always",
)


@pytest.hookimpl(tryfirst=True)  # before the selection by -m, which reads the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here is an integration test, said or not."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.integration)


@dataclass(frozen=True)
class Checkout(Project):
    """A git checkout of the project, of its own."""

    def git(self, *words: str) -> str:
        """Run git; what it prints."""
        return self.run(*GIT, *words).stdout

    def smoke(self, *flags: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run the smoke experiment."""
        return self.snakemake(*flags, *SMOKE, check=check)

    def listed(self, *flags: str) -> Counter[str]:
        """Jobs by rule that a dry run of the smoke experiment lists; empty when nothing is to be done."""
        done = self.snakemake(*flags, "--dry-run", "--quiet", "rules", *SMOKE)  # targets first: --quiet takes words, too
        text = done.stdout + done.stderr
        found = jobs(text) if "Job stats:" in text else Counter()
        found.pop("all", None)
        return found

    def commit(self, message: str) -> None:
        """Commit everything that git does not ignore."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", message)


def new_checkout(root: Path) -> Checkout:
    """A git checkout of the sources as they are here, without results.

    Args:
        root: A folder that does not exist yet.
    """
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    for name in listed:
        if (ROOT / name).is_file():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, root / name)
    checkout = Checkout(root)
    checkout.git("init", "--quiet", ".")
    checkout.commit("sources")
    return checkout


def copy_run(source: Checkout, root: Path) -> Checkout:
    """A copy of a finished run, dates included, to break or to change.

    Args:
        source: The finished run.
        root: A folder that does not exist yet.
    """
    shutil.copytree(source.root, root, symlinks=True)
    return Checkout(root)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A finished run of the smoke experiment. Read it or `copy_run` it; never run in it."""
    checkout = new_checkout(tmp_path_factory.mktemp("finished") / "tokgraft")
    if at_hand := os.environ.get("TOKGRAFT_FINISHED_RUN"):
        for name in LEFT:
            shutil.copytree(Path(at_hand) / name, checkout.root / name, symlinks=True)
        (checkout.root / "results/experiments/smoke/published.json").unlink(missing_ok=True)
    checkout.smoke()
    return checkout
