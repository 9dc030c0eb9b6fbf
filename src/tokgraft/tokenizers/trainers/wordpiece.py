"""`wordpiece`: a vocabulary learned by pair counts, text cut by longest match, continuing pieces marked `##`.

It works on bytes, so that it has no unknown words and gives every text back; the WordPiece of BERT loses spaces and replaces words with
one unknown character. As in the library that trains it, pieces are found by pair counts as in BPE, not by likelihood as in the first
description (Schuster and Nakajima 2012). `#` always stands alone, so that no text looks like a mark. Ids: special tokens, the 256 bytes
at the beginning of words, the bytes inside words, what was learned.
"""

from __future__ import annotations

from collections.abc import Sequence

from tokgraft.config.tokenizer import TokenizerRecipe
from tokgraft.token_strings import TO_CHARACTER
from tokgraft.tokenizers import fresh
from tokgraft.tokenizers.base import Base
from tokgraft.tokenizers.splits import pattern
from tokgraft.tokenizers.trainers import TRAINERS, Files, Trainer

MARK = "##"
BYTES = [TO_CHARACTER[byte] for byte in range(256)]
INSIDE = [MARK + character for character in BYTES if character != "#"]
LONGEST_WORD = 100_000  # longer ones would be unknown


def check(recipe: TokenizerRecipe, base: Base | None) -> None:
    """It needs a vocabulary size that holds the bytes twice."""
    fresh.check(
        recipe, base, len(BYTES) + len(INSIDE), unk=True, without=("max_token_characters", "character_coverage", "seed_tokens", "seed_sets")
    )


def train(texts: Sequence[str], recipe: TokenizerRecipe, base: Base | None) -> Files:
    """Train on `texts`.

    Raises:
        TokenizerError: The texts do not support so large a vocabulary.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    assert recipe.vocab_size is not None
    roles, specials = fresh.specials_of(base, unk=True)
    names = [special.content for special in specials]
    first = [*names, *BYTES, *INSIDE]
    trained = Tokenizer(models.WordPiece(unk_token=roles["unk_token"]))
    trained.pre_tokenizer = pre_tokenizers.Sequence([
        fresh.splitter(pattern(recipe.digits, recipe.spaces, alone="#")),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])  # fmt: skip
    trainer = trainers.WordPieceTrainer(
        vocab_size=recipe.vocab_size,
        min_frequency=recipe.min_frequency,
        special_tokens=first,  # all symbols, so that their ids, which break ties, do not depend on the order of words in memory
        continuing_subword_prefix=MARK,
        show_progress=False,
    )
    trained.train_from_iterator(iter(texts), trainer)
    ordered = sorted(trained.get_vocab().items(), key=lambda item: item[1])
    known = set(first)
    learned = [token for token, _ in ordered if token not in known and len(token.removeprefix(MARK)) <= recipe.max_token_bytes]
    if len(first) + len(learned) < recipe.vocab_size:
        raise fresh.too_small(len(first) + len(learned), recipe)
    vocabulary = {token: number for number, token in enumerate([*first, *learned][: recipe.vocab_size])}
    tokenizer = Tokenizer(
        models.WordPiece(vocabulary, unk_token=roles["unk_token"], continuing_subword_prefix=MARK, max_input_chars_per_word=LONGEST_WORD)
    )
    tokenizer.pre_tokenizer = trained.pre_tokenizer
    tokenizer.decoder = decoders.Sequence([decoders.Replace(Regex("^##(?=.)"), ""), decoders.ByteLevel()])
    return fresh.finish(tokenizer, roles, specials, base)


TRAINERS.add("wordpiece", Trainer(check, train))
