"""What a resource is: something a method asks for beside the two vocabularies, made once and shared by methods.

A resource is one module of this package: a class of parameters, `load(folder, size)`, which gives methods what they need, and under
`@resource(...)` `build(inputs, params, folder)`, which writes files and returns facts about them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from tokgraft.config.base import ConfigFile
from tokgraft.registry import Registry

NEEDS = ("corpus", "english", "tokenizer", "base")


class ResourceParams(ConfigFile):
    """Parameters of a resource: typed, described, defaulted; unknown ones are errors."""

    kind = "resource"


@dataclass(frozen=True)
class Inputs:
    """What a resource is made from; what it did not declare in `needs` is None.

    Attributes:
        corpus: Corpus artifact of the language.
        english: The English corpus artifact.
        tokenizer: Tokenizer folder.
        base: Base model folder.
    """

    corpus: Path | None = None
    english: Path | None = None
    tokenizer: Path | None = None
    base: Path | None = None


@dataclass(frozen=True)
class RegisteredResource:
    """A registered resource.

    Attributes:
        name: Its name.
        version: Raised when its content changes.
        needs: What it is made from, a subset of `NEEDS`.
        params: Class of its parameters.
        build: build(inputs, params, folder) writes the resource's files into `folder`, and returns facts about them (JSON values).
        load: load(folder, size) reads it for a target vocabulary of `size` ids, without reading a pickle.
        libraries: Distributions whose versions its content depends on.
    """

    name: str
    version: int
    needs: frozenset[str]
    params: type[ResourceParams]
    build: Callable[..., Mapping[str, Any]]
    load: Callable[[Path, int], Any]
    libraries: tuple[str, ...] = ()


RESOURCES: Registry[RegisteredResource] = Registry("resource", "tokgraft.resources")

B = TypeVar("B", bound=Callable[..., Mapping[str, Any]])


def resource(
    name: str,
    params: type[ResourceParams],
    *,
    load: Callable[[Path, int], Any],
    version: int,
    needs: Iterable[str],
    libraries: Iterable[str] = (),
) -> Callable[[B], B]:
    """Register the decorated `build(inputs, params, folder)` as what makes a resource. The arguments are the attributes of `RegisteredResource`."""
    unknown = set(needs) - set(NEEDS)
    if unknown:
        raise ValueError(f"resource {name}: needs {sorted(unknown)}, known are {NEEDS}")

    def register(build: B) -> B:
        RESOURCES.add(name, RegisteredResource(name, version, frozenset(needs), params, build, load, tuple(libraries)))
        return build

    return register
