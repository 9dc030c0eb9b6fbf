"""What a resource is: something a method asks for beside the two vocabularies, made once and shared by methods.

A resource is one module of this package: a class of parameters under `@resource(...)`, and beside it `build(inputs, params, folder)`, which
writes files and returns facts about them, and `load(folder, size)`, which gives methods what they need, without reading a pickle.
"""

from __future__ import annotations

import sys
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
        libraries: Distributions whose versions its content depends on.
    """

    name: str
    version: int
    needs: frozenset[str]
    params: type[ResourceParams]
    libraries: tuple[str, ...] = ()

    def build(self, inputs: Inputs, params: ResourceParams, folder: Path) -> Mapping[str, Any]:
        """Write the resource's files into `folder`; returns facts about them (JSON values)."""
        found: Mapping[str, Any] = self._function("build")(inputs, params, folder)
        return found

    def load(self, folder: Path, size: int) -> Any:
        """Read it for a target vocabulary of `size` ids."""
        return self._function("load")(folder, size)

    def _function(self, name: str) -> Callable[..., Any]:
        found: Callable[..., Any] | None = getattr(sys.modules[self.params.__module__], name, None)
        if found is None:
            raise TypeError(f"{self.params.__module__} registers {self.name!r} but has no function {name}")
        return found


RESOURCES: Registry[RegisteredResource] = Registry("resource", "tokgraft.resources")

P = TypeVar("P", bound=type[ResourceParams])


def resource(name: str, *, version: int, needs: Iterable[str], libraries: Iterable[str] = ()) -> Callable[[P], P]:
    """Register the decorated `ResourceParams` class as a resource; `build` and `load` stand beside it in its module."""
    unknown = set(needs) - set(NEEDS)
    if unknown:
        raise ValueError(f"resource {name}: needs {sorted(unknown)}, known are {NEEDS}")

    def register(params: P) -> P:
        RESOURCES.add(name, RegisteredResource(name, version, frozenset(needs), params, tuple(libraries)))
        return params

    return register
