"""The blocks of the documentation that need whole experiments, as printed, in a copy of the project with small sizes (tests/docs/sample.py)."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import yaml

from tests.docs.pages import ROOT, blocks, settings
from tests.docs.sample import base_model, configure
from tests.workflow.conftest import Project, copy_project

pytestmark = pytest.mark.timeout(7200)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The project with the experiments that the pages define; `make setup` has nothing to do in it."""
    made = copy_project(tmp_path_factory.mktemp("docs") / "project")
    (made.root / "Makefile").write_bytes((ROOT / "Makefile").read_bytes())
    configure(made.root)
    base_model(made.root / "my-model")
    for block in blocks():
        if block.language == "yaml" and (found := settings(block.page, block))[0].startswith("config/experiments/"):
            made.write(found[0], yaml.safe_dump(found[1], sort_keys=False))
    environment = made.root / ".venv"
    environment.mkdir()
    for name in ("bin", "lib", "pyvenv.cfg"):
        (environment / name).symlink_to(Path(sys.prefix) / name)
    (environment / ".ready").touch()
    return made


@pytest.mark.parametrize("page", dict.fromkeys(block.page for block in blocks() if block.marker == "on demand"))
def test_the_blocks_on_demand_run(project: Project, page: str) -> None:
    """In the order of the pages: the README's come first and make the results that the others show."""
    for block in blocks():
        if block.page == page and block.marker == "on demand":
            project.run(*(("bash", "-ec") if block.language == "bash" else (sys.executable, "-c")), block.code)
