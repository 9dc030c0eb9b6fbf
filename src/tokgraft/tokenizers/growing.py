"""New tokens for a tokenizer that exists: continued merges for BPE, pieces on the same scale for Unigram.

Byte-level and character-level BPE split text by their own pre-tokenizer. SentencePiece-style models often have none (the whole text is
one word), so that merges would cross spaces; for training, their text is split before each `▁` and between letters, digits and
signs, as SentencePiece itself does. Characters they lack are added first, as single pieces; nothing is learned from `<0xNN>` pieces.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import log as ln
from typing import TYPE_CHECKING, Any

from tokgraft.logs import Heartbeat, log
from tokgraft.token_strings import BYTE_TOKEN, Layout, vocabulary_of
from tokgraft.tokenizers import pieces as unigram
from tokgraft.tokenizers.base import Base, to_tokenizer
from tokgraft.tokenizers.continued import Merges, continue_merges

if TYPE_CHECKING:
    from tokenizers import Tokenizer

PIECES = r"▁?[\p{L}\p{M}]+|▁?\p{N}|▁?[^\p{L}\p{M}\p{N}▁\s]+|▁+(?=▁)|▁|\s+"
SHARE = 0.5  # of the text that an extended Unigram model is for is the new language
Spec = dict[str, Any]


@dataclass(frozen=True)
class Growth:
    """How far to grow.

    Args:
        new_tokens: How many tokens to add.
        min_frequency: A pair must have been seen this often.
        max_bytes: Longest token, in bytes.
        coverage: Share of the text's characters that a Unigram model gets pieces for.
        words: Cuts one text into words; None: as the tokenizer itself (and SentencePiece) does.
        allowed: What may become a token, beside the tokenizer's own rules; None: anything.
    """

    new_tokens: int
    min_frequency: int = 2
    max_bytes: int = 64
    coverage: float = 0.9995
    words: Callable[[str], list[str]] | None = None
    allowed: Callable[[str], bool] | None = None


def refusal(base: Base) -> str:
    """Why a tokenizer cannot be grown; empty if it can."""
    model = base.kind.model
    if model["type"] not in ("BPE", "Unigram"):
        return f"it is a {model['type']} model, which has no merges to continue (longest match would re-split old words)"
    if model["type"] == "BPE" and model.get("continuing_subword_prefix"):
        return "its merges work on pieces that are marked inside words, which continued merges do not support"
    return ""


def grow(spec: Spec, kind: Layout, texts: Sequence[str], growth: Growth) -> tuple[Spec, list[str]]:
    """A tokenizer with more tokens.

    Args:
        spec: Parsed `tokenizer.json`; not altered.
        kind: Its layout.
        texts: What is learned from.
        growth: How far.

    Returns:
        The new `tokenizer.json`, in which old tokens have their old ids and new ones follow the highest, and the new tokens in the
        order of their ids; fewer than asked for when the texts do not support so many.
    """
    return (_grow_unigram if spec["model"]["type"] == "Unigram" else _grow_bpe)(spec, kind, texts, growth)


def folded(spec: Spec) -> Spec:
    """A copy whose model vocabulary holds every token at its id (one outside it would be renumbered on loading).

    Ids without a token get one that no text has where the vocabulary is a list (Unigram).
    """
    tokens, vocabulary = vocabulary_of(spec), spec["model"]["vocab"]
    if isinstance(vocabulary, dict):
        vocabulary = dict(sorted(tokens.items(), key=lambda item: item[1]))
    else:
        names = {number: token for token, number in tokens.items()}
        behind = range(len(vocabulary), max(names) + 1)
        vocabulary = [*vocabulary, *([names.get(number, f"\ufdd0{number}"), 0.0] for number in behind)]
    return {**spec, "model": {**spec["model"], "vocab": vocabulary}}


def with_added_tokens(spec: Spec, names: Sequence[str], special: bool) -> Tokenizer:
    """The tokenizer with added tokens whose ids follow the highest one.

    The library would number them from the count of the tokens on: in a vocabulary whose ids have holes these ids are taken.
    """
    from tokenizers import AddedToken

    tokens = vocabulary_of(spec)
    if (first := max(tokens.values()) + 1) > len(tokens):
        spec = folded(spec)
        vocabulary = spec["model"]["vocab"]
        more = {name: number for number, name in enumerate(names, first)}
        grown = {**vocabulary, **more} if isinstance(vocabulary, dict) else [*vocabulary, *([name, 0.0] for name in more)]
        spec = {**spec, "model": {**spec["model"], "vocab": grown}}
    tokenizer = to_tokenizer(spec)
    entries = [AddedToken(name, normalized=False, special=special) for name in names]
    if special:
        tokenizer.add_special_tokens(entries)
    else:
        tokenizer.add_tokens(entries)
    return tokenizer


def merge_pairs(spec: Spec) -> list[list[str]]:
    """The merges of a BPE tokenizer, in rank order."""
    return [list(merge) for merge in spec["model"]["merges"]]


def merge_table(spec: Spec) -> Merges:
    """Pair of ids -> (rank, id of the product)."""
    vocabulary = spec["model"]["vocab"]
    return {(vocabulary[left], vocabulary[right]): (rank, vocabulary[left + right]) for rank, (left, right) in enumerate(merge_pairs(spec))}


def cutter(tokenizer: Tokenizer, kind: Layout, pieces: str = PIECES) -> Callable[[str], list[str]]:
    """Cuts one text into words: the tokenizer's normaliser and pre-tokenizer, and for SentencePiece's form what it lacks."""
    import regex

    split = regex.compile(pieces.replace("▁", kind.marker)).findall if kind.scheme == "sentencepiece" else None
    normalizer, pre_tokenizer = tokenizer.normalizer, tokenizer.pre_tokenizer

    def cut(text: str) -> list[str]:
        normal = normalizer.normalize_str(text) if normalizer else text
        parts = [part for part, _ in pre_tokenizer.pre_tokenize_str(normal)] if pre_tokenizer else [normal]
        return parts if split is None else [piece for part in parts for piece in split(part)]

    return cut


def _grow_bpe(spec: Spec, kind: Layout, texts: Iterable[str], growth: Growth) -> tuple[Spec, list[str]]:
    spec = folded(spec)
    cut = growth.words or cutter(to_tokenizer(spec), kind)
    words: Counter[str] = Counter()
    for text in texts:
        words.update(cut(text))
    characters = _missing_characters(words, spec, growth)
    first = max(spec["model"]["vocab"].values()) + 1
    spec["model"]["vocab"].update((character, first + place) for place, character in enumerate(characters))
    wanted = growth.new_tokens - len(characters)
    learned = continue_merges(
        words=segmented(words, to_tokenizer(spec, merges_only=True)),
        vocabulary=spec["model"]["vocab"],
        merges=merge_table(spec),
        new_tokens=wanted,
        next_id=first + len(characters),
        allowed=_allowed(spec, kind, growth),
        barred=barred(spec, kind),
        min_frequency=growth.min_frequency,
        beat=Heartbeat("continued BPE", wanted, "tokens").beat,
    )
    log.info(
        "continued BPE: %d characters, %d merges, %d of them second routes to old tokens; the last pair was seen %d times",
        len(characters), len(learned.merges), len(learned.merges) - len(learned.tokens), learned.frequency,
    )  # fmt: skip
    new = [*characters, *learned.tokens]
    spec["model"]["vocab"].update((token, first + place) for place, token in enumerate(new))
    spec["model"]["merges"] = [*merge_pairs(spec), *(list(merge) for merge in learned.merges)]
    return spec, new


def _missing_characters(words: Counter[str], spec: Spec, growth: Growth) -> list[str]:
    """Characters (byte-level: bytes) that the vocabulary lacks, most frequent first; at most half of the new tokens.

    Even byte-level vocabularies may lack bytes that their training text never showed.
    """
    counts: Counter[str] = Counter()
    for word, count in words.items():
        for character in word:
            counts[character] += count
    vocabulary = spec["model"]["vocab"]
    missing = [(-count, char) for char, count in counts.items() if char not in vocabulary and count >= growth.min_frequency]
    return [char for _, char in sorted(missing)][: growth.new_tokens // 2]


def segmented(words: Counter[str], tokenizer: Tokenizer) -> dict[tuple[int, ...], int]:
    """Each word's segmentation by the base model. Words that the model drops a character of (no unknown token) are left out."""
    model = tokenizer.model
    found: Counter[tuple[int, ...]] = Counter()
    for word, count in words.items():
        tokens = model.tokenize(word)
        if tokens and tokens[-1].offsets[1] == len(word.encode()):
            found[tuple(token.id for token in tokens)] += count
    return dict(found)


