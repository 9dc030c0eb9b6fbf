"""`char_bpe`: BPE over characters instead of bytes, with short tokens (character tokenizers of KL3M, arXiv:2503.17247).

The cap counts characters, so that it means the same in every script; a byte-level cap would cut Greek at half the length of English.
Characters outside the alphabet are written in bytes. Under a cap there are only so many tokens in a text: merging ends when any two
neighbours are too long together, which on a few megabytes is early, so `vocab_size` is the most there may be. Ids: special tokens, the 256 byte pieces, characters, merges.
"""

from __future__ import annotations

from collections.abc import Sequence

from tokgraft.config.tokenizer import TokenizerRecipe
from tokgraft.errors import ConfigError
from tokgraft.logs import log
from tokgraft.tokenizers import fresh
from tokgraft.tokenizers.base import Base
from tokgraft.tokenizers.splits import pattern
from tokgraft.tokenizers.trainers import TRAINERS, Files, Trainer


def check(recipe: TokenizerRecipe, base: Base | None) -> None:
    """It needs a vocabulary size and a length cap."""
    fresh.check(recipe, base, 256, without=("max_token_bytes", "seed_tokens", "seed_sets"))
    if recipe.max_token_characters is None:
        raise ConfigError("a recipe with trainer char_bpe needs max_token_characters", "add max_token_characters: 3")


def train(texts: Sequence[str], recipe: TokenizerRecipe, base: Base | None) -> Files:
    """Train on `texts`.

    Raises:
        TokenizerError: The texts need more characters than the vocabulary holds.
    """
    from tokenizers import Tokenizer, decoders, models, trainers

    assert recipe.vocab_size is not None and recipe.max_token_characters is not None
    roles, specials = fresh.specials_of(base)
    room = recipe.vocab_size - len(specials) - 256
    characters = fresh.fitting_alphabet(texts, recipe, room)
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = fresh.splitter(pattern(recipe.digits, recipe.spaces))
    trainer = trainers.BpeTrainer(
        vocab_size=room,
        min_frequency=recipe.min_frequency,
        max_token_length=recipe.max_token_characters + 1,  # the trainer counts pairs below this length only
        initial_alphabet=characters,
        limit_alphabet=len(characters),
        show_progress=False,
    )
    trained.train_from_iterator(fresh.parts(texts, characters), trainer)
    vocabulary, merges = fresh.bpe_parts(trained)
    if len(vocabulary) < room:
        log.warning(
            "no pair of neighbours is left that makes a token of at most %d characters: %d tokens instead of %d",
            recipe.max_token_characters, len(vocabulary) + len(specials) + 256, recipe.vocab_size,
        )  # fmt: skip
    tokenizer = Tokenizer(models.BPE(vocab=fresh.with_byte_pieces(vocabulary, specials), merges=merges, byte_fallback=True))
    tokenizer.pre_tokenizer = trained.pre_tokenizer
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    return fresh.finish(tokenizer, roles, specials, base)


TRAINERS.add("char_bpe", Trainer(check, train))
