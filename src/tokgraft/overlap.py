"""Which token of a source vocabulary each token of a target vocabulary is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from tokgraft.vocab import Token, Vocabulary

Level = Literal["exact", "bytes", "role", "string", "substitute"]

SUBSTITUTES = {
    "bos": ("cls", "eos"),
    "cls": ("bos", "eos"),
    "eos": ("sep", "bos"),
    "sep": ("eos", "bos"),
    "pad": ("eos", "sep"),
    "mask": ("unk", "pad"),
    "unk": ("pad",),
}
"""Which role stands in for one that the source lacks."""


@dataclass(frozen=True, slots=True)
class Match:
    """The source token that a target token is.

    Attributes:
        source: Id in the source vocabulary.
        level: "exact" (bytes and kind), "bytes", or for special tokens "role", "string" (no role in common, the same string),
            "substitute" (another role stands in). "string" is also an added token that is special in one vocabulary only.
    """

    source: int
    level: Level


def overlap(source: Vocabulary, target: Vocabulary) -> dict[int, Match]:
    """Target id -> the same token of the source, for every target token that the source has, by ascending id.

    Text tokens match by bytes. Among several source tokens with the same bytes the first of these wins: equal kind, the one that its
    tokenizer writes in that place (`Token.fits`), equal string, lowest id. A token that is a word with and without a space before it
    (`Token.free`) is looked for without the space first. Special tokens match by role, then by string, then by a substitute role
    (`SUBSTITUTES`). Added tokens match by string, also where they are special in one vocabulary only; no other text meets a special token.
    """
    by_text, of_source = _ids_by_text(source), source.tokens
    special = {source[number].text: number for number in source.special_ids}
    strings = {
        token.text: number for number, token in enumerate(source.tokens) if token and token.added and token.kind != "special"
    } | special
    found: dict[int, Match] = {}
    for number, token in enumerate(target.tokens):
        if token is None:
            continue
        if token.kind == "special":
            match = _match_special(token, source, strings if token.added else special)
        elif not token.free and type(best := by_text.get(token.text)) is int:  # nearly all tokens, so without a call
            match = Match(best, "exact" if of_source[best].kind == token.kind else "bytes")  # type: ignore[union-attr]
        else:
            match = _match_text(token, source, by_text)
            if match is None and token.added and (same := special.get(token.text)) is not None and source[same].added:
                match = Match(same, "string")
        if match is not None:
            found[number] = match
    return found


def shared_sources(matches: Mapping[int, Match], source: Vocabulary, target: Vocabulary) -> dict[int, int]:
    """Target id -> id of the target token that it shares its source token with, for each special token that is not the source's own.

    A source with one `<|endoftext|>` gives it to `<s>`, `</s>` and `<pad>` of the target. One of them is what it was: the one that ends a
    text where the source token does, else the one with the same string, the best level, the lowest id. The others stand in for it.
    """
    several: dict[int, list[int]] = {}
    for number in target.special_ids:
        if (match := matches.get(number)) is not None:
            several.setdefault(match.source, []).append(number)
    found: dict[int, int] = {}
    for origin, numbers in several.items():
        if len(numbers) < 2:
            continue
        ends = not {"eos", "sep"}.isdisjoint(source[origin].roles)

        def rank(number: int, ends: bool = ends, text: bytes = source[origin].text) -> tuple[bool, bool, bool, int]:
            token = target[number]
            return not (ends and "eos" in token.roles), token.text != text, matches[number].level == "substitute", number

        own = min(numbers, key=rank)
        found |= {number: own for number in numbers if number != own}
    return dict(sorted(found.items()))


def _ids_by_text(vocabulary: Vocabulary) -> dict[bytes, int | list[int]]:
    """Bytes -> the id of the text token that stands for them; ascending ids, where there are several."""
    texts = [token.text for token in vocabulary.tokens if token is not None and token.kind != "special"]  # in the order of text_ids
    found: dict[bytes, int | list[int]] = dict(zip(texts, vocabulary.text_ids))
    if len(found) < len(texts):
        several = {text for text, count in Counter(texts).items() if count > 1}
        found |= {text: [] for text in several}
        for text, number in zip(texts, vocabulary.text_ids):
            if isinstance(ids := found[text], list):
                ids.append(number)
    for number, token in enumerate(vocabulary.tokens):
        if token is not None and token.free:
            there = found.get(text := token.text.removeprefix(b" "), [])
            found[text] = sorted({number, *(there if isinstance(there, list) else [there])})
    return found


def _match_text(token: Token, source: Vocabulary, by_text: dict[bytes, int | list[int]]) -> Match | None:
    best = by_text.get(token.text.removeprefix(b" ")) if token.free else None
    if best is None:
        best = by_text.get(token.text)
    if best is None:
        return None
    if isinstance(best, list):
        best = min(best, key=lambda number: _distance(token, source[number], number))
    return Match(best, "exact" if source[best].kind == token.kind else "bytes")


def _distance(token: Token, candidate: Token, number: int) -> tuple[bool, bool, bool, int]:
    return candidate.kind != token.kind, candidate.fits != token.fits, candidate.surface != token.surface, number


def _match_special(token: Token, source: Vocabulary, by_string: Mapping[bytes, int]) -> Match | None:
    candidates = [source.roles[role] for role in token.roles if role in source.roles]
    if candidates:
        same = [number for number in candidates if source[number].text == token.text]
        return Match((same or candidates)[0], "role")
    if token.text in by_string:
        return Match(by_string[token.text], "string")
    for role in token.roles:
        for other in SUBSTITUTES[role]:
            if other in source.roles:
                return Match(source.roles[other], "substitute")
    return None
