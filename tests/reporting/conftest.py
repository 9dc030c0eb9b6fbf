from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """The artifacts of the invented experiment, built once; tests that change them copy the tree."""
    from synthetic_cells import build

    root = tmp_path_factory.mktemp("finished")
    build(root)
    return root


@pytest.fixture
def project(finished, monkeypatch):
    """The tree as working directory; for reading only."""
    monkeypatch.chdir(finished)
    return finished


@pytest.fixture
def own_project(finished, tmp_path, monkeypatch):
    """A copy of the tree as working directory, to be changed."""
    import shutil

    shutil.copytree(finished / "results", tmp_path / "results")
    monkeypatch.chdir(tmp_path)
    return tmp_path
