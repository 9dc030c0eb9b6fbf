"""The command line answers at once, and an error of the user is a message, not a traceback."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tokgraft.cli import build_parser, main

COMMANDS = {
    "corpus",
    "tokenizer",
    "model",
    "resource",
    "transplant",
    "train",
    "score",
    "speed",
    "publish",
    "report",
    "verify",
    "list",
    "doctor",
    "hydra",
    "sibling",
    "run",
}


def test_every_command_has_help_with_examples(capsys: pytest.CaptureFixture[str]) -> None:
    parser = build_parser()
    choices = next(action.choices for action in parser._subparsers._group_actions if action.choices)  # type: ignore[union-attr]
    assert set(choices) >= COMMANDS
    for name, command in choices.items():  # type: ignore[union-attr]
        text = command.format_help()
        assert f"tokgraft {name}" in text.split("examples:", 1)[1], f"{name} --help shows no example"
        assert len(command.description) > 20


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from tokgraft.cli import build_parser; build_parser().format_help()\n"
        "heavy = {'torch', 'transformers', 'datasets', 'matplotlib', 'lm_eval', 'mlflow', 'numpy', 'pydantic', 'snakemake'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_planning_imports_neither_torch_nor_transformers() -> None:
    code = (
        "import sys, json, yaml; from tokgraft.workflow import Workflow\n"
        "Workflow()\n"
        "heavy = {'torch', 'transformers', 'datasets', 'lm_eval', 'mlflow'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_mistake_is_a_message(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "cells", "--settings", "smok"]) == 2
    error = capsys.readouterr().err
    assert "unknown experiment 'smok'" in error and "did you mean smoke" in error
    assert "Traceback" not in error


@pytest.mark.parametrize("what", ["methods", "languages", "models", "tokenizers", "recipes", "tasks", "experiments", "resources"])
def test_listings_name_what_is_in_the_box(what: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", what]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) >= 2
    known = {"methods": "mean", "languages": "deu_Latn", "models": "pocket", "tokenizers": "bpe8k", "recipes": "smoke", "tasks": "bpb"}
    if what in known:
        assert any(line.startswith(known[what]) for line in lines)
