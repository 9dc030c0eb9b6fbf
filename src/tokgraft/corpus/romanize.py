"""Text in Latin letters, by uroman (Hermjakob, May and Knight, ACL 2018): a variant of a language for vocabularies that know no other script."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from typing import Any

from tokgraft.corpus.ledger import Drops
from tokgraft.documents import Page
from tokgraft.errors import ConfigError

_WORD = re.compile(r"\S+")


@cache
def romanizer() -> Any:
    """The one instance of uroman; raises a ConfigError where it is not installed."""
    try:
        import uroman
    except ImportError:
        raise ConfigError("`romanize` needs the package uroman", "pip install uroman==1.3.1.1 (make setup does it)") from None
    return uroman.Uroman()


@cache
def _word(word: str, code: str) -> str:
    found: str = romanizer().romanize_string(word, lcode=code)
    return found


def romanize(text: str, code: str) -> str:
    """A text of the language `code` (ISO 639-3) in Latin letters, word by word: uroman reads no word by its neighbours.

    Raises:
        ConfigError: uroman is not installed.
    """
    return text if text.isascii() else _WORD.sub(lambda found: _word(found.group(), code), text)


def romanize_pages(pages: Iterable[Page], code: str) -> tuple[list[Page], Drops]:
    """`romanize` over every paragraph; ids and keys stay, so that splits and pairs are those of the language."""
    kept, drops = [], Drops()
    for page in pages:
        latin = [(one, romanize(one.text, code).strip()) for one in page.paragraphs]
        for one, text in latin:
            if not text:
                drops.paragraph("empty", one)
        if left := tuple(replace(one, text=text) for one, text in latin if text):
            kept.append(replace(page, paragraphs=left))
        else:
            drops.pages["empty"] += 1
    return kept, drops
