"""Kinds of source: one module each, which registers a `SourceKind` under the name that language files use."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tokgraft.corpus.ledger import Drops
from tokgraft.documents import Page
from tokgraft.registry import Registry


@dataclass(frozen=True)
class SourceFolders:
    """Where a source may look and write.

    Attributes:
        cache: Folder that downloads are kept in.
        pins: The table of outside things with their hashes (config/sources.csv).
    """

    cache: Path
    pins: Path


@dataclass(frozen=True)
class Loaded:
    """What a source yields.

    Attributes:
        pages: Its pages, not yet cleaned.
        facts: What the data card tells of it (version, hash, licence, register); JSON values, no paths of this machine.
        aligned: Whether page ids and paragraph keys are the same in every language.
        drops: What extraction left out, by reason.
    """

    pages: list[Page]
    facts: dict[str, Any]
    aligned: bool = False
    drops: Drops = field(default_factory=Drops)


@dataclass(frozen=True)
class Part:
    """One of `count` parts of a source, numbered from 0."""

    number: int = 0
    count: int = 1


@dataclass(frozen=True)
class Streamed:
    """A part of a source, page after page.

    Attributes:
        pages: Its pages, not yet cleaned.
        facts: As of `Loaded`, of the whole source; whole only when `pages` is exhausted.
        drops: As of `Loaded`, of this part; whole only when `pages` is exhausted.
    """

    pages: Iterator[Page]
    facts: dict[str, Any]
    drops: Drops

    def load(self) -> Loaded:
        """Everything at once."""
        pages = list(self.pages)
        return Loaded(pages, self.facts, drops=self.drops)


@dataclass(frozen=True)
class SourceKind:
    """A kind of source.

    Attributes:
        check: Finds out, fast, whether the source can be read; raises a TokgraftError that says what to do.
        read: Reads it.
        stream: Reads one part of it without holding more than a document; None when the kind cannot be divided.
    """

    check: Callable[[Any, SourceFolders], None]
    read: Callable[[Any, SourceFolders], Loaded]
    stream: Callable[[Any, SourceFolders, Part], Streamed] | None = None


SOURCES: Registry[SourceKind] = Registry("source kind", "tokgraft.corpus.sources")
