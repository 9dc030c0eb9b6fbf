"""How much of what a tokenizer produces is language: tokens that are words (%TR) and tokens that are roots or morphemes (%Pure).

After arXiv:2502.07057, which measures Turkish with a dictionary and a morphological analyser; here for any language that has a word
list or a hunspell dictionary, and segmented words or Morfessor.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from tokgraft.errors import DataError
from tokgraft.intrinsic.counts import Counts
from tokgraft.intrinsic.inputs import Subject, lines
from tokgraft.tokenizers.morphemes import morfessor_model

Segmentations = dict[str, tuple[str, ...]]
DOTTED = {"tur", "aze", "azj", "tat", "crh", "gag"}
"""ISO 639-3 codes of languages in which the small letter of I is ı."""


def lower(text: str, iso639_3: str) -> str:
    """Lower case by the rules of the language: İ is i and I is ı in Turkish and its relatives."""
    if iso639_3 in DOTTED:
        text = text.replace("İ", "i").replace("I", "ı")
    return text.lower()


def read_words(path: Path, iso639_3: str) -> Callable[[str], bool]:
    """Whether a lower-cased string is a word of the language.

    Args:
        path: A word list (UTF-8, one word a line), or the `.dic` file of a hunspell dictionary with its `.aff` beside it.
        iso639_3: Code of the language.

    Raises:
        DataError: The file is missing, empty or not UTF-8, or hunspell is to be read and the package spylls is not installed.
    """
    path = Path(path)
    if path.suffix == ".dic":
        return _hunspell(path)
    words = {lower(line.strip(), iso639_3) for line in lines(path) if line.strip()}
    if not words:
        raise DataError(f"{path} holds no word", "give a word list with one word a line")
    return words.__contains__


def _hunspell(path: Path) -> Callable[[str], bool]:
    if not (path.is_file() and path.with_suffix(".aff").is_file()):
        raise DataError(f"{path} or its .aff file does not exist", "give the .dic file of a hunspell dictionary, with its .aff beside it")
    if importlib.util.find_spec("spylls") is None:
        raise DataError(f"{path} is a hunspell dictionary, and the package spylls is not installed",
                        "pip install spylls==0.1.7, or give a plain word list")  # fmt: skip
    from spylls.hunspell import Dictionary

    dictionary = Dictionary.from_files(str(path.with_suffix("")))
    # A noun may stand in the dictionary with a capital only.
    return lambda word: bool(dictionary.lookup(word) or dictionary.lookup(word.capitalize()))


def read_segmentations(path: Path) -> Segmentations:
    """Word -> its morphemes, from lines `word<tab>morpheme morpheme ...`.

    Raises:
        DataError: The file is missing, or a line's morphemes do not make its word.
    """
    found: Segmentations = {}
    for number, line in enumerate(lines(path), 1):
        if not line.strip():
            continue
        word, tab, rest = line.rstrip("\n").partition("\t")
        parts = tuple(rest.split())
        if not tab or "".join(parts) != word:
            raise DataError(f"{path}, line {number}: {line.strip()!r} is not a word, a tab, and the morphemes that make it up")
        found[word] = parts
    if not found:
        raise DataError(f"{path} holds no segmented word", "write one a line: word<tab>morpheme morpheme")
    return found


def morfessor(words: Mapping[str, int]) -> Segmentations:
    """Segmentations of the most frequent words by a Morfessor model of these words themselves; it is poor at words that it has not seen.

    Raises:
        TokenizerError: The package is not installed.
    """
    model, kinds = morfessor_model({word: count for word, count in words.items() if word.isalpha()})
    return {word: tuple(model.viterbi_segment(word)[0]) for word in kinds}


def word_shares(
    subject: Subject,
    counts: Counts,
    is_word: Callable[[str], bool] | None,
    morphemes: Collection[str] | None,
    iso639_3: str,
) -> dict[str, Any]:
    """%TR and %Pure over the distinct tokens that a text is made of.

    Args:
        subject: The tokenizer.
        counts: Its counts of a text of the language.
        is_word: Whether a lower-cased string is a word; None: %TR is not computed.
        morphemes: Roots and other morphemes, lower-cased; None: %Pure is not computed.
        iso639_3: Code of the language.

    Returns:
        Shares of all distinct tokens (as published), and of those made of letters.
    """
    frequencies = counts.frequencies
    kinds = [number for number in subject.vocabulary.text_ids if number < len(frequencies) and frequencies[number]]
    strings = [_plain(subject.vocabulary[number].text) for number in kinds]
    texts = [None if text is None else lower(text, iso639_3) for text in strings]
    letters = sum(text is not None for text in texts)
    found: dict[str, Any] = {"tokens": len(kinds), "of_letters": letters}
    tests: list[tuple[str, Callable[[str], bool] | None]] = [
        ("words", is_word),
        ("pure", None if morphemes is None else frozenset(morphemes).__contains__),
    ]
    for name, test in tests:
        if test is not None:
            hits = sum(text is not None and test(text) for text in texts)
            found[f"{name}_share"] = round(hits / max(len(kinds), 1), 6)
            found[f"{name}_share_of_letters"] = round(hits / max(letters, 1), 6)
    return found


def pieces_of(segmentations: Segmentations, iso639_3: str) -> frozenset[str]:
    """All morphemes of segmented words, lower-cased."""
    return frozenset(lower(part, iso639_3) for parts in segmentations.values() for part in parts)


def _plain(content: bytes) -> str | None:
    """The letters of a token without the space before them; None for whatever else it is."""
    try:
        text = content.decode().removeprefix(" ")
    except UnicodeDecodeError:
        return None
    return text if text and all(character.isalpha() or character in "'’-\u200c\u200d" for character in text) and text[0].isalpha() else None
