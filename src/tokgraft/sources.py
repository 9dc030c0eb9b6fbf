"""Which source files decide what a stage writes: those that its entry module imports, and theirs, read from the import graph.

The hash of their content is a parameter of every job, so a job runs again when one of them changes. It holds no path: the same code gives the
same hash wherever the package is installed and wherever Snakemake is started.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import grimp

PACKAGE = Path(__file__).parent
NAME = __package__

# These start, find and report; they cannot change what is written into the hashed part of an artifact.
SILENT = ("cli", "errors", "extras", "garbage", "gpus", "launch", "logs", "masking", "processor", "registry", "skipping")


def digest(entry: str, parts: Iterable[str] = (), more: Iterable[Path] = ()) -> str:
    """Hash of everything that decides what a job of a stage writes, beside its settings and inputs.

    Args:
        entry: Dotted name below the package of the module whose function the stage's command calls.
        parts: Dotted names of the modules that the job names by its settings (`Registry.module`).
        more: Further files (templates of the configuration).

    Returns:
        16 hexadecimal digits.
    """
    found = _package_digest(entry, tuple(sorted(set(parts))))
    other = sorted(file_digest(path) for path in more)
    return hashlib.sha256("".join([found, *other]).encode()).hexdigest()[:16]


def files(entry: str, parts: Iterable[str] = ()) -> list[Path]:
    """The package's files that decide what a job of a stage writes: modules, and the data files beside them whose names they mention."""
    found = {_file(module) for module in closure((f"{NAME}.{entry}", *parts))}
    queue = sorted(found)
    while queue:
        path = queue.pop()
        new = {data for data in _data(path.parent) - found if data.name in _text(path)}
        found |= new
        queue += sorted(new)
    return sorted(found)


@cache
def _data(folder: Path) -> frozenset[Path]:
    """Files of a folder that are no modules (style sheets, templates)."""
    return frozenset(path for path in folder.iterdir() if path.is_file() and path.suffix not in {".py", ".pyc", ".pyi"})


@cache
def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


@cache
def closure(modules: tuple[str, ...]) -> list[str]:
    """Modules of the package that are loaded when some are: their imports, lazy ones too, and the packages they lie in."""
    graph, found, queue = _graph(), set(), list(modules)
    while queue:
        module = queue.pop()
        if module in found or silent(module):
            continue
        found.add(module)
        queue += graph.find_modules_directly_imported_by(module)
        if "." in module:
            queue.append(module.rpartition(".")[0])
    return sorted(found)


def silent(module: str) -> bool:
    """Whether a module cannot change a result."""
    return module.partition(".")[2].partition(".")[0] in SILENT


@cache
def file_digest(path: Path) -> str:
    """Hex SHA-256 of a file, read once in a process."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


@cache
def _package_digest(entry: str, parts: tuple[str, ...]) -> str:
    named = [f"{path.relative_to(PACKAGE).as_posix()} {file_digest(path)}" for path in files(entry, parts)]
    return hashlib.sha256("\n".join(named).encode()).hexdigest()


@cache
def _graph() -> grimp.ImportGraph:
    import grimp  # only a plan needs it

    return grimp.build_graph(NAME, cache_dir=None)


def _file(module: str) -> Path:
    path = PACKAGE.joinpath(*module.split(".")[1:])
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
