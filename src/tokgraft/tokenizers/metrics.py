"""What a tokenizer makes of text: bytes per token, fertility, continued words, premium against English. Sums over sums."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer


@dataclass(frozen=True)
class Measured:
    """Sums over pages.

    Args:
        pages: Number of pages.
        bytes: UTF-8 bytes, per page.
        tokens: Tokens without special ones, per page.
        characters: Code points in all.
        words: Words in all.
        word_tokens: Tokens that touch a word, summed over words (one that spans two words counts for both).
        continued: Words that more than one token touches.
        used: Distinct ids.
    """

    pages: int
    bytes: list[int]
    tokens: list[int]
    characters: int
    words: int
    word_tokens: int
    continued: int
    used: int

    def ratios(self, size: int) -> dict[str, Any]:
        """The metrics, for a vocabulary of `size` tokens."""
        byte_count, token_count = sum(self.bytes), sum(self.tokens)
        return {
            "pages": self.pages,
            "bytes": byte_count,
            "tokens": token_count,
            "words": self.words,
            "bytes_per_token": _ratio(byte_count, token_count),
            "bytes_per_token_interval": _interval(self.bytes, self.tokens),
            "characters_per_token": _ratio(self.characters, token_count),
            "tokens_per_byte": _ratio(token_count, byte_count),
            "fertility": _ratio(self.word_tokens, self.words),
            "continued_words": _ratio(self.continued, self.words),
            "vocabulary_used": _ratio(self.used, size),
        }


def word_spans(text: str, words: str) -> list[tuple[int, int]]:
    """Character spans of words that hold a letter or digit.

    Args:
        text: Any text.
        words: "space": Unicode word boundaries (UAX 29); "none": user-perceived characters stand for words.
    """
    import regex

    if words == "none":
        pieces: Iterable[tuple[int, int]] = (match.span() for match in regex.finditer(r"\X", text))
    else:
        breaks = [match.start() for match in regex.finditer(r"(?wV1)\b", text)]
        pieces = itertools.pairwise(breaks)
    wordlike = regex.compile(r"[\p{L}\p{N}]")
    return [(start, end) for start, end in pieces if wordlike.search(text, start, end)]


def measure(tokenizer: Tokenizer, pages: Sequence[str], words: str) -> Measured:
    """Encode pages and count.

    Args:
        tokenizer: The tokenizer.
        pages: Page texts.
        words: As in `word_spans`.
    """
    sizes, tokens, used = [], [], set()
    word_count = word_tokens = continued = characters = 0
    for start in range(0, len(pages), 256):
        part = list(pages[start : start + 256])
        for text, encoding in zip(part, tokenizer.encode_batch(part, add_special_tokens=False)):
            sizes.append(len(text.encode()))
            tokens.append(len(encoding.ids))
            characters += len(text)
            used.update(encoding.ids)
            touched = _touching(encoding, word_spans(text, words))
            word_count += len(touched)
            word_tokens += sum(touched)
            continued += sum(count > 1 for count in touched)
    return Measured(len(pages), sizes, tokens, characters, word_count, word_tokens, continued, len(used))


def _touching(encoding: Encoding, spans: Sequence[tuple[int, int]]) -> list[int]:
    """How many tokens touch each span."""
    import numpy as np

    if not spans or not encoding.ids:
        return [0] * len(spans)
    offsets, borders = np.asarray(encoding.offsets), np.asarray(spans)
    begun = np.searchsorted(offsets[:, 0], borders[:, 1], side="left")
    over = np.searchsorted(offsets[:, 1], borders[:, 0], side="right")
    counts: list[int] = (begun - over).tolist()
    return counts


def premium(tokenizer: Tokenizer, pairs: Sequence[tuple[str, str]]) -> dict[str, Any] | None:
    """How much more a language costs than English on the same content; 1 is parity. None without pairs.

    Args:
        tokenizer: Encodes both sides.
        pairs: (English, translation).
    """
    if not pairs:
        return None
    english, target = ([pair[side] for pair in pairs] for side in (0, 1))
    counts = [sum(len(item.ids) for item in tokenizer.encode_batch_fast(side, add_special_tokens=False)) for side in (english, target)]
    sizes = [sum(len(text.encode()) for text in side) for side in (english, target)]
    tokens, byte = _ratio(counts[1], counts[0]), _ratio(sizes[1], sizes[0])
    return {
        "pairs": len(pairs),
        "tokens_english": counts[0],
        "tokens_target": counts[1],
        "premium": tokens,
        "byte_premium": byte,
        "premium_per_byte_premium": _ratio(tokens, byte),
    }


def identical_share(one: Tokenizer, other: Tokenizer, texts: Sequence[str]) -> float:
    """Share of texts that two tokenizers of one form split into the same tokens, whatever their ids."""
    if not texts:
        return 1.0
    # Not `encode_batch_fast`, which leaves the strings of the tokens empty: only their number would be compared.
    split = [[item.tokens for item in tokenizer.encode_batch(list(texts), add_special_tokens=False)] for tokenizer in (one, other)]
    return _ratio(sum(left == right for left, right in zip(*split)), len(texts))


def _ratio(numerator: float, denominator: float) -> float:
    return round(numerator / denominator, 6) if denominator else 0.0


def _interval(numerators: Sequence[int], denominators: Sequence[int]) -> list[float]:
    """95 % interval of the ratio of sums over pages; empty for fewer than two with a denominator."""
    from tokgraft.intervals import ratio_bounds

    pairs = [(above, below) for above, below in zip(numerators, denominators, strict=True) if below]
    return [round(bound, 6) for bound in ratio_bounds(*zip(*pairs))] if len(pairs) > 1 else []
