"""The pages of the documentation, their code blocks, and what can be said of a block without running it.

Every block has a language. A `bash`, `python` or `yaml` block is run by tests/docs/test_examples.py, unless a comment on the line above says else:

    <!-- on demand: REASON -->    run by `make test-integration`
    <!-- run by: TEST FILE -->    another test runs it
    <!-- not run: REASON -->      only read: commands, flags, names and paths in it must exist
"""

from __future__ import annotations

import argparse
import ast
import importlib
import importlib.util
import re
import shlex
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from command_tree import parsers
from tokgraft.cli import build_parser
from tokgraft.config.base import ConfigFile, slugs
from tokgraft.config.experiment import Experiment
from tokgraft.config.language import Language
from tokgraft.config.model import BaseModelConfig
from tokgraft.config.recipe import TrainingRecipe
from tokgraft.config.task import Task
from tokgraft.config.tokenizer import TokenizerRecipe
from tokgraft.methods import METHODS
from tokgraft.resources import RESOURCES

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "workflow" / "README.md",
    ROOT / "config" / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
KINDS: dict[str, type[ConfigFile]] = {
    kind.folder: kind for kind in (BaseModelConfig, Experiment, Language, Task, TokenizerRecipe, TrainingRecipe)
}
LANGUAGES = {"bash", "python", "yaml", "snakemake", "text"}
MARKERS = {"on demand", "run by", "not run"}
FENCE = re.compile(
    r"^(?:<!-- (?P<marker>[a-z ]+): (?P<reason>[^\n]+) -->\n)?```(?P<language>\w*)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL
)
# Folders of the repository: a path below one of them that a page shows must be there.
FOLDERS = ("config/", "docs/", "envs/", "profiles/", "src/", "tests/", "workflow/")
OUTSIDE = {"cd", "dvc", "export", "git", "mlflow", "pip", "pre-commit", "snakedeploy", "source"}
"""Programs of others that pages show, whose flags are not ours to check."""


@dataclass(frozen=True)
class Block:
    """A code block: the page that shows it and the line of its fence, its language, what its comment says, and its text."""

    page: str
    line: int
    language: str
    marker: str
    reason: str
    code: str

    @property
    def name(self) -> str:
        """Where it is."""
        return f"{self.page}:{self.line}"


def blocks() -> list[Block]:
    """Every block of every page, in their order."""
    return [block for page in PAGES for block in read(page.read_text(encoding="utf-8"), str(page.relative_to(ROOT)))]


def read(text: str, page: str) -> list[Block]:
    """The blocks of a page; those without a language have the language ""."""
    found = []
    for match in FENCE.finditer(text):
        line = text.count("\n", 0, match.start("language")) + 1
        found.append(Block(page, line, match["language"], match["marker"] or "", match["reason"] or "", match["code"]))
    return found


def problems(block: Block) -> list[str]:
    """What is wrong with a block, as far as reading it tells."""
    if block.language not in LANGUAGES:
        return [f"no language: write one of {sorted(LANGUAGES)} behind its fence"]
    if block.marker and block.marker not in MARKERS:
        return [f"unknown comment {block.marker!r}: write one of {sorted(MARKERS)}"]
    if block.marker == "run by" and (not (test := ROOT / block.reason).is_file() or Path(block.page).name not in test.read_text()):
        return [f"{block.reason} does not exist, or does not name {block.page}"]
    try:
        if block.language == "yaml":
            settings(block.page, block)
        elif block.language == "python":
            _check_imports(block.code)
        elif block.language == "bash":
            return [problem for line in commands(block.code) for problem in _problems_of(line)]
    except (Exception, SystemExit) as error:
        return [f"{type(error).__name__}: {error}"]
    return []


def settings(page: str, block: Block) -> tuple[str, dict[str, Any]]:
    """The path that the first line of a YAML block gives, and the whole content of that file.

    Of two blocks for the same file, the keys of the later one replace those of the earlier.

    Raises:
        ValueError: Its first line names no configuration file, or the content is wrong.
    """
    found = re.match(r"# ((config|profiles)/(\w+)/(\S+?)\.yaml)\b", block.code)
    if found is None:
        raise ValueError("the first line of a YAML block says which file it is: # config/<folder>/<name>.yaml")
    content = yaml.safe_load(block.code)
    if found[2] == "profiles":
        profile = yaml.safe_load((ROOT / found[1]).read_text())
        if unknown := {rule for key in content for rule in content[key]} - {rule for key in content for rule in profile[key]}:
            raise ValueError(f"{found[1]} has no {sorted(unknown)}")
        return found[1], content
    earlier = [
        yaml.safe_load(other.code)
        for other in blocks()
        if other.page == page and other.language == "yaml" and other.line < block.line and other.code.startswith(f"# {found[1]}")
    ]
    whole = {key: value for part in [*earlier, content] for key, value in part.items()}
    KINDS[found[3]].parse(whole, found[1])
    return found[1], whole