def barred(spec: Spec, kind: Layout) -> frozenset[int]:
    """Ids that no new merge may touch: added tokens, the unknown token, single-byte pieces."""
    vocabulary = spec["model"]["vocab"]
    barred = {token["id"] for token in spec["added_tokens"] if token["special"]}
    barred |= {vocabulary[token] for token in (spec["model"].get("unk_token"),) if token in vocabulary}
    if kind.byte_fallback or kind.scheme == "sentencepiece":
        barred |= {index for token, index in vocabulary.items() if BYTE_TOKEN.match(token)}
    return frozenset(barred)


def _allowed(spec: Spec, kind: Layout, growth: Growth) -> Callable[[str], bool]:
    """Which strings may become tokens.

    Not: added tokens (they are matched before the model runs), overlong ones, ones with a space mark inside, and several digits
    together where the base keeps digits single.
    """
    added = {token["content"] for token in spec["added_tokens"]}
    several_digits = re.compile(r"\d.*\d")
    texts = (token for token in vocabulary_of(spec) if token not in added and not BYTE_TOKEN.match(token))
    single_digits = kind.scheme != "byte_level" and not any(map(several_digits.search, texts))
    spaced = kind.scheme == "sentencepiece"
    more = growth.allowed or (lambda token: True)

    def allowed(token: str) -> bool:
        size = len(token) if kind.scheme == "byte_level" else len(token.replace(kind.marker, " ").encode() if spaced else token.encode())
        return (
            token not in added
            and size <= growth.max_bytes
            and not (spaced and kind.marker in token[1:])
            and not (single_digits and several_digits.search(token))
            and more(token)
        )

    return allowed


