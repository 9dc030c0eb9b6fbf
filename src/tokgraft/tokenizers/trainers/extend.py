"""`extend`: continued BPE on the base's own tokenizer. Old ids, old merges and special tokens stay as they are; new ids follow.

Byte-level and character-level BPE split text by their own pre-tokenizer. SentencePiece-style BPE often has none (the whole text is
one word), so that merges would cross spaces; for training, its text is split before each `▁` and between letters, digits and
signs, as SentencePiece itself does. Characters it lacks are added first, as single pieces; nothing is learned from `<0xNN>` pieces.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from tokgraft.config.tokenizer import TokenizerRecipe
from tokgraft.errors import ConfigError, TokenizerError
from tokgraft.logs import Heartbeat, log
from tokgraft.tokenizers.base import Base, config_for, to_tokenizer, tokenizer_files, vocabulary_of, with_bos
from tokgraft.tokenizers.continued import Merges, continue_merges
from tokgraft.tokenizers.trainers import TRAINERS, Files, Trainer
from tokgraft.vocab import BYTE_TOKEN, Layout

if TYPE_CHECKING:
    from tokenizers import Tokenizer

PIECES = r"▁?[\p{L}\p{M}]+|▁?\p{N}|▁?[^\p{L}\p{M}\p{N}▁\s]+|▁+(?=▁)|▁|\s+"
INSTEAD = "use a replacement recipe (trainer bpe)"


def check(recipe: TokenizerRecipe, base: Base | None) -> None:
    """It needs new_tokens and a BPE base whose tokens are plain strings."""
    if recipe.new_tokens is None:
        raise ConfigError("a recipe with trainer extend needs new_tokens", "add new_tokens: 2048")
    if recipe.vocab_size is not None:
        raise ConfigError("trainer extend has no vocab_size (it is the base's size plus new_tokens)", "leave it out")
    if base is None:
        raise TokenizerError("trainer extend continues a base tokenizer, and no base was given", "give --base MODEL_FOLDER, or " + INSTEAD)
    reason = _refusal(base)
    if reason:
        raise TokenizerError(f"the tokenizer of {base.folder} cannot be extended: {reason}", INSTEAD)


def _refusal(base: Base) -> str:
    algorithm = base.kind.model["type"]
    if algorithm == "Unigram":
        return "it is a Unigram model, whose pieces compete by log-probability; appended pieces would have none on the same scale"
    if algorithm != "BPE":
        return f"it is a {algorithm} model, which has no merges to continue (longest match would re-split old words)"
    model = base.spec["model"]
    if model.get("continuing_subword_prefix"):
        return "its merges work on pieces that are marked inside words, which continued merges do not support"
    return ""


def train(texts: Sequence[str], recipe: TokenizerRecipe, base: Base | None) -> Files:
    """Continue the base's merges on `texts`.

    Raises:
        TokenizerError: The texts do not support so many new tokens.
    """
    assert base is not None and recipe.new_tokens is not None
    spec = _folded(base.spec)
    words = _words(texts, to_tokenizer(spec), base.kind)
    characters = _missing_characters(words, spec, recipe)
    first = _next_id(spec)
    for place, character in enumerate(characters):
        spec["model"]["vocab"][character] = first + place
    wanted = recipe.new_tokens - len(characters)
    heartbeat = Heartbeat("continued BPE", wanted, "tokens")
    learned = continue_merges(
        words=_segmented(words, to_tokenizer(spec, merges_only=True)),
        vocabulary=spec["model"]["vocab"],
        merges=_merge_table(spec),
        new_tokens=wanted,
        next_id=_next_id(spec),
        allowed=_allowed(spec, base.kind, recipe.max_token_bytes),
        barred=_barred(spec, base.kind),
        min_frequency=recipe.min_frequency,
        beat=heartbeat.beat,
    )
    found = len(characters) + len(learned.tokens)
    if found < recipe.new_tokens:
        raise TokenizerError(
            f"the corpus supports {found} new tokens (pairs seen at least {recipe.min_frequency} times), "
            f"the recipe asks for {recipe.new_tokens}",
            f"use new_tokens {found // 64 * 64 or found} or less, or a larger corpus",
        )
    log.info(
        "continued BPE: %d characters, %d merges, %d of them second routes to old tokens; the last pair was seen %d times",
        len(characters), len(learned.merges), len(learned.merges) - len(learned.tokens), learned.frequency,
    )  # fmt: skip
    for place, token in enumerate(learned.tokens, _next_id(spec)):
        spec["model"]["vocab"][token] = place
    spec["model"]["merges"] = [*_pairs(spec), *(list(merge) for merge in learned.merges)]
    roles = with_bos(base.roles, str(base.folder))
    return tokenizer_files(to_tokenizer(spec), config_for(roles, base.specials, base), base)


def _folded(spec: dict[str, Any]) -> dict[str, Any]:
    """A copy whose model vocabulary holds the added tokens at their ids (a token outside it would be renumbered on loading)."""
    vocabulary = dict(sorted(vocabulary_of(spec).items(), key=lambda item: item[1]))
    return {**spec, "model": {**spec["model"], "vocab": vocabulary}}


def _next_id(spec: dict[str, Any]) -> int:
    return int(max(spec["model"]["vocab"].values())) + 1


def _pairs(spec: dict[str, Any]) -> list[list[str]]:
    return [list(merge) for merge in spec["model"]["merges"]]


def _merge_table(spec: dict[str, Any]) -> Merges:
    vocabulary = spec["model"]["vocab"]
    table: Merges = {}
    for rank, (left, right) in enumerate(_pairs(spec)):
        table[vocabulary[left], vocabulary[right]] = (rank, vocabulary[left + right])
    return table


def _words(texts: Iterable[str], tokenizer: Tokenizer, kind: Layout) -> Counter[str]:
    """How often each word stands in the texts, as the base's normaliser and pre-tokenizer make them."""
    import regex

    split = regex.compile(PIECES.replace("▁", kind.marker)).findall if kind.scheme == "sentencepiece" else None
    normalizer, pre_tokenizer = tokenizer.normalizer, tokenizer.pre_tokenizer
    words: Counter[str] = Counter()
    for text in texts:
        normal = normalizer.normalize_str(text) if normalizer else text
        parts = [part for part, _ in pre_tokenizer.pre_tokenize_str(normal)] if pre_tokenizer else [normal]
        words.update(parts if split is None else [piece for part in parts for piece in split(part)])
    return words


