"""The held-out side of a corpus artifact, as scoring sees it: test pages, test pairs, and how items are picked from them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

from tokgraft import documents
from tokgraft.documents import Page, Pair, Paragraph
from tokgraft.errors import DataError

T = TypeVar("T")


@dataclass(frozen=True)
class Held:
    """Held-out text of one language.

    Attributes:
        slug: Slug of the language.
        name: Its English name, as written in prompts.
        pages: Test pages in the order of the file.
        pairs: Test pairs; empty for English and for sources without alignment.
    """

    slug: str
    name: str
    pages: tuple[Page, ...]
    pairs: tuple[Pair, ...] = ()


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
    about = documents.about(folder)
    pages = tuple(page for page in documents.pages(documents.pages_file(folder, "test")) if page.paragraphs)
    if not pages:
        raise DataError(f"{folder} has no test page", "give a larger corpus, or a larger share of test pages (splits.test)")
    path = documents.pairs_file(folder, "test")
    pairs = tuple(documents.pairs(path)) if path.is_file() else ()
    return Held(about.slug, about.name, pages, pairs)


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
