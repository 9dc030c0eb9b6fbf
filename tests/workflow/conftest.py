"""A copy of the project in which Snakemake can be run without touching the real one."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tokgraft.matrix import load_matrix
from tokgraft.places import Places

ROOT = Path(__file__).parents[2]
PARTS = ("Snakefile", "workflow", "config", "profiles", "envs", "src", "pyproject.toml")


@dataclass(frozen=True)
class Project:
    """A copy of the project's files."""

    root: Path

    def write(self, place: str, content: Any) -> None:
        """Write a text, or a mapping as YAML."""
        path = self.root / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))

    def run(self, *command: str, check: bool = True, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command in the copy, with the copy's package first on the path."""
        done = subprocess.run(command, cwd=self.root, env={**self._env(), **(env or {})}, capture_output=True, text=True, check=False)
        assert not check or done.returncode == 0, f"{command}\n{done.stdout[-5000:]}\n{done.stderr[-5000:]}"
        return done

    def start(self, *command: str) -> subprocess.Popen[str]:
        """Start a command in the copy, without waiting for its end."""
        return subprocess.Popen(command, cwd=self.root, env=self._env(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def _env(self) -> dict[str, str]:
        paths = {"PYTHONPATH": str(self.root / "src"), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        inherited = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
        return {**inherited, **paths, "TOKGRAFT_CACHE": str(cache())}

    def snakemake(self, *flags: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run Snakemake in the copy."""
        return self.run("snakemake", *flags, check=check)

    def plan(self, *flags: str) -> Counter[str]:
        """Jobs by rule that a dry run lists."""
        done = self.snakemake("--dry-run", "--quiet", "rules", *flags)
        return jobs(done.stdout + done.stderr)


def jobs(text: str) -> Counter[str]:
    """The table of jobs that Snakemake prints."""
    found: Counter[str] = Counter()
    table = text.rpartition("Job stats:")[2]
    for name, count in re.findall(r"^(\w+)\s+(\d+)\s*$", table, flags=re.MULTILINE):
        if name != "total":
            found[name] = int(count)
    return found


def places(experiment: str) -> Places:
    """Where the artifacts of an experiment of the project live."""
    return Places(load_matrix(str(ROOT / experiment), ROOT / "config"))


def cache() -> Path:
    """Downloads are shared with the project, so that no test downloads a thing twice."""
    return Path(os.environ.get("TOKGRAFT_CACHE", ROOT / ".cache" / "downloads"))


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A fresh copy without results."""
    return copy_project(tmp_path / "project")


def copy_project(root: Path) -> Project:
    """Copy what belongs to the project into a new folder."""
    root.mkdir(parents=True)
    for name in PARTS:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, root / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info", ".snakemake"))
        else:
            shutil.copy(source, root / name)
    return Project(root)