def _missing_characters(words: Counter[str], spec: dict[str, Any], recipe: TokenizerRecipe) -> list[str]:
    """Characters (byte-level: bytes) that the vocabulary lacks, most frequent first; at most half of the new tokens.

    Even byte-level vocabularies may lack bytes that their training text never showed.
    """
    assert recipe.new_tokens is not None
    counts: Counter[str] = Counter()
    for word, count in words.items():
        for character in word:
            counts[character] += count
    vocabulary = spec["model"]["vocab"]
    missing = [(-count, char) for char, count in counts.items() if char not in vocabulary and count >= recipe.min_frequency]
    return [char for _, char in sorted(missing)][: recipe.new_tokens // 2]


def _segmented(words: Counter[str], tokenizer: Tokenizer) -> dict[tuple[int, ...], int]:
    """Each word's segmentation by the base model. Words that the model drops a character of (no unknown token) are left out."""
    model = tokenizer.model
    found: Counter[tuple[int, ...]] = Counter()
    for word, count in words.items():
        tokens = model.tokenize(word)
        if tokens and tokens[-1].offsets[1] == len(word.encode()):
            found[tuple(token.id for token in tokens)] += count
    return dict(found)


def _barred(spec: dict[str, Any], kind: Layout) -> frozenset[int]:
    """Ids that no new merge may touch: added tokens, the unknown token, single-byte pieces."""
    vocabulary = spec["model"]["vocab"]
    barred = {token["id"] for token in spec["added_tokens"] if token["special"]}
    barred |= {vocabulary[token] for token in (spec["model"].get("unk_token"),) if token in vocabulary}
    if kind.scheme == "sentencepiece":
        barred |= {index for token, index in vocabulary.items() if BYTE_TOKEN.match(token)}
    return frozenset(barred)


def _allowed(spec: dict[str, Any], kind: Layout, max_bytes: int) -> Callable[[str], bool]:
    """Which strings may become tokens.

    Not: added tokens (they are matched before the model runs), overlong ones, ones with a space mark inside, and several digits
    together where the base keeps digits single.
    """
    added = {token["content"] for token in spec["added_tokens"]}
    several_digits = re.compile(r"\d.*\d")
    texts = (token for token in spec["model"]["vocab"] if token not in added and not BYTE_TOKEN.match(token))
    single_digits = kind.scheme != "byte_level" and not any(map(several_digits.search, texts))
    spaced = kind.scheme == "sentencepiece"

    def allowed(token: str) -> bool:
        size = len(token) if kind.scheme == "byte_level" else len(token.replace(kind.marker, " ").encode() if spaced else token.encode())
        return (
            token not in added
            and size <= max_bytes
            and not (spaced and kind.marker in token[1:])
            and not (single_digits and several_digits.search(token))
        )

    return allowed


TRAINERS.add("extend", Trainer(check, train, extends=True))
