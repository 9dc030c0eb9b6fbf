from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "reporting"))

DEMO = [("pocket", "deu_Latn", ["none", "random", "mean"])]


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    """Three finished cells, built once."""
    from synthetic_cells import build

    root = tmp_path_factory.mktemp("small")
    build(root, DEMO, pages=10)
    return root


@pytest.fixture
def project(small, tmp_path, monkeypatch):
    """A copy of the tree as working directory."""
    shutil.copytree(small / "results", tmp_path / "results")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path
