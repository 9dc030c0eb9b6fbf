"""`supertokens`: BPE inside chunks of random length, without a cut at spaces (after TokenAdapt, arXiv:2505.09738). Experimental.

The publication leaves details open. Here each text is cut into chunks whose lengths are drawn from a geometric distribution with the
mean `chunk_characters`, merges are learned inside chunks and may span words, and the result cuts text at digits and line ends only,
so that encoding is deterministic. A plain `tokenizer.json`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tokgraft.config.tokenizer import TokenizerRecipe
from tokgraft.tokenizers import fresh
from tokgraft.tokenizers.base import Base
from tokgraft.tokenizers.splits import DIGITS
from tokgraft.tokenizers.trainers import TRAINERS, Files, Trainer


def check(recipe: TokenizerRecipe, base: Base | None) -> None:
    """It needs a vocabulary size."""
    fresh.check(recipe, base, 256, without=("max_token_characters", "character_coverage", "spaces", "seed_tokens", "seed_sets"))


def chunks(texts: Sequence[str], mean: int, seed: int) -> Iterator[str]:
    """The texts, cut at random: lengths are geometric with this mean, drawn in the order of the texts."""
    import numpy as np

    draw = np.random.default_rng(seed)
    for text in texts:
        ends = np.cumsum(draw.geometric(1 / mean, size=max(4, 2 * len(text) // mean + 4)))
        start = 0
        for end in (*ends[ends < len(text)].tolist(), len(text)):
            if end > start:
                yield text[start:end]
            start = end


def train(texts: Sequence[str], recipe: TokenizerRecipe, base: Base | None) -> Files:
    """Train on `texts`.

    Raises:
        TokenizerError: The texts do not support so large a vocabulary.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    assert recipe.vocab_size is not None
    roles, specials = fresh.specials_of(base)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        fresh.splitter(rf"{DIGITS[recipe.digits]}|[\r\n]+|[^\r\n\p{{N}}]+"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
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
    tokenizer.train_from_iterator(chunks(texts, recipe.chunk_characters, recipe.seed), trainer)
    found = tokenizer.get_vocab_size(with_added_tokens=True)
    if found < recipe.vocab_size:
        raise fresh.too_small(found, recipe)
    return fresh.finish(tokenizer, roles, specials, base)


TRAINERS.add("supertokens", Trainer(check, train))
