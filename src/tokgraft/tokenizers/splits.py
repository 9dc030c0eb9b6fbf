"""How text is cut into words before a model sees it: one pattern for texts with spaces, one for texts whose spaces are `▁`.

A word may take the one sign or space before it; vowel signs, accents and joiners stay inside their word (Indic scripts, Thai,
Persian); digits are cut by a scheme of their own; line ends and runs of spaces stand apart.
"""

from __future__ import annotations

from collections.abc import Iterable

from tokgraft.config.tokenizer import Digits, Spaces

JOINERS = r"\x{200C}\x{200D}"
LETTERS = rf"[\p{{L}}\p{{M}}]+(?:[{JOINERS}][\p{{L}}\p{{M}}]+)*"
DIGITS: dict[Digits, str] = {
    "none": r"\p{N}+",
    "single": r"\p{N}",
    "l2r3": r"\p{N}{1,3}",
    "r2l3": r"\p{N}{1,3}(?=(?:\p{N}{3})*(?!\p{N}))",
}
MARK = "▁"


def pattern(digits: Digits = "single", spaces: Spaces = "attached", alone: str = "", seeds: Iterable[str] = ()) -> str:
    r"""The pattern whose matches are the words of a text (Oniguruma syntax).

    Args:
        digits: How runs of digits are cut.
        spaces: "attached": a space belongs to the word behind it; "alone": runs of spaces are words of their own.
        alone: Signs that always stand alone.
        seeds: Patterns that come first.
    """
    attached = spaces == "attached"
    before = r"\r\n\p{L}\p{M}\p{N}" + ("" if attached else r"\s") + quoted_class(alone)
    signs = r"\s\p{L}\p{M}\p{N}" + quoted_class(alone)
    parts = [*seeds, *([f"[{quoted_class(alone)}]"] if alone else [])]
    parts += [f"[^{before}]?{LETTERS}", DIGITS[digits], f"{' ?' if attached else ''}[^{signs}]+[\\r\\n]*", r"\s*[\r\n]+"]
    return "|".join([*parts, *([r"\s+(?!\S)"] if attached else []), r"\s+"])


def phrase_pattern(digits: Digits = "single") -> str:
    """Words of letters with one space between them stay together; all else is cut as by `pattern`.

    Every border of `pattern` inside a phrase is before a space, so that tokens without an inner space are the same under both.
    """
    words = pattern(digits)
    return words.replace(LETTERS, f"{LETTERS}(?: {LETTERS})*", 1)


def marked_pattern(digits: Digits = "single", spaces: Spaces = "attached", seeds: Iterable[str] = ()) -> str:
    """The pattern of `pattern`, for texts in which every space is `▁`."""
    mark = f"{MARK}?" if spaces == "attached" else ""
    parts = [f"{mark}{LETTERS}", mark + DIGITS[digits], rf"{mark}[^\p{{L}}\p{{M}}\p{{N}}{MARK}\s]+"]
    runs = [rf"{MARK}+(?={MARK}[^{MARK}\s])", rf"{MARK}+"] if spaces == "attached" else [f"{MARK}+"]
    return "|".join([*seeds, *parts, *runs, r"\s+"])


def quoted_class(characters: str) -> str:
    """`characters` for the inside of a character class."""
    return "".join(f"\\x{{{ord(character):X}}}" for character in characters)
