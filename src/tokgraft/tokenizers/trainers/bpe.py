"""`bpe`: byte-level BPE trained from nothing, to replace the base's vocabulary.

Ids: special tokens first (in the base's order), then the 256 bytes, then the merges in rank order.
"""

from __future__ import annotations

from collections.abc import Sequence

from tokgraft.config.tokenizer import TokenizerRecipe
from tokgraft.errors import ConfigError, TokenizerError
from tokgraft.tokenizers.base import Base, Special, config_for, set_affixes, tokenizer_files, with_bos
from tokgraft.tokenizers.trainers import TRAINERS, Files, Trainer

# A word with at most one character before it; one digit; a run of signs; line ends; spaces. Marks (vowel signs, accents) and
# joiners between letters stay inside their word, which matters for Indic scripts, Thai and Persian.
SPLIT = (
    r"[^\r\n\p{L}\p{M}\p{N}]?[\p{L}\p{M}]+(?:[\x{200C}\x{200D}][\p{L}\p{M}]+)*"
    r"|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
OWN_ROLES = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
MOST_BYTES = 2_000_000_000  # the trainer counts pairs in 32 bits


def check(recipe: TokenizerRecipe, base: Base | None) -> None:
    """It needs a vocabulary size that holds the special tokens, the bytes and at least one merge."""
    if recipe.vocab_size is None:
        raise ConfigError("a recipe with trainer bpe needs vocab_size", "add vocab_size: 8192")
    if recipe.new_tokens is not None:
        raise ConfigError("trainer bpe has no new_tokens", "leave it out, or use trainer extend")
    if recipe.max_train_bytes > MOST_BYTES:
        raise ConfigError(f"max_train_bytes {recipe.max_train_bytes} would overflow the trainer's counts", f"use at most {MOST_BYTES}")
    _, specials = _specials(base)
    least = len(specials) + 256
    if recipe.vocab_size <= least:
        raise TokenizerError(
            f"vocab_size {recipe.vocab_size} leaves no room beside {len(specials)} special tokens and 256 bytes",
            f"use more than {least}",
        )


def train(texts: Sequence[str], recipe: TokenizerRecipe, base: Base | None) -> Files:
    """Train on `texts`, with the base's special tokens, roles, chat template and habit of adding BOS.

    Raises:
        TokenizerError: The texts do not support so large a vocabulary.
    """
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    assert recipe.vocab_size is not None
    roles, specials = _specials(base)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(SPLIT), behavior="isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])  # fmt: skip
    tokenizer.decoder = decoders.ByteLevel()
    added = [
        AddedToken(s.content, lstrip=s.lstrip, rstrip=s.rstrip, single_word=s.single_word, normalized=False, special=True) for s in specials
    ]
    trainer = trainers.BpeTrainer(
        vocab_size=recipe.vocab_size,
        min_frequency=recipe.min_frequency,
        max_token_length=recipe.max_token_bytes,
        special_tokens=added,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(iter(texts), trainer)
    found = tokenizer.get_vocab_size(with_added_tokens=True)
    if found < recipe.vocab_size:
        raise TokenizerError(
            f"the corpus supports {found} tokens (pairs seen at least {recipe.min_frequency} times), the recipe asks for {recipe.vocab_size}",
            f"use vocab_size {found // 128 * 128 or found} or less, or a larger corpus",
        )
    set_affixes(tokenizer, *((base.prefix, base.suffix) if base else ((), ())))
    return tokenizer_files(tokenizer, config_for(roles, specials, base), base)


def _specials(base: Base | None) -> tuple[dict[str, str], tuple[Special, ...]]:
    if base is None:
        return dict(OWN_ROLES), tuple(Special(content) for content in OWN_ROLES.values())
    return with_bos(base.roles, str(base.folder)), base.specials


TRAINERS.add("bpe", Trainer(check, train))
