"""One pass over page texts: tokens, words and their meeting points, as arrays per page."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from tokenizers import Encoding, Tokenizer

Ints = npt.NDArray[np.int64]
BATCH_BYTES = 2_000_000
"""Text that is encoded at once: with offsets an encoding takes some fifty times the room of its text."""


MOST_PER_WORD = 8


@dataclass(frozen=True)
class Text:
    """Pages with their words found once, for any number of tokenizers.

    Args:
        pages: Page texts.
        spans: Start and end of each word (code points), one array of shape (words, 2) a page.
        words: How often each word occurs, the case as it stands.
    """

    pages: Sequence[str]
    spans: Sequence[Ints]
    words: Counter[str]

    @classmethod
    def read(cls, pages: Iterable[str], words: str) -> Text:
        """Find the words of pages.

        Args:
            pages: Page texts.
            words: "space": Unicode word boundaries (UAX 29) around what holds a letter or digit; "none": user-perceived characters.
        """
        kept = list(pages)
        spans, counts = [], Counter[str]()
        for text in kept:
            found = word_spans(text, words)
            spans.append(np.array(found, dtype=np.int64).reshape(-1, 2))
            counts.update(text[start:end] for start, end in found)
        return cls(kept, spans, counts)

    @property
    def bytes(self) -> int:
        """UTF-8 bytes of all pages."""
        return sum(len(text.encode()) for text in self.pages)


@dataclass(frozen=True)
class Counts:
    """What a tokenizer makes of a text; arrays have one entry a page.

    Args:
        bytes: UTF-8 bytes.
        characters: Code points.
        tokens: Tokens, special ones neither added nor counted.
        words: Words.
        chunks: Runs of non-space characters.
        word_tokens: Tokens that touch a word, summed over words (one that spans two words counts for both).
        continued: Words that more than one token touches.
        per_word: How many words have 0, 1, 2, ... tokens, the last entry for all with more; shape (MOST_PER_WORD + 1,), all pages together.
        by_page: How often each id occurs on each page, sparse, shape (pages, ids).
    """

    bytes: Ints
    characters: Ints
    tokens: Ints
    words: Ints
    chunks: Ints
    word_tokens: Ints
    continued: Ints
    per_word: Ints
    by_page: csr_array

    @property
    def frequencies(self) -> Ints:
        """How often each id occurs."""
        return np.asarray(self.by_page.sum(axis=0), dtype=np.int64).ravel()


def word_spans(text: str, words: str) -> list[tuple[int, int]]:
    """Character spans of the words that hold a letter or digit (see `Text.read`)."""
    boundary, cluster, wordlike = _patterns()
    if words == "none":
        pieces: Iterable[tuple[int, int]] = (match.span() for match in cluster.finditer(text))
    else:
        pieces = itertools.pairwise([match.start() for match in boundary.finditer(text)])
    return [(start, end) for start, end in pieces if (end - start > 1 or text[start].isalnum()) and wordlike(text, start, end)]


@cache
def _patterns() -> tuple[Any, Any, Any]:
    import regex

    return regex.compile(r"(?wV1)\b"), regex.compile(r"\X"), regex.compile(r"[\p{L}\p{N}]").search


def count(tokenizer: Tokenizer, text: Text) -> Counts:
    """Encode every page and count."""
    from scipy.sparse import csr_array

    width = max(tokenizer.get_vocab(with_added_tokens=True).values(), default=0) + 1
    rows: list[tuple[int, ...]] = []
    ids: list[Ints] = []
    times: list[Ints] = []
    per_word = np.zeros(MOST_PER_WORD + 1, dtype=np.int64)
    for page, spans, encoding in _encoded(tokenizer, text):
        touched = _touching(encoding, spans)
        per_word += np.bincount(np.minimum(touched, MOST_PER_WORD), minlength=MOST_PER_WORD + 1)
        rows.append((
            len(page.encode()), len(page), len(encoding), len(spans), len(page.split()), int(touched.sum()), int((touched > 1).sum()),
        ))  # fmt: skip
        found, often = np.unique(np.asarray(encoding.ids, dtype=np.int64), return_counts=True)
        ids.append(found)
        times.append(often)
    table = np.array(rows, dtype=np.int64).reshape(-1, 7).T
    starts = np.concatenate([[0], np.cumsum([len(found) for found in ids])])
    by_page = csr_array((np.concatenate([*times, []]), np.concatenate([*ids, []]).astype(np.int64), starts), shape=(len(rows), width))
    return Counts(table[0], table[1], table[2], table[3], table[4], table[5], table[6], per_word, by_page)


def _encoded(tokenizer: Tokenizer, text: Text) -> Iterator[tuple[str, Ints, Encoding]]:
    start = 0
    while start < len(text.pages):
        end, size = start, 0
        while end < len(text.pages) and (end == start or size + len(text.pages[end]) <= BATCH_BYTES):
            size += len(text.pages[end])
            end += 1
        part = list(text.pages[start:end])
        yield from zip(part, text.spans[start:end], tokenizer.encode_batch(part, add_special_tokens=False))
        start = end


def _touching(encoding: Encoding, spans: Ints) -> Ints:
    """How many tokens touch each span."""
    if not len(spans) or not len(encoding):
        return np.zeros(len(spans), dtype=np.int64)
    offsets = np.fromiter(itertools.chain.from_iterable(encoding.offsets), dtype=np.int64, count=2 * len(encoding)).reshape(-1, 2)
    begun = np.searchsorted(offsets[:, 0], spans[:, 1], side="left")
    over = np.searchsorted(offsets[:, 1], spans[:, 0], side="right")
    return np.asarray(begun - over, dtype=np.int64)


def frequencies(tokenizer: Tokenizer, text: Text) -> Ints:
    """How often each id occurs in a text, special tokens not added."""
    found = np.zeros(max(tokenizer.get_vocab(with_added_tokens=True).values(), default=0) + 1, dtype=np.int64)
    for start in range(0, len(text.pages), 256):
        for encoding in tokenizer.encode_batch_fast(list(text.pages[start : start + 256]), add_special_tokens=False):
            np.add.at(found, encoding.ids, 1)
    return found


def token_counts(tokenizer: Tokenizer, texts: Sequence[str]) -> Ints:
    """Tokens of each text, special ones not added."""
    found: list[int] = []
    for start in range(0, len(texts), 4096):
        found += [len(item) for item in tokenizer.encode_batch_fast(list(texts[start : start + 4096]), add_special_tokens=False)]
    return np.array(found, dtype=np.int64)
