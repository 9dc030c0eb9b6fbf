"""Profiles: each plans the same jobs, and gives every rule that can use a GPU one."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.workflow.conftest import ROOT, Project, jobs

PROFILES = {path.parent.name: yaml.safe_load(path.read_text()) for path in (ROOT / "profiles").glob("*/config.yaml")}
RULES = "".join(path.read_text() for path in (ROOT / "workflow/rules").glob("*.smk"))


def rules() -> dict[str, str]:
    """Text of every rule by name."""
    parts = re.split(r"(?m)^rule (\w+):$", RULES)
    return dict(zip(parts[1::2], parts[2::2]))


def using_gpus() -> set[str]:
    return {name for name, text in rules().items() if "gpu=" in text}


@pytest.mark.parametrize("name", ["gpu", "slurm"])
def test_a_profile_plans_what_the_workstation_plans(name: str, project: Project) -> None:
    flags = ("--configfile", "config/experiments/smoke.yaml")
    done = project.snakemake("--dry-run", "--quiet", "rules", "--workflow-profile", f"profiles/{name}", *flags)
    assert jobs(done.stdout + done.stderr) == project.plan(*flags) != Counter()


@pytest.mark.parametrize("name", sorted(set(PROFILES) - {"default"}))
def test_every_rule_that_can_use_a_gpu_gets_one(name: str) -> None:
    given = {rule for rule, resources in PROFILES[name]["set-resources"].items() if resources.get("gpu")}
    assert given == using_gpus() != set()
    assert set(PROFILES[name]["set-threads"]) <= set(rules())


@pytest.mark.parametrize("name", sorted(PROFILES))
def test_what_makes_a_job_run_again_is_the_same_everywhere(name: str) -> None:
    for key in ("rerun-triggers", "max-checksum-file-size", "rerun-incomplete"):
        assert PROFILES[name][key] == PROFILES["default"][key], key


@pytest.mark.parametrize("name", [name for name, profile in PROFILES.items() if "groups" in profile])
def test_no_rule_with_a_gpu_is_in_a_group(name: str) -> None:
    grouped: dict[str, Any] = PROFILES[name]["groups"]
    assert set(grouped) <= set(rules()) - using_gpus()


def test_every_rule_asks_for_memory_and_time_that_grow() -> None:
    for name, text in rules().items():
        for resource in ("mem_mb", "runtime") if "shell:" in text else ():  # the others are targets, without a job
            assert re.search(rf"{resource}=lambda wildcards, attempt: \d+ \* attempt,", text), (name, resource)


def test_resources_stay_out_of_the_configuration() -> None:
    for path in Path(ROOT / "config").rglob("*.yaml"):
        assert not re.search(r"(?m)^\s*(mem_mb|gpus?|partition|threads|processes|nodes):", path.read_text()), path
