"""The held-out side of a corpus artifact, as scoring sees it: test pages, test pairs, and how items are picked from them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

from tokgraft import artifacts, documents
from tokgraft.errors import DataError

T = TypeVar("T")


@dataclass(frozen=True)
class Paragraph:
    """A paragraph of a page.

    Attributes:
        key: Its name across languages.
        tag: h1, h2, ..., p, ...
        text: Its text.
        at: Its place in the page as it was before paragraphs were dropped; None when the corpus does not say.
    """

    key: str
    tag: str
    text: str
    at: int | None = None

    @property
    def bytes(self) -> int:
        """Length in UTF-8 bytes."""
        return len(self.text.encode())


@dataclass(frozen=True)
class Page:
    """A held-out page."""

    id: str
    paragraphs: tuple[Paragraph, ...]

    @property
    def module(self) -> str:
        """The part of the collection it belongs to: the first folder of its id ("" when ids have no folders)."""
        return module_of(self.id)


@dataclass(frozen=True)
class Pair:
    """A held-out paragraph with its English original."""

    page: str
    key: str
    english: str
    text: str


@dataclass(frozen=True)
class Held:
    """Held-out text of one language.

    Attributes:
        slug: Slug of the language.
        name: Its English name, as written in prompts.
        pages: Test pages in the order of the file.
        pairs: Test pairs; empty for English and for sources without alignment.
        hub_tasks: Harness tasks that the language file names.
    """

    slug: str
    name: str
    pages: tuple[Page, ...]
    pairs: tuple[Pair, ...] = ()
    hub_tasks: tuple[str, ...] = field(default=())


def module_of(page: str) -> str:
    """First folder of a page id that says anything (`text/` does not)."""
    folders = [part for part in page.split("/")[:-1] if part not in {"", ".", "text"}]
    return folders[0] if folders else ""


def read_held(folder: Path) -> Held:
    """The held-out side of a corpus artifact.

    Raises:
        ArtifactError: The folder is not a whole corpus.
        DataError: It has no test page.
    """
    folder = Path(folder)
    settings = artifacts.expect(folder, "corpus")["settings"]
    language = settings.get("language", {})
    rows = (row for row in documents.pages(folder / "test.jsonl") if row["paragraphs"])
    pages = tuple(Page(row["id"], tuple(map(_paragraph, row["paragraphs"]))) for row in rows)
    if not pages:
        raise DataError(f"{folder} has no test page", "give a larger corpus, or a larger share of test pages (splits.test)")
    path = folder / "pairs_test.jsonl"
    found = documents.pairs(path) if path.is_file() else ()
    pairs = tuple(Pair(row["page"], row["key"], row["english"], row["text"]) for row in found)
    slug = str(settings.get("slug", folder.name))
    return Held(slug, str(language.get("name") or slug), pages, pairs, tuple(language.get("hub_tasks", ())))


def _paragraph(row: dict[str, Any]) -> Paragraph:
    return Paragraph(row["key"], row["tag"], row["text"], row.get("at"))


def neighbours(page: Page) -> Iterator[tuple[Paragraph, Paragraph]]:
    """Paragraphs of a page that stood next to each other, with nothing dropped between them."""
    for first, second in pairwise(page.paragraphs):
        if first.at is None or second.at is None or second.at == first.at + 1:
            yield first, second


def rank(*names: str) -> str:
    """A pseudo-random sort key that depends on the names only: the same order on every machine and for every model."""
    return hashlib.sha256("\x1f".join(names).encode()).hexdigest()


def in_hash_order(things: Iterable[T], name: Callable[[T], str], salt: str) -> list[T]:
    """Sorted by hash, so that a prefix is a random sample and a smaller sample is part of a larger one."""
    return sorted(things, key=lambda thing: rank(salt, name(thing)))
