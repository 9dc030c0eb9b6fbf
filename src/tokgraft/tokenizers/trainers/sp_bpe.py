"""`sp_bpe`: BPE as SentencePiece does it (arXiv:1808.06226): spaces are `▁`, characters are the symbols, other ones are bytes.

No dummy prefix is put before a text and nothing is normalised, so that every text is given back exactly; only a literal `▁` (U+2581)
comes back as a space, as in every SentencePiece tokenizer. Byte pieces are normal tokens, else decoding without special
tokens would drop them. Ids: special tokens, the 256 byte pieces, characters, merges.
"""

from __future__ import annotations

from collections.abc import Sequence

from tokgraft.config.tokenizer import TokenizerRecipe
from tokgraft.tokenizers import fresh, morphemes, seeds
from tokgraft.tokenizers.base import Base
from tokgraft.tokenizers.splits import MARK, marked_pattern
from tokgraft.tokenizers.trainers import TRAINERS, Files, Trainer

LONGEST = 64  # characters


def check(recipe: TokenizerRecipe, base: Base | None) -> None:
    """It needs a vocabulary size."""
    fresh.check(recipe, base, 256, without=("max_token_bytes",))
    seeds.strings(recipe)
    if recipe.morphemes:
        morphemes.require(recipe.morphemes)


def train(texts: Sequence[str], recipe: TokenizerRecipe, base: Base | None) -> Files:
    """Train on `texts`.

    Raises:
        TokenizerError: The texts do not support so large a vocabulary, or need more characters than it holds.
    """
    from tokenizers import Tokenizer, decoders, models, normalizers, trainers

    assert recipe.vocab_size is not None
    roles, specials = fresh.specials_of(base)
    room = recipe.vocab_size - len(specials) - 256
    planted = [seed.replace(" ", MARK) for seed in seeds.strings(recipe)]
    cut = list(morphemes.chunks(texts, recipe.morphemes)) if recipe.morphemes else texts
    marked = [text.replace(" ", MARK) for text in cut]
    characters = list(dict.fromkeys([*fresh.fitting_alphabet(marked, recipe, room), *"".join(planted)]))
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = fresh.splitter(marked_pattern(recipe.digits, recipe.spaces, seeds.patterns(recipe, marked=True)))
    trainer = trainers.BpeTrainer(
        vocab_size=room,
        min_frequency=recipe.min_frequency,
        max_token_length=(recipe.max_token_characters or LONGEST) + 1,  # the trainer counts pairs below this length only
        initial_alphabet=characters,
        limit_alphabet=len(characters),
        show_progress=False,
    )
    trained.train_from_iterator(fresh.parts(marked, characters), trainer)
    vocabulary, merges = fresh.bpe_parts(trained)
    if planted:
        letters = sorted(characters, key=lambda character: vocabulary[character])
        learned, merges = seeds.plant(letters, merges, planted, list, room)
        vocabulary = {token: number for number, token in enumerate([*letters, *learned])}
    if len(vocabulary) < room:
        raise fresh.too_small(len(vocabulary) + len(specials) + 256, recipe)
    tokenizer = Tokenizer(models.BPE(vocab=fresh.with_byte_pieces(vocabulary, specials), merges=merges, byte_fallback=True))
    tokenizer.normalizer = normalizers.Replace(" ", MARK)
    tokenizer.pre_tokenizer = trained.pre_tokenizer
    tokenizer.decoder = decoders.Sequence([decoders.Replace(MARK, " "), decoders.ByteFallback(), decoders.Fuse()])
    return fresh.finish(tokenizer, roles, specials, base)


TRAINERS.add("sp_bpe", Trainer(check, train))
