"""When two texts count as equal, and the order in which pages stand."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

from tokgraft.documents import Page

_SPACE = re.compile(r"\s+")
_DIGIT = re.compile(r"\d")


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
