"""Scripts of characters, as the Unicode standard assigns them."""

from __future__ import annotations

from functools import cache
from typing import Any


@cache
def script_among(scripts: str, character: str) -> str | None:
    """Which of `scripts` (ISO 15924 codes or Unicode names, with spaces between) a character belongs to; None if to none of them."""
    found = _pattern(scripts).match(character)
    return str(found.lastgroup) if found else None


@cache
def _pattern(scripts: str) -> Any:
    import regex

    return regex.compile("|".join(rf"(?P<{name}>\p{{Script={name}}})" for name in scripts.split()))
