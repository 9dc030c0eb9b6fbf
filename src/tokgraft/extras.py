"""What a command needs beyond the core of the package: the extras of pyproject.toml, read from the metadata of what is installed.

A package without metadata (a source folder on the path) declares nothing, so nothing is asked of it.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tokgraft.errors import MissingError

NAME = __package__


def demand(extra: str) -> None:
    """Refuse a command whose extra is not installed, before its work.

    Raises:
        MissingError: A package of the extra is not there.
    """
    if missing := [requirement.name for requirement in _of(extra) if not _installed(requirement.name)]:
        raise _missing(missing, extra)


def explain(error: ModuleNotFoundError, preferred: str = "") -> MissingError | None:
    """What to install where an import failed; None where the module belongs to no package that the core or an extra declares.

    Args:
        error: Of the import.
        preferred: The extra that is named if several declare the package (that of the command).
    """
    module = canonicalize_name((error.name or "").partition(".")[0])
    extras = [extra for extra in ["", preferred, *_extras()] if any(canonicalize_name(found.name) == module for found in _of(extra))]
    return _missing([module], extras[0]) if extras else None


def _missing(packages: list[str], extra: str) -> MissingError:
    what = f"the Python package {packages[0]} is" if len(packages) == 1 else f"the Python packages {', '.join(packages)} are"
    return MissingError(f"{what} not installed", f"pip install '{NAME}[{extra}]'" if extra else f"pip install {NAME}")


def _of(extra: str) -> Iterator[Requirement]:
    """The requirements that an extra adds, with those of the extras that it consists of; of no extra (""), the core's."""
    for requirement in _declared():
        if not _asked(requirement, extra) or (extra and _asked(requirement, "")):
            continue
        if requirement.name == NAME:
            for inner in sorted(requirement.extras):
                yield from _of(inner)
        else:
            yield requirement


def _asked(requirement: Requirement, extra: str) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": extra})


def _declared() -> list[Requirement]:
    try:
        return [Requirement(text) for text in importlib.metadata.requires(NAME) or ()]
    except importlib.metadata.PackageNotFoundError:
        return []


def _extras() -> list[str]:
    """The names of the extras, those that consist of others last."""
    try:
        names = importlib.metadata.metadata(NAME).get_all("Provides-Extra") or []
    except importlib.metadata.PackageNotFoundError:
        return []
    return sorted(names, key=lambda name: (len(list(_of(name))), name))


def _installed(package: str) -> bool:
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
