"""`byte`: the 256 bytes and the special tokens, nothing learned: the far end of every comparison (ByT5, arXiv:2105.13626)."""

from __future__ import annotations

from collections.abc import Sequence

from tokgraft.config.tokenizer import TokenizerRecipe
from tokgraft.errors import ConfigError
from tokgraft.token_strings import TO_CHARACTER
from tokgraft.tokenizers import fresh
from tokgraft.tokenizers.base import Base
from tokgraft.tokenizers.trainers import TRAINERS, Files, Trainer


def check(recipe: TokenizerRecipe, base: Base | None) -> None:
    """It has no settings."""
    fresh.refuse(recipe, ("new_tokens", "remove_tokens", "seed_tokens", "seed_sets", "digits", "spaces", "scripts"))
    size = len(fresh.specials_of(base)[1]) + 256
    if recipe.vocab_size not in (None, size):
        raise ConfigError(f"trainer byte always has {size} tokens here (256 bytes and the special tokens)", "leave vocab_size out")


def train(texts: Sequence[str], recipe: TokenizerRecipe, base: Base | None) -> Files:
    """BPE without merges; `texts` are not looked at. Ids: special tokens, then the bytes in order."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    roles, specials = fresh.specials_of(base)
    names = [*(special.content for special in specials), *(TO_CHARACTER[byte] for byte in range(256))]
    tokenizer = Tokenizer(models.BPE(vocab={token: number for number, token in enumerate(names)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    return fresh.finish(tokenizer, roles, specials, base)


TRAINERS.add("byte", Trainer(check, train))