def commands(code: str) -> list[str]:
    """The command lines of a bash block, continued lines joined and commands joined by && apart."""
    lines = [line.strip() for line in code.replace("\\\n", " ").splitlines()]
    return [part.strip() for line in lines if line and not line.startswith("#") for part in line.split(" && ")]


def _problems_of(line: str) -> list[str]:
    """What is wrong with one command line."""
    words = shlex.split(line, comments=True)
    program, words = words[0], words[1:]
    found = [f"{line!r}: there is no {word}" for word in words if word.startswith(FOLDERS) and not _is_there(word)]
    if program == "tokgraft":
        found += [f"{line!r}: {problem}" for problem in check_command(words)]
    elif program == "make":
        found += [f"{line!r}: {problem}" for problem in _check_make(words)]
    elif program == "snakemake":
        found += _check_snakemake(words)
    elif program.endswith("python"):
        if words[:1] == ["-m"] and importlib.util.find_spec(words[1]) is None:
            found.append(f"{line!r}: there is no module {words[1]}")
    elif program not in OUTSIDE | {"pytest"} and "=$(" not in line:
        found.append(f"{line!r}: {program} is neither ours nor in OUTSIDE")
    return found


def _is_there(path: str) -> bool:
    """Whether the repository has a path, or a page shows what to write there."""
    return (ROOT / path).exists() or path in written()


@cache
def written() -> frozenset[str]:
    """The files that YAML and Python blocks of the pages are the content of."""
    shown = [re.match(r"# (config/\S+?\.yaml)\b", block.code) for block in blocks() if block.language == "yaml"]
    named = re.findall(r"`(src/tokgraft/\w+/(?:tasks/|objectives/)?\w+\.py)`:?\n", "\n".join(page.read_text() for page in PAGES))
    return frozenset([match[1] for match in shown if match] + named)


@cache
def parser() -> argparse.ArgumentParser:
    """The parser of the command line, for words whose folders are not there."""
    found = build_parser()
    for _, inner in parsers(found):
        for action in inner._actions:
            action.type = (lambda text: text.split("=")) if "=" in str(action.metavar) and action.option_strings else None
    return found


def check_command(words: list[str]) -> list[str]:
    """What is wrong with the words behind `tokgraft`: a command, flag or name that does not exist."""
    words = words[: next((place for place, word in enumerate(words) if word in {">", "|", "2>"}), len(words))]
    if "..." in words:
        return []
    try:
        args = vars(parser().parse_args(words))
    except SystemExit:
        return ["it cannot be parsed"]
    config = ROOT / "config"
    known = {
        "language": slugs("languages", config),
        "tasks": slugs("tasks", config),
        "recipe": slugs("tokenizers" if args["command"] == "tokenizer" else "recipes", config),
        "method": METHODS.names(),
        "name": RESOURCES.names(),
        "experiment": ["demo", *slugs("experiments", config)],  # "demo" is the name of config/config.yaml
    } | ({"model": slugs("models", config)} if args["command"] == "model" else {})
    new = {Path(path).stem for path in written()}
    found = []
    for key, names in known.items():
        values = args.get(key) or []
        for value in [values] if isinstance(values, str) else values:
            if Path(value).stem not in {*names, *new} and Path(value).suffix not in {".yaml"} and "+" not in value:
                found.append(f"there is no {key} {value!r}")
    return found


def _check_make(words: list[str]) -> list[str]:
    text = (ROOT / "Makefile").read_text()
    targets, variables = set(re.findall(r"^([a-z-]+):", text, re.MULTILINE)), set(re.findall(r"^([A-Z]+)\s*:=", text, re.MULTILINE))
    return [f"no variable {word}" for word in words if "=" in word and word.partition("=")[0] not in variables] + [
        f"no target {word}" for word in words if "=" not in word and word not in targets
    ]


@cache
def _snakemake() -> argparse.ArgumentParser:
    from snakemake.cli import get_argument_parser

    return get_argument_parser()


def _check_snakemake(words: list[str]) -> list[str]:
    known = {flag for action in _snakemake()._actions for flag in action.option_strings}
    rules = {
        name
        for path in [ROOT / "Snakefile", *(ROOT / "workflow/rules").glob("*.smk")]
        for name in re.findall(r"^rule (\w+):", path.read_text(), re.M)
    }
    found = [f"Snakemake has no flag {word}" for word in words if word.startswith("-") and word.partition("=")[0] not in known]
    return found + [f"there is no rule {word}" for word in words[:1] if not word.startswith("-") and word not in rules and "/" not in word]


def _check_imports(code: str) -> None:
    """Every name that a Python block imports from us exists."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("tokgraft"):
            module = importlib.import_module(node.module)
            for name in node.names:
                if not hasattr(module, name.name):
                    importlib.import_module(f"{node.module}.{name.name}")
