"""What the entries of a vocabulary are: Qtok's classes of completeness, scripts, and the languages that use them.

After Qtok (https://github.com/nup-csai/Qtok, 0.11.0), written anew: tokens are taken as bytes, so that it works for every layout, and
nothing is asked or overwritten.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from tokgraft.intrinsic.inputs import Subject
from tokgraft.vocab import Token

CLASSES = (
    "control", "byte", "character_letter", "character_other", "start_letters", "start_other", "inner_letters", "inner_other", "incomplete",
)  # fmt: skip
"""control: special tokens. byte: one byte that is no character. character_*: one character. start_*: after a space. inner_*: without one.
incomplete: bytes that end or begin in the middle of a character. `letters`: every character after the space is a letter or mark of one
script."""
MIXED, OTHER, BROKEN = "mixed", "other", "incomplete"


def token_class(token: Token) -> str:
    """Class of one token, of `CLASSES`."""
    if token.kind == "special":
        return "control"
    if token.kind == "byte" or (len(token.text) == 1 and token.text[0] > 0x7F):
        return "byte"
    try:
        text = token.text.decode()
    except UnicodeDecodeError:
        return "incomplete"
    letters = script_of(text) not in (MIXED, OTHER, BROKEN)
    if len(text) == 1:
        return "character_letter" if letters else "character_other"
    place = "start" if text.startswith(" ") else "inner"
    return f"{place}_{'letters' if letters else 'other'}"


def script_of(text: str) -> str:
    """Script of a text that is letters of one script (a space before them is passed over), else mixed, other or incomplete.

    The script is the first word of a letter's Unicode name ("LATIN", "CJK", "HANGUL"). Marks take the script of their letters.
    """
    body = text.removeprefix(" ")
    if "\ufffd" in body:
        return BROKEN
    found = {_script(character) for character in body} - {""}
    if not found or OTHER in found:
        return OTHER
    return found.pop() if len(found) == 1 else MIXED


@lru_cache(maxsize=1 << 16)
def _script(character: str) -> str:
    """Script of a letter; "" for a mark or joiner that goes with any; "other" for what is no letter."""
    category = unicodedata.category(character)
    name = unicodedata.name(character, "")
    if category.startswith("L"):
        return name.partition(" ")[0].partition("-")[0] or OTHER
    if category.startswith("M") or character in "\u200c\u200d":
        first = name.partition(" ")[0]
        return "" if first in ("COMBINING", "ZERO", "VARIATION", "") else first
    return OTHER


def completeness(subject: Subject) -> dict[str, Any]:
    """Tokens of each class and of each script, and shares of the vocabulary."""
    vocabulary = subject.vocabulary
    classes = Counter(token_class(vocabulary[number]) for number in vocabulary.ids)
    scripts = Counter(script_of(vocabulary[number].text.decode("utf-8", "replace")) for number in vocabulary.text_ids)
    total = max(len(vocabulary.ids), 1)
    return {
        "classes": {name: {"tokens": classes[name], "share": round(classes[name] / total, 6)} for name in CLASSES},
        "scripts": {name: {"tokens": often, "share": round(often / total, 6)} for name, often in sorted(scripts.items())},
    }


def languages(subject: Subject, frequencies: Mapping[str, Sequence[int]]) -> dict[str, float]:
    """Share of the vocabulary that each language uses; a token that several use is divided among them.

    Args:
        subject: The tokenizer.
        frequencies: Language -> how often each id occurs in its text.

    Returns:
        Language -> share; "none": tokens that no text uses.
    """
    users: dict[int, list[str]] = {}
    for language, counts in frequencies.items():
        for number in subject.vocabulary.text_ids:
            if number < len(counts) and counts[number]:
                users.setdefault(number, []).append(language)
    total = max(len(subject.vocabulary.text_ids), 1)
    shares = dict.fromkeys([*sorted(frequencies), "none"], 0.0)
    for number in subject.vocabulary.text_ids:
        found: Iterable[str] = users.get(number, ["none"])
        for language in found:
            shares[language] += 1 / len(users.get(number, ["none"])) / total
    return {name: round(share, 6) for name, share in shares.items()}
