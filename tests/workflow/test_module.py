"""The workflow as others use it: as a module of a project in another folder, as workflow/README.md shows, and in the workflow catalog."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from tests.docs.pages import blocks
from tests.workflow.conftest import ROOT, Project

SMOKE = ("--configfile", "config/experiments/smoke.yaml")


@pytest.fixture
def other(tmp_path: Path) -> Project:
    """A project with nothing but a copy of the configuration and the Snakefile of the page."""
    (text,) = (block.code for block in blocks() if block.language == "snakemake")
    made = Project(tmp_path / "other")
    shutil.copytree(ROOT / "config", made.root / "config")
    (made.root / "src").symlink_to(ROOT / "src")  # in the place of an installed package
    made.write("workflow/Snakefile", text.replace("/path/to/tokgraft", str(ROOT)))
    return made


def test_a_module_plans_the_same_jobs_and_runs_them(other: Project, project: Project) -> None:
    for flags in ((), SMOKE):
        assert other.plan(*flags) == project.plan(*flags)
    cells = "results/experiments/smoke/cells.json"
    for place in (other, project):
        place.run("snakemake", cells, "--cores", "1", *SMOKE)
    assert (other.root / cells).read_bytes() == (project.root / cells).read_bytes()


def test_the_catalog_finds_what_it_shows() -> None:
    """Snakefile, README files and the flags that it would print."""
    for name in ("workflow/Snakefile", "README.md", "config/README.md", "LICENSE"):
        assert (ROOT / name).is_file()
    usage = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text())["usage"]
    assert set(usage) <= {"mandatory-flags", "software-stack-deployment", "report"}
    assert all((ROOT / word).exists() for word in usage["mandatory-flags"]["flags"].split() if not word.startswith("-"))