def _grow_unigram(spec: Spec, kind: Layout, texts: Sequence[str], growth: Growth) -> tuple[Spec, list[str]]:
    """Pieces of a Unigram model of the new language, weighed as half of a mixture with the old one.

    Old log-probabilities stay, so that old segmentations rank among each other as before; a new piece has log(SHARE · p) and
    is taken only if its own string leads to it and no old piece is lost by it.
    """
    old = [(piece, float(score)) for piece, score in spec["model"]["vocab"]]
    known = {piece for piece, _ in old} | {token["content"] for token in spec["added_tokens"]}
    cut = growth.words or cutter(to_tokenizer(spec), kind)
    allowed = _allowed(spec, kind, growth)
    words = [[word for word in cut(text) if word and not word.isspace()] for text in texts]
    new: list[tuple[str, float]] = []
    size = 2 * growth.new_tokens
    while len(new) < growth.new_tokens:
        try:
            fitted = unigram.fit(words, size, growth.coverage)
        except unigram.TooMany as error:
            if size <= error.most:
                break
            fitted, size = unigram.fit(words, error.most, growth.coverage), error.most
        candidates = [(piece, score + ln(SHARE)) for piece, score in fitted if piece not in known and allowed(piece)]
        new = _harmless(old, spec["model"].get("unk_id"), candidates)
        if size < 2 * growth.new_tokens or len(fitted) < size:
            break
        size *= 2
    new = unigram.most_probable(new, growth.new_tokens)[: growth.new_tokens]
    model = {**spec["model"], "vocab": [*folded(spec)["model"]["vocab"], *(list(piece) for piece in new)]}
    return {**spec, "model": model}, [piece for piece, _ in new]


def _harmless(old: list[tuple[str, float]], unk: int | None, candidates: list[tuple[str, float]]) -> list[tuple[str, float]]:
    """The candidates that are reachable beside the old pieces and make no old piece unreachable."""
    from tokenizers import models

    def best(vocabulary: list[tuple[str, float]], tried: Iterable[str]) -> Iterator[tuple[str, list[str]]]:
        model = models.Unigram(vocabulary, unk_id=unk if unk is not None else 0)
        for piece in tried:
            yield piece, [token.value for token in model.tokenize(piece)]

    safe = [piece for piece, found in best(old, (piece for piece, _ in old)) if found == [piece]]
    kept = candidates
    while kept:
        names = {piece for piece, _ in kept}
        whole = [*old, *kept]
        guilty = {part for piece, found in best(whole, safe) if found != [piece] for part in found if part in names}
        guilty |= {piece for piece, found in best(whole, names) if found != [piece]}
        if not guilty:
            break
        kept = [(piece, score) for piece, score in kept if piece not in guilty]
    return kept
