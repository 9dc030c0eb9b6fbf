"""Task files of the user's own for the harness: which files decide what such a task asks, and the hash of their content."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tokgraft.config import strict_yaml
from tokgraft.errors import ConfigError

SUFFIX = ".yaml"  # of a task file; a name without it is a task of the harness


def label(name: str) -> str:
    """How results call a harness task: a file by its own name, so that no path of this machine is in them."""
    return Path(name).name if name.endswith(SUFFIX) else name


def files(task: Path) -> list[Path]:
    """A task file and every file that decides with it what is asked.

    These are the files that it includes, the Python files beside one that names a function, and the data files whose paths it holds.

    Raises:
        ConfigError: One of the YAML files is missing or damaged.
    """
    found: dict[Path, None] = {}
    queue = [Path(os.path.normpath(task))]
    while queue:
        path = queue.pop(0)
        if path in found:
            continue
        found[path] = None
        content = strict_yaml.read(path, tags=True)
        beside = path.parent
        if any(isinstance(value, strict_yaml.Tagged) and value.tag == "!function" for value in _values(content)):
            found |= dict.fromkeys(sorted(beside.glob("*.py")))
        included = content.get("include", []) if isinstance(content, dict) else []
        queue += [Path(os.path.normpath(beside / str(name))) for name in (included if isinstance(included, list) else [included])]
        for value in _values(content):
            if isinstance(value, strict_yaml.Tagged):
                module = beside / f"{value.text.rpartition('.')[0].replace('.', '/')}.py"
                found |= dict.fromkeys([module] if module.is_file() else [])
            elif isinstance(value, str) and (data := _data(value, beside)):
                found |= dict.fromkeys(path for path in data if path.suffix != SUFFIX)
    return list(found)


def _data(value: str, beside: Path) -> list[Path]:
    """The file that a text names, seen from here or from the task file."""
    if not value or len(value) > 1000 or "\n" in value or "\0" in value:
        return []
    try:
        return [path for path in (Path(value), beside / value) if path.is_file()][:1]
    except OSError:  # longer than a name can be
        return []


def _values(content: Any) -> Iterator[Any]:
    if isinstance(content, dict):
        for value in content.values():
            yield from _values(value)
    elif isinstance(content, list):
        for value in content:
            yield from _values(value)
    else:
        yield content


def digest(name: str) -> str:
    """SHA-256 of a task file and of all that `files` finds, by names as seen from the task file and by content.

    Raises:
        ConfigError: A file is missing or cannot be read.
    """
    task = Path(name)
    told = []
    for path in files(task):
        try:
            content = hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError as error:
            raise ConfigError(f"{path}, which the harness task {name} reads, cannot be read: {error.strerror}") from None
        inside = path.is_relative_to(task.parent)
        told.append([path.relative_to(task.parent).as_posix() if inside else path.name, content])
    return hashlib.sha256(json.dumps(sorted(told)).encode()).hexdigest()
