"""`pip install` of the package into an empty environment: what its ranges give today, not what the lock file pins."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import wheels

pytestmark = [pytest.mark.network, pytest.mark.timeout(3600)]


def test_an_empty_environment_gets_a_package_that_transplants(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "environment")], check=True)
    environment = wheels.Environment(tmp_path / "environment")
    # A CPU build where pip knows one, as in the Makefile; torch alone would bring gigabytes for a GPU.
    torch = re.search(r"torch==[\d.]+", (wheels.ROOT / "Makefile").read_text(encoding="utf-8"))
    assert torch is not None
    for what in (torch[0], wheels.copy(tmp_path / "source")):
        done = wheels.run([environment.python, "-m", "pip", "install", "--quiet", what], tmp_path)
        assert done.returncode == 0, done.stderr[-3000:]
    consistent = wheels.run([environment.python, "-m", "pip", "check"], tmp_path)
    assert consistent.returncode == 0, consistent.stdout
    wheels.check(environment, tmp_path)
