"""The files of a corpus: pages (`train.jsonl`, ...) and paragraphs aligned with English (`pairs_train.jsonl`, ...), read and written here alone."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from tokgraft import artifacts, jsonl
from tokgraft.errors import DataError

SPLITS = ("train", "dev", "test")
AGAIN = "make the corpus again, or give the folder of a corpus artifact"


@dataclass(frozen=True, slots=True)
class Paragraph:
    """One paragraph.

    Attributes:
        key: "tag:element id:ordinal", equal for the same paragraph in every language of an aligned source.
        tag: h1 to h6, or p.
        text: Its text, on one line.
        at: Its place in the source page; two paragraphs were neighbours there when their places differ by one. None: not known.
    """

    key: str
    tag: str
    text: str
    at: int | None = None

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


@dataclass(frozen=True, slots=True)
class Pair:
    """A paragraph with its English original, and the page and key that both have."""

    page: str
    key: str
    english: str
    text: str


@dataclass(frozen=True)
class About:
    """What a corpus says of its language.

    Attributes:
        slug: Slug of the language ("deu_Latn").
        name: Its English name.
        words: "space", or "none" where spaces do not separate words.
        iso639_3: Its code of three letters.
    """

    slug: str
    name: str
    words: str
    iso639_3: str


def about(corpus: Path) -> About:
    """What the manifest of a corpus artifact says of its language.

    Raises:
        ArtifactError: The folder is not a whole corpus.
    """
    settings = artifacts.expect(Path(corpus), "corpus")["settings"]
    language = settings.get("language", {})
    slug = str(settings.get("slug", Path(corpus).name))
    iso639_3 = str(language.get("iso639_3") or slug.partition("_")[0])
    return About(slug, str(language.get("name") or slug), str(language.get("words", "space")), iso639_3)


class _HasText(Protocol):
    @property
    def text(self) -> str: ...


Text = TypeVar("Text", bound=_HasText)


def pages_file(corpus: Path, split: str) -> Path:
    """The pages of a split ("train", "dev", "test") of a corpus artifact."""
    return Path(corpus) / f"{split}.jsonl"


def pairs_file(corpus: Path, split: str) -> Path:
    """The aligned paragraphs of a split of a corpus artifact; empty where its sources have no English side."""
    return Path(corpus) / f"pairs_{split}.jsonl"


def within(texts: Iterable[Text], max_bytes: int | None) -> Iterator[Text]:
    """What every budget of text means: whole pages (or pairs) from the first one on, until they have `max_bytes`; the last may go beyond.

    Args:
        texts: Pages, or pairs, of which the translation counts.
        max_bytes: Bytes of UTF-8; None: all.
    """
    total = 0
    for text in texts:
        yield text
        total += len(text.text.encode())
        if max_bytes is not None and total >= max_bytes:
            return


def pages(path: Path) -> Iterator[Page]:
    """The pages of a file.

    Raises:
        DataError: The file is missing, a line is not JSON or not a page.
    """
    for line, value in jsonl.values(path, AGAIN):
        yield _page(value, f"{path}, line {line}")


def parse_page(line: bytes, where: str) -> Page:
    """The page that one line of a file holds.

    Raises:
        DataError: It is not JSON or not a page; the message names `where`.
    """
    return _page(jsonl.parse(line, where, AGAIN), where)


def _page(value: Any, where: str) -> Page:
    rows = value.get("paragraphs") if isinstance(value, dict) and isinstance(value.get("id"), str) else None
    try:
        if isinstance(rows, list):
            return Page(value["id"], tuple(map(_paragraph, rows)))
    except (KeyError, TypeError):  # it is no object, a key is missing, or a value is no text
        pass
    raise DataError(f"{where} is not a page (an object with an id and paragraphs that have key, tag and text)", AGAIN)


def _paragraph(row: dict[str, Any]) -> Paragraph:
    key, tag, text, at = row["key"], row["tag"], row["text"], row.get("at")
    if not (isinstance(key, str) and isinstance(tag, str) and isinstance(text, str) and (at is None or type(at) is int)):
        raise TypeError
    return Paragraph(key, tag, text, at)


def pairs(path: Path) -> Iterator[Pair]:
    """The aligned paragraphs of a file.

    Raises:
        DataError: The file is missing, a line is not JSON or not a pair.
    """
    for line, value in jsonl.values(path, AGAIN):
        if not isinstance(value, dict) or not all(isinstance(value.get(key), str) for key in ("page", "key", "english", "text")):
            raise DataError(f"{path}, line {line} is not a pair (an object with page, key, english and text)", AGAIN)
        yield Pair(value["page"], value["key"], value["english"], value["text"])


def as_line(page: Page) -> bytes:
    """The line of a file that stands for a page."""
    rows = [{"key": part.key, "tag": part.tag, "text": part.text, "at": part.at} for part in page.paragraphs]
    return _line({"id": page.id, "paragraphs": rows})


def write_pages(path: Path, pages: Iterable[Page]) -> None:
    """One page a line."""
    with path.open("wb") as handle:
        handle.writelines(map(as_line, pages))


def write_rows(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """One JSON object a line, UTF-8: pairs, and what else a corpus has beside its pages."""
    with path.open("wb") as handle:
        handle.writelines(map(_line, rows))


def _line(row: dict[str, Any]) -> bytes:
    return json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
