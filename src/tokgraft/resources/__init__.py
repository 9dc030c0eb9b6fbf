"""What methods ask for beside the two vocabularies: one module each, found by the registry."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

from tokgraft import artifacts
from tokgraft.errors import ArtifactError, ConfigError
from tokgraft.resources._contract import NEEDS, RESOURCES, Inputs, RegisteredResource, ResourceParams, resource

__all__ = [
    "NEEDS",
    "RESOURCES",
    "Inputs",
    "RegisteredResource",
    "ResourceParams",
    "load",
    "make",
    "module",
    "needs",
    "resource",
    "validate",
]

FACTS = "resource.json"


def needs(name: str) -> set[str]:
    """What a resource is made from."""
    return set(RESOURCES.get(name).needs)


def module(name: str) -> str:
    """Dotted name of the module of a resource."""
    return RESOURCES.get(name).params.__module__


def validate(name: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """The resolved parameters of a resource as JSON values.

    Raises:
        ConfigError: The name, a key or a value is wrong.
    """
    return RESOURCES.get(name).params.parse(dict(params), f"parameters of resource {name}").canonical()


def make(name: str, inputs: Inputs, params: Mapping[str, Any], out: Path) -> None:
    """Build a resource as the artifact `out`.

    Raises:
        ConfigError: The name or a parameter is wrong, or an input that it needs is missing.
        DataError: The inputs are too small.
    """
    entry = RESOURCES.get(name)
    settings = entry.params.parse(dict(params), f"parameters of resource {name}")
    folders = {need: getattr(inputs, need) for need in NEEDS if need in entry.needs}
    for need, folder in folders.items():
        if folder is None:
            raise ConfigError(f"resource {name} is made from {', '.join(sorted(entry.needs))}; {need} is missing", f"add --{need} DIR")
    resolved = {"resource": name, "version": entry.version, **settings.canonical()}
    with artifacts.create(out, "resource", resolved, folders, entry.libraries) as folder:
        facts = entry.build(Inputs(**folders), settings, folder)
        text = json.dumps({"resource": name, **facts}, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
        (folder / FACTS).write_text(text, encoding="utf-8")


def load(name: str, folder: Path, size: int, vocabulary: str) -> Any:
    """Read a resource for a method.

    Args:
        name: The resource.
        folder: Its artifact.
        size: Number of ids of the target vocabulary.
        vocabulary: Fingerprint of the target vocabulary.

    Raises:
        ArtifactError: The folder is no artifact, or a file of it is missing or damaged.
        ConfigError: It is another resource, or was made for another tokenizer.
    """
    manifest = artifacts.expect(folder, "resource")
    if (found := manifest["settings"].get("resource")) != name:
        raise ConfigError(f"{folder} holds {found}, not {name}", f"give --resource {name}=DIR the folder that holds {name}")
    with _reading(name, folder):
        made_for = json.loads((folder / FACTS).read_text(encoding="utf-8")).get("vocabulary")
    if made_for not in (None, vocabulary):
        raise ConfigError(
            f"{folder} was made for another tokenizer",
            f"make it for this one: tokgraft resource --name {name} --tokenizer DIR ...",
        )
    with _reading(name, folder):
        return RESOURCES.get(name).load(folder, size)


@contextmanager
def _reading(name: str, folder: Path) -> Iterator[None]:
    """Turn what a missing, cut or garbled file raises into an error that names the folder."""
    try:
        yield
    except (OSError, EOFError, ValueError, LookupError, TypeError, BadZipFile) as error:
        raise ArtifactError(
            f"the resource {name} in {folder} cannot be read ({type(error).__name__}: {str(error)[:200]})",
            f"delete the folder and make it again: tokgraft resource --name {name} ...",
        ) from error
