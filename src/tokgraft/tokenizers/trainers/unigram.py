"""`unigram`: pieces with probabilities, text cut by the most probable segmentation (Kudo 2018, arXiv:1804.10959), with byte fallback.

SentencePiece fits the pieces; the result is a plain `tokenizer.json`. Spaces are `▁`, no dummy prefix, nothing normalised. Pieces
that the fitted model would never produce are left out and others take their place. Ids: special tokens, the 256 byte pieces, pieces
from the most probable down.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tokgraft.config.tokenizer import TokenizerRecipe
from tokgraft.tokenizers import fresh
from tokgraft.tokenizers.base import Base
from tokgraft.tokenizers.pieces import LONGEST, TooMany, fit_reachable
from tokgraft.tokenizers.splits import MARK, marked_pattern
from tokgraft.tokenizers.trainers import TRAINERS, Files, Trainer


def check(recipe: TokenizerRecipe, base: Base | None) -> None:
    """It needs a vocabulary size."""
    fresh.check(recipe, base, 256, unk=True, without=("max_token_bytes", "min_frequency", "seed_tokens", "seed_sets"))


def train(texts: Sequence[str], recipe: TokenizerRecipe, base: Base | None) -> Files:
    """Train on `texts`.

    Raises:
        TokenizerError: The texts do not support so large a vocabulary, or need more characters than it holds.
    """
    from tokenizers import Tokenizer, decoders, models, normalizers

    assert recipe.vocab_size is not None
    roles, specials = fresh.specials_of(base, unk=True)
    names = [special.content for special in specials]
    room = recipe.vocab_size - len(specials) - 256
    fresh.fitting_alphabet(texts, recipe, room)
    splitter = fresh.splitter(marked_pattern(recipe.digits, recipe.spaces))

    def cut() -> Iterator[list[str]]:
        for text in texts:
            yield [word for word, _ in splitter.pre_tokenize_str(text.replace(" ", MARK)) if not word.isspace()]

    try:
        learned = fit_reachable(cut, room, recipe.character_coverage, recipe.max_token_characters or LONGEST)
    except TooMany as error:
        raise fresh.too_small(error.most + len(specials) + 256, recipe) from None
    lowest = min(score for _, score in learned) - 10  # no text is taken for a byte piece
    vocabulary = [*((name, 0.0) for name in names), *((piece, lowest) for piece in fresh.BYTE_PIECES), *learned]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=names.index(roles["unk_token"]), byte_fallback=True))
    tokenizer.normalizer = normalizers.Replace(" ", MARK)
    tokenizer.pre_tokenizer = splitter
    tokenizer.decoder = decoders.Sequence([decoders.Replace(MARK, " "), decoders.ByteFallback(), decoders.Fuse()])
    return fresh.finish(tokenizer, roles, specials, base)


TRAINERS.add("unigram", Trainer(check, train))
