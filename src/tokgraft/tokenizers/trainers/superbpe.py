"""`superbpe`: BPE in two stages, first inside words, then across spaces (after Liu et al. 2025, arXiv:2503.13423).

Stage one is `bpe` up to the share `transition` of the vocabulary. For stage two the pre-tokenizer keeps phrases whole (words of letters with
single spaces between them) and the merges are continued; that pre-tokenizer stays in the result, which is a plain `tokenizer.json`
for the stock library. Signs, digits and line ends still cut, and inside a phrase words are cut before spaces only, so that exchanging the
pre-tokenizer alone changes no text: no token of stage one has an inner space. The published one lets merges cross single signs as well.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from tokgraft.config.tokenizer import TokenizerRecipe
from tokgraft.errors import TokenizerError
from tokgraft.token_strings import Layout
from tokgraft.tokenizers import fresh
from tokgraft.tokenizers.base import Base, to_tokenizer
from tokgraft.tokenizers.growing import Growth, grow
from tokgraft.tokenizers.splits import phrase_pattern
from tokgraft.tokenizers.trainers import TRAINERS, Files, Trainer, bpe

SPACE = "Ġ"


def check(recipe: TokenizerRecipe, base: Base | None) -> None:
    """It needs a vocabulary size of which stage one can hold special tokens and bytes."""
    fresh.check(recipe, base, 256, without=("max_token_characters", "character_coverage", "spaces", "seed_tokens", "seed_sets"))
    if first_size(recipe) <= (least := len(fresh.specials_of(base)[1]) + 256):
        raise TokenizerError(
            f"stage one would have {first_size(recipe)} tokens, {least} of them special tokens and bytes",
            "use a larger vocab_size or transition",
        )


def first_size(recipe: TokenizerRecipe) -> int:
    """The size of the vocabulary after stage one."""
    assert recipe.vocab_size is not None
    return round(recipe.vocab_size * recipe.transition)


def train(texts: Sequence[str], recipe: TokenizerRecipe, base: Base | None) -> Files:
    """Train on `texts`.

    Raises:
        TokenizerError: The texts do not support so large a vocabulary.
    """
    assert recipe.vocab_size is not None
    files = bpe.train(texts, recipe.model_copy(update={"vocab_size": first_size(recipe)}), base)
    spec = with_phrases(json.loads(files["tokenizer.json"]), recipe)
    growth = Growth(
        recipe.vocab_size - first_size(recipe), recipe.min_frequency, recipe.max_token_bytes, allowed=few_words(recipe.max_token_words)
    )
    spec, new = grow(spec, Layout.of(spec), texts, growth)
    if len(new) < growth.new_tokens:
        raise fresh.too_small(first_size(recipe) + len(new), recipe)
    return {**files, "tokenizer.json": to_tokenizer(spec).to_str(pretty=True).encode() + b"\n"}


def with_phrases(spec: dict[str, Any], recipe: TokenizerRecipe) -> dict[str, Any]:
    """The tokenizer with the pre-tokenizer of stage two."""
    from tokenizers import pre_tokenizers

    tokenizer = to_tokenizer(spec)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        fresh.splitter(phrase_pattern(recipe.digits)), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    ])  # fmt: skip
    return dict(json.loads(tokenizer.to_str()))


def few_words(most: int) -> Callable[[str], bool]:
    """Whether a token touches at most so many words."""
    return lambda token: token.count(SPACE) + (not token.startswith(SPACE)) <= most


TRAINERS.add("superbpe", Trainer(check, train))
