"""Pages from plain documents, which have neither tags nor ids."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tokgraft.documents import Page, Paragraph

_BLANK = re.compile(r"\n[ \t\r]*\n")
_SPACE = re.compile(r"\s+")
PIECE = 20_000


def document(name: str, text: str) -> Page:
    """A page whose paragraphs are the blocks between blank lines, or, where there are none, the lines."""
    text = text.replace("\r\n", "\n").strip()
    parts = _BLANK.split(text) if _BLANK.search(text) else text.split("\n")
    texts = [joined for part in parts if (joined := _SPACE.sub(" ", part).strip())]
    return Page(name, tuple(Paragraph(f"p:{number}:0", "p", line, number) for number, line in enumerate(texts)))


def pieces(page: Page) -> Iterator[Page]:
    """A long document in pieces of about 20 kB, cut between paragraphs: pages are what splits are made of, so one book must be many."""
    if page.size <= PIECE:
        yield page
        return
    start = size = number = 0
    for at, paragraph in enumerate(page.paragraphs, 1):
        size += paragraph.size
        if size >= PIECE or at == len(page.paragraphs):
            yield Page(f"{page.id}#{number:05d}", page.paragraphs[start:at])
            start, size, number = at, 0, number + 1
