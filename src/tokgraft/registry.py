"""One registry for everything that is added by writing one file (methods, trainers, sources, resources, tasks)."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from tokgraft.errors import unknown

T = TypeVar("T")


class Registry(Generic[T]):
    """Named things of one kind, each registered by the sub-module of a package that has its name.

    A thing that is asked for by name costs the import of its own module only. Modules whose name starts with an underscore hold shared parts.

    Args:
        kind: What the things are called in messages ("method").
        package: Dotted name of the package whose modules register them.
    """

    def __init__(self, kind: str, package: str) -> None:
        self.kind = kind
        self.package = package
        self._things: dict[str, T] = {}
        self._discovered = False

    def add(self, name: str, thing: T) -> T:
        """Register `thing` under `name`.

        Raises:
            ValueError: Another module has registered the same name.
        """
        if name in self._things:
            raise ValueError(f"two {self.kind}s are called {name!r}")
        self._things[name] = thing
        return thing

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator form of `add`."""
        return lambda thing: self.add(name, thing)

    def get(self, name: str, where: str = "") -> T:
        """The thing called `name`.

        Raises:
            ConfigError: There is none; the message lists near matches.
        """
        if name not in self:
            raise unknown(self.kind, name, self.names(), where)
        return self._things[name]

    def demand(self, name: str, where: str = "") -> None:
        """See that a module registers `name`, without importing it.

        Raises:
            ConfigError: None does; the message lists near matches.
        """
        if not self._is_module(name):
            raise unknown(self.kind, name, self._modules(), where)

    def __contains__(self, name: str) -> bool:
        """Whether there is a thing called `name`."""
        if name not in self._things and not self._discovered and self._is_module(name):
            importlib.import_module(self.module(name))
        return name in self._things

    def module(self, name: str) -> str:
        """Dotted name of the module that registers `name`."""
        return f"{self.package}.{name}"

    def _is_module(self, name: str) -> bool:
        return name.isidentifier() and not name.startswith("_") and importlib.util.find_spec(self.module(name)) is not None

    def names(self) -> list[str]:
        """All names, sorted."""
        self._discover()
        return sorted(self._things)

    def items(self) -> Iterator[tuple[str, T]]:
        """All (name, thing), sorted by name."""
        for name in self.names():
            yield name, self._things[name]

    def _discover(self) -> None:
        if self._discovered:
            return
        self._discovered = True
        for name in self._modules():
            importlib.import_module(self.module(name))

    def _modules(self) -> list[str]:
        package = importlib.import_module(self.package)
        return [module.name for module in pkgutil.iter_modules(package.__path__) if not module.name.startswith("_")]
