"""What runs the checks for others, a commit hook and a forge, runs those of the Makefile with the programs of the lock file."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


def test_the_hooks_run_commands_of_make_checks() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    assert [repository["repo"] for repository in config["repos"]] == ["local"]  # nothing is downloaded
    recipe = re.search(r"^checks:.*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)
    assert recipe is not None
    wanted = {line.strip().removeprefix("$(BIN)/") for line in recipe[1].splitlines()} - {"snakemake --lint"}
    entries = []
    for hook in config["repos"][0]["hooks"]:
        program, *words = shlex.split(hook["entry"])
        name = program.removeprefix(".venv/bin/")
        package = {"lint-imports": "import-linter"}.get(name, name)
        assert hook["language"] == "system" and re.search(rf"^{package}==", (ROOT / "envs/lock.txt").read_text(), re.MULTILINE)
        entries.append(" ".join([name, *(word for word in words if word != "--force-exclude")]))
    assert {re.sub(r" (\.|Snakefile workflow)$", "", line) for line in wanted} == set(entries)


def test_the_forge_runs_the_test_command_of_the_readme_with_the_oldest_python() -> None:
    (job,) = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"].values()
    commands = [step["run"] for step in job["steps"] if "run" in step]
    assert commands == [".ci/run"] and (ROOT / ".ci/run").read_text().rstrip().endswith("exec make test")
    assert "\nmake test " in (ROOT / "README.md").read_text() and re.search(r"^test:", MAKEFILE, re.MULTILINE)
    oldest = re.search(r'requires-python = ">=(\S+)"', (ROOT / "pyproject.toml").read_text())
    assert oldest is not None and oldest[1] == job["strategy"]["matrix"]["python"][0]
