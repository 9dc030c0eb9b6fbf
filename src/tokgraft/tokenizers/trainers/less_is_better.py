"""`less_is_better`: units learned by reading, memorised where they save tokens and forgotten where they do not; they may span words.

After the Less-is-Better model (Yang, Frank and van den Bosch, CogALex 2020; as a tokenizer: Yang, arXiv:2403.00417). The published
tokenizer needs a fork of the library. Here the units are bytes and the model is WordPiece without a mark, which is longest match and nothing
else, so that the result is a plain `tokenizer.json`. Paragraphs are read in random order, in batches, and a unit's place in the lexicon is a
number (tokens saved, older readings counting less) instead of a rank that moves. Ids: special tokens, the 256 bytes, units, best first.
"""

from __future__ import annotations

from collections.abc import Sequence

from tokgraft.config.tokenizer import TokenizerRecipe
from tokgraft.tokenizers import fresh, lexicon
from tokgraft.tokenizers.base import Base
from tokgraft.tokenizers.splits import phrase_pattern
from tokgraft.tokenizers.trainers import TRAINERS, Files, Trainer
from tokgraft.tokenizers.trainers.wordpiece import BYTES, LONGEST_WORD

BATCH = 100_000  # bytes that are read before the lexicon is changed
READINGS = 40


def check(recipe: TokenizerRecipe, base: Base | None) -> None:
    """It needs a vocabulary size."""
    without = ("max_token_characters", "character_coverage", "spaces", "seed_tokens", "seed_sets")
    fresh.check(recipe, base, len(BYTES), unk=True, without=without)


def train(texts: Sequence[str], recipe: TokenizerRecipe, base: Base | None) -> Files:
    """Train on `texts`.

    Raises:
        TokenizerError: The texts do not support so large a vocabulary.
    """
    import numpy as np

    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    assert recipe.vocab_size is not None
    roles, specials = fresh.specials_of(base, unk=True)
    first = [*(special.content for special in specials), *BYTES]
    pre_tokenizer = pre_tokenizers.Sequence([
        fresh.splitter(phrase_pattern(recipe.digits)),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])  # fmt: skip
    lines = [[phrase for phrase, _ in pre_tokenizer.pre_tokenize_str(text)] for text in texts]
    order = np.random.default_rng(recipe.seed).permutation(len(lines)).tolist()
    room = recipe.vocab_size - len(first)
    batches = lexicon.batches_of(lines, order, BATCH, READINGS)
    reserved = set(first)
    learned = [unit for unit in lexicon.learn(batches, room, recipe.max_token_bytes, recipe.min_frequency) if unit not in reserved]
    if len(learned) < room:
        raise fresh.too_small(len(first) + len(learned), recipe)
    vocabulary = {token: number for number, token in enumerate([*first, *learned])}
    unknown = roles["unk_token"]
    tokenizer = Tokenizer(
        models.WordPiece(vocabulary, unk_token=unknown, continuing_subword_prefix="", max_input_chars_per_word=LONGEST_WORD)
    )
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.ByteLevel()
    return fresh.finish(tokenizer, roles, specials, base)


TRAINERS.add("less_is_better", Trainer(check, train))
