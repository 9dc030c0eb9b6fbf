"""`bpe`: byte-level BPE trained from nothing, to replace the base's vocabulary.

Ids: special tokens first (in the base's order), then the 256 bytes, then the merges in rank order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tokgraft.config.tokenizer import TokenizerRecipe
from tokgraft.token_strings import TO_CHARACTER
from tokgraft.tokenizers import fresh, morphemes, seeds
from tokgraft.tokenizers.base import Base
from tokgraft.tokenizers.splits import pattern
from tokgraft.tokenizers.trainers import TRAINERS, Files, Trainer

if TYPE_CHECKING:
    from tokenizers import Tokenizer, models


def check(recipe: TokenizerRecipe, base: Base | None) -> None:
    """It needs a vocabulary size that holds the special tokens, the bytes and at least one merge."""
    fresh.check(recipe, base, 256, without=("max_token_characters", "character_coverage"))
    seeds.strings(recipe)
    if recipe.morphemes:
        morphemes.require(recipe.morphemes)


def train(texts: Sequence[str], recipe: TokenizerRecipe, base: Base | None) -> Files:
    """Train on `texts`, with the base's special tokens, roles, chat template and habit of adding BOS.

    Raises:
        TokenizerError: The texts do not support so large a vocabulary.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    assert recipe.vocab_size is not None
    roles, specials = fresh.specials_of(base)
    split = pattern(recipe.digits, recipe.spaces, seeds=seeds.patterns(recipe))
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        fresh.splitter(split), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    ])  # fmt: skip
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=recipe.vocab_size,
        min_frequency=recipe.min_frequency,
        max_token_length=recipe.max_token_bytes,
        special_tokens=fresh.added(specials),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(morphemes.chunks(texts, recipe.morphemes) if recipe.morphemes else iter(texts), trainer)
    if planted := seeds.strings(recipe):
        tokenizer.model = _planted(tokenizer, planted, recipe.vocab_size)
    found = tokenizer.get_vocab_size(with_added_tokens=True)
    if found < recipe.vocab_size:
        raise fresh.too_small(found, recipe)
    return fresh.finish(tokenizer, roles, specials, base)


def _planted(tokenizer: Tokenizer, planted: Sequence[str], size: int) -> models.BPE:
    """The model with the seeds in place of the last merges."""
    from tokenizers import models

    vocabulary, merges = fresh.bpe_parts(tokenizer)
    products = {left + right for left, right in merges}
    first = [token for token, _ in sorted(vocabulary.items(), key=lambda item: item[1]) if token not in products]
    learned, rules = seeds.plant(first, merges, planted, lambda seed: [TO_CHARACTER[byte] for byte in seed.encode()], size)
    return models.BPE(vocab={token: number for number, token in enumerate(dict.fromkeys([*first, *learned]))}, merges=rules)


TRAINERS.add("bpe", Trainer(check, train))
