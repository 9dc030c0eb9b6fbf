"""`extend`: more tokens for the base's own tokenizer. Old ids, old merges and special tokens stay as they are; new ids follow.

For BPE bases the merges are continued. For Unigram bases new pieces come in on the scale of the old ones (see `growing.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tokgraft.config.tokenizer import TokenizerRecipe
from tokgraft.errors import ConfigError, TokenizerError
from tokgraft.tokenizers.base import Base, config_for, set_affixes, to_tokenizer, tokenizer_files, with_bos
from tokgraft.tokenizers.fresh import refuse
from tokgraft.tokenizers.growing import Growth, grow, refusal
from tokgraft.tokenizers.trainers import TRAINERS, Files, Trainer

INSTEAD = "use a replacement recipe (trainer bpe)"
FRESH_ONLY = ("digits", "spaces", "seed_tokens", "seed_sets", "max_token_characters")


def check(recipe: TokenizerRecipe, base: Base | None) -> None:
    """It needs new_tokens and a BPE or Unigram base whose tokens are plain strings."""
    if recipe.new_tokens is None:
        raise ConfigError(f"a recipe with trainer {recipe.trainer} needs new_tokens", "add new_tokens: 2048")
    if recipe.vocab_size is not None:
        raise ConfigError(f"trainer {recipe.trainer} has no vocab_size (it is the base's size plus new_tokens)", "leave it out")
    refuse(recipe, FRESH_ONLY)
    if base is None:
        raise TokenizerError(
            f"trainer {recipe.trainer} continues a base tokenizer, and no base was given", "give --base MODEL_FOLDER, or " + INSTEAD
        )
    reason = refusal(base)
    if reason:
        raise TokenizerError(f"the tokenizer of {base.folder} cannot be extended: {reason}", INSTEAD)


def train(texts: Sequence[str], recipe: TokenizerRecipe, base: Base | None) -> Files:
    """Learn new tokens from `texts`.

    Raises:
        TokenizerError: The texts do not support so many new tokens.
    """
    assert base is not None
    spec, new = grow(base.spec, base.kind, texts, growth_of(recipe))
    enough(len(new), recipe)
    return files_of(spec, base)


def growth_of(recipe: TokenizerRecipe) -> Growth:
    """How far a recipe grows a tokenizer."""
    assert recipe.new_tokens is not None
    return Growth(recipe.new_tokens, recipe.min_frequency, recipe.max_token_bytes, recipe.character_coverage)


def enough(found: int, recipe: TokenizerRecipe) -> None:
    """Refuse less than the recipe asks for.

    Raises:
        TokenizerError: Fewer tokens were found.
    """
    assert recipe.new_tokens is not None
    if found < recipe.new_tokens:
        raise TokenizerError(
            f"the corpus supports {found} new tokens (pairs seen at least {recipe.min_frequency} times), "
            f"the recipe asks for {recipe.new_tokens}",
            f"use new_tokens {found // 64 * 64 or found} or less, or a larger corpus",
        )


def files_of(spec: dict[str, Any], base: Base) -> Files:
    """The files of a tokenizer made of the base's; special tokens are put where the base puts them, whatever their new ids."""
    tokenizer = to_tokenizer(spec)
    if spec["post_processor"] is None or spec["added_tokens"] != base.spec["added_tokens"]:
        set_affixes(tokenizer, base.prefix, base.suffix)
    return tokenizer_files(tokenizer, config_for(with_bos(base.roles, str(base.folder)), base.specials, base), base)


TRAINERS.add("extend", Trainer(check, train, extends=True))
