"""Words of a text: runs of letters, marks and digits."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

SPACELESS = r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}]"
"""Characters of scripts that are written without spaces between words. (Korean has spaces.)"""


@cache
def pattern(name: str) -> Any:
    """A compiled pattern: "run", "word" (a run; apostrophes, hyphens and joiners count inside of one), "sign" (a word, or any other
    visible character), "letter" or "spaceless".
    """
    import regex

    run = r"[\p{L}\p{M}\p{N}]+"
    word = rf"{run}(?:['’\-\u00AD\u200C\u200D]{run})*"
    forms = {
        "run": run,
        "word": word,
        "sign": rf"{word}|[^\p{{L}}\p{{M}}\p{{N}}\p{{C}}\s]",
        "letter": r"[\p{L}\p{M}]",
        "spaceless": rf"(?=[\p{{L}}\p{{M}}]){SPACELESS}",
    }
    return regex.compile(forms[name])


def words(text: str, lower: bool = True) -> list[str]:
    """The words of a text, in order."""
    found: list[str] = pattern("word").findall(text)
    return [word.lower() for word in found] if lower else found


def spaceless_share(texts: Iterable[str]) -> float:
    """Share of letters that belong to a script without spaces; 0 where there are no letters."""
    letters = spaceless = 0
    for text in texts:
        letters += len(pattern("letter").findall(text))
        spaceless += len(pattern("spaceless").findall(text))
    return spaceless / letters if letters else 0.0
