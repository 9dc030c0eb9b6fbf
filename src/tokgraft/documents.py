"""The one reader of a corpus' files: pages (`train.jsonl`, ...) and aligned paragraphs (`pairs_train.jsonl`, ...)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tokgraft import jsonl
from tokgraft.errors import DataError

AGAIN = "make the corpus again, or give the folder of a corpus artifact"


def pages(path: Path) -> Iterator[dict[str, Any]]:
    """The pages of a file: {"id", "paragraphs": [{"key", "tag", "text", "at"}, ...]}.

    Raises:
        DataError: The file is missing, a line is not JSON or not a page.
    """
    for line, value in jsonl.values(path, AGAIN):
        yield page(value, f"{path}, line {line}")


def page(value: Any, where: str) -> dict[str, Any]:
    """`value`, once it is known to be a page with an id and texts.

    Raises:
        DataError: It is something else; the message names `where`.
    """
    paragraphs = value.get("paragraphs") if isinstance(value, dict) and isinstance(value.get("id"), str) else None
    if not isinstance(paragraphs, list) or not all(
        isinstance(part, dict) and all(isinstance(part.get(key), str) for key in ("key", "tag", "text")) for part in paragraphs
    ):
        raise DataError(f"{where} is not a page (an object with an id and paragraphs that have key, tag and text)", AGAIN)
    found: dict[str, Any] = value
    return found


def text_of(page: dict[str, Any]) -> str:
    """The text of a page: its paragraphs joined by line ends."""
    return "\n".join(paragraph["text"] for paragraph in page["paragraphs"])


def pairs(path: Path) -> Iterator[dict[str, str]]:
    """The aligned paragraphs of a file: {"page", "key", "english", "text"}.

    Raises:
        DataError: The file is missing, a line is not JSON or not a pair.
    """
    for line, value in jsonl.values(path, AGAIN):
        if not isinstance(value, dict) or not all(isinstance(value.get(key), str) for key in ("page", "key", "english", "text")):
            raise DataError(f"{path}, line {line} is not a pair (an object with page, key, english and text)", AGAIN)
        yield value
