"""Pages and paragraphs: what a source yields, what every step takes and gives, and what the artifact's files hold."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from tokgraft import documents
from tokgraft.errors import DataError

SPLITS = ("train", "dev", "test")
_SPACE = re.compile(r"\s+")
_DIGIT = re.compile(r"\d")


@dataclass(frozen=True, slots=True)
class Paragraph:
    """One paragraph.

    Attributes:
        key: "tag:element id:ordinal", equal for the same paragraph in every language of an aligned source.
        tag: h1 to h6, or p.
        text: Its text, on one line.
        at: Its place in the source page; two paragraphs were neighbours there when their places differ by one.
    """

    key: str
    tag: str
    text: str
    at: int

    @property
    def size(self) -> int:
        """UTF-8 bytes of the text."""
        return len(self.text.encode())


@dataclass(frozen=True, slots=True)
class Page:
    """A page of help, or a document: the unit that splits are made of."""

    id: str
    paragraphs: tuple[Paragraph, ...]

    @property
    def text(self) -> str:
        """The paragraphs, one a line."""
        return "\n".join(paragraph.text for paragraph in self.paragraphs)

    @property
    def size(self) -> int:
        """UTF-8 bytes of the paragraphs, without line ends."""
        return sum(paragraph.size for paragraph in self.paragraphs)


@lru_cache(maxsize=1 << 16)
def normal(text: str) -> str:
    """The form in which two texts count as equal: NFC, lower case, squeezed white space, every digit a 0."""
    return _DIGIT.sub("0", _SPACE.sub(" ", unicodedata.normalize("NFC", text.lower()))).strip()


def digest(text: str) -> bytes:
    """SHA-256 of the normal form."""
    return hashlib.sha256(normal(text).encode()).digest()


def order(page_id: str) -> str:
    """Sort key that puts pages in a fixed random order, so that any prefix is a random sample."""
    return hashlib.sha256(page_id.encode()).hexdigest()


def in_order(pages: Iterable[Page]) -> list[Page]:
    """The pages in that order."""
    return sorted(pages, key=lambda page: order(page.id))


def write_jsonl(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """One JSON object a line, UTF-8."""
    with path.open("w", encoding="utf-8", newline="\n") as handle:
        for row in rows:
            handle.write(json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n")


def write_pages(path: Path, pages: Iterable[Page]) -> None:
    """One page a line."""
    with path.open("wb") as handle:
        for page in pages:
            handle.write(as_row(page))


def as_row(page: Page) -> bytes:
    """A page as the line that stands for it in a file."""
    row = {"id": page.id, "paragraphs": [_row(paragraph) for paragraph in page.paragraphs]}
    return json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def read_pages(path: Path) -> Iterator[Page]:
    """Pages as `write_pages` wrote them.

    Raises:
        DataError: A line is not such a page.
    """
    for row in documents.pages(path):
        try:
            yield Page(row["id"], tuple(Paragraph(**paragraph) for paragraph in row["paragraphs"]))
        except TypeError:
            raise DataError(f"{path}: page {row['id']!r} has paragraphs of another form", documents.AGAIN) from None


def _row(paragraph: Paragraph) -> dict[str, Any]:
    return {"key": paragraph.key, "tag": paragraph.tag, "text": paragraph.text, "at": paragraph.at}
