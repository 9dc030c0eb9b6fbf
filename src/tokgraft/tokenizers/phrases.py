"""Let a base's pre-tokenizer keep phrases whole: words of letters with single spaces between them.

A base's tokens have no space inside, and its pre-tokenizer cuts phrases before spaces only; so exchanging it changes no segmentation, and
merges that are learned afterwards may cross spaces.
"""

from __future__ import annotations

import json
from typing import Any

from tokgraft.token_strings import Layout
from tokgraft.tokenizers import splits
from tokgraft.tokenizers.base import to_tokenizer

LETTERS = (splits.LETTERS, r"[\p{L}\p{M}]+", r"\p{L}+")  # how known patterns write a word of letters, longest first
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
MARKED = r"▁?[\p{L}\p{M}]+(?:▁[\p{L}\p{M}]+)*|▁?\p{N}|▁?[^\p{L}\p{M}\p{N}▁\s]+|▁+(?=▁)|▁|\s+"
"""Phrases for training where there is no pre-tokenizer and spaces are `▁`."""


def with_phrases(spec: dict[str, Any], kind: Layout) -> dict[str, Any] | None:
    """The tokenizer with phrases kept whole; None where its pre-tokenizer is not one that this can be done for.

    Known are: none at all (SentencePiece's form), the pattern of GPT-2, and patterns with one of `LETTERS`.
    """
    section = spec.get("pre_tokenizer")
    if section is None:
        return spec if kind.scheme == "sentencepiece" else None
    parts = section["pretokenizers"] if section["type"] == "Sequence" else [section]
    changed, done = [], False
    for part in parts:
        if part["type"] == "ByteLevel" and part.get("use_regex", True):
            changed += [_split(_joined(GPT2)), {**part, "use_regex": False}]
            done = True
        elif part["type"] == "Split" and any(letters in part["pattern"].get("Regex", "") for letters in LETTERS):
            changed.append({**part, "pattern": {"Regex": _joined(part["pattern"]["Regex"])}})
            done = True
        else:
            changed.append(part)
    if not done or kind.scheme != "byte_level":
        return None
    tokenizer = to_tokenizer({**spec, "pre_tokenizer": {"type": "Sequence", "pretokenizers": changed}})
    return dict(json.loads(tokenizer.to_str()))


def _joined(pattern: str) -> str:
    letters = next(letters for letters in LETTERS if letters in pattern)
    return pattern.replace(letters, f"{letters}(?: {letters})*", 1)


def _split(pattern: str) -> dict[str, Any]:
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
