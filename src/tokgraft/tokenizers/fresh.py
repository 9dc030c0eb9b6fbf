"""What trainers that start from nothing share: early refusals, special tokens, the alphabet, and the files at the end."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from tokgraft.config.tokenizer import TokenizerRecipe
from tokgraft.errors import ConfigError, TokenizerError
from tokgraft.logs import log
from tokgraft.tokenizers.base import Base, Special, config_for, set_affixes, to_tokenizer, tokenizer_files, with_bos
from tokgraft.tokenizers.templates import written

if TYPE_CHECKING:
    from tokenizers import AddedToken, Tokenizer, pre_tokenizers

OWN_ROLES = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
UNK = "<unk>"
WITH_MORPHEMES = ("bpe", "sp_bpe")
MOST_BYTES = 2_000_000_000  # the trainers count pairs in 32 bits
BYTE_PIECES = tuple(f"<0x{byte:02X}>" for byte in range(256))


def check(recipe: TokenizerRecipe, base: Base | None, beside: int, unk: bool = False, without: Sequence[str] = ()) -> None:
    """Refuse what cannot work before any text is read.

    Args:
        recipe: The recipe.
        base: The base, if any.
        beside: How many tokens the vocabulary holds beside special tokens and what is learned (bytes).
        unk: Whether there must be an unknown token.
        without: Options that the trainer does not have.

    Raises:
        ConfigError: A key is missing, not of this trainer, or too large.
        TokenizerError: The vocabulary has no room.
    """
    name = recipe.trainer
    if recipe.vocab_size is None:
        raise ConfigError(f"a recipe with trainer {name} needs vocab_size", "add vocab_size: 8192")
    refuse(recipe, ("new_tokens", "remove_tokens", "scripts", *without, *(() if name in WITH_MORPHEMES else ("morphemes",))))
    if recipe.max_train_bytes > MOST_BYTES:
        raise ConfigError(f"max_train_bytes {recipe.max_train_bytes} would overflow the trainer's counts", f"use at most {MOST_BYTES}")
    _, specials = specials_of(base, unk)
    least = len(specials) + beside
    if recipe.vocab_size <= least:
        raise TokenizerError(
            f"vocab_size {recipe.vocab_size} leaves no room beside {len(specials)} special tokens and {beside} bytes",
            f"use more than {least}",
        )


def refuse(recipe: TokenizerRecipe, names: Sequence[str]) -> None:
    """Refuse options that a trainer does not have.

    Raises:
        ConfigError: One of `names` is set.
    """
    for name in names:
        if getattr(recipe, name) != type(recipe).model_fields[name].get_default():
            raise ConfigError(f"trainer {recipe.trainer} has no {name}", "leave it out, or use another trainer (docs/tokenizers.md)")


def specials_of(base: Base | None, unk: bool = False) -> tuple[dict[str, str], tuple[Special, ...]]:
    """Roles and special tokens: the base's, or `<s>`, `</s>`, `<pad>`; with `unk` there is an unknown token.

    Of the base's other added tokens those are among them that its chat templates write.
    """
    if base is None:
        roles, specials = dict(OWN_ROLES), tuple(Special(content) for content in OWN_ROLES.values())
    else:
        roles, specials = with_bos(base.roles, str(base.folder)), (*base.specials, *written(base))
    if unk and "unk_token" not in roles:
        roles["unk_token"] = UNK
        if UNK not in {special.content for special in specials}:
            specials = (*specials, Special(UNK))
    return roles, specials


def added(specials: Sequence[Special]) -> list[AddedToken]:
    """The library's form of special tokens."""
    from tokenizers import AddedToken

    return [
        AddedToken(s.content, lstrip=s.lstrip, rstrip=s.rstrip, single_word=s.single_word, normalized=False, special=s.special)
        for s in specials
    ]


def splitter(pattern: str) -> pre_tokenizers.Split:
    """A pre-tokenizer whose words are the matches of a pattern that matches everything."""
    from tokenizers import Regex, pre_tokenizers

    return pre_tokenizers.Split(Regex(pattern), behavior="isolated")


def finish(tokenizer: Tokenizer, roles: dict[str, str], specials: tuple[Special, ...], base: Base | None) -> dict[str, bytes]:
    """Mark the special tokens, put BOS and EOS where the base puts them, and write the files."""
    tokenizer.add_special_tokens(added(specials))
    set_affixes(tokenizer, *((base.prefix, base.suffix) if base else ((), ())))
    if shown := [special.content for special in specials if not special.special]:
        log.info("kept for the base's chat template: %s", ", ".join(shown))
        tokenizer = _shown(tokenizer, shown)
    return tokenizer_files(tokenizer, config_for(roles, specials, base), base)


def _shown(tokenizer: Tokenizer, contents: Sequence[str]) -> Tokenizer:
    """The tokenizer in which these added tokens are not special; trainers and `add_special_tokens` make every token special."""
    spec = json.loads(tokenizer.to_str())
    for token in spec["added_tokens"]:
        token["special"] = token["special"] and token["content"] not in contents
    return to_tokenizer(spec)


def alphabet(texts: Sequence[str], coverage: float) -> list[str]:
    """The characters that make up `coverage` of the texts, most frequent first; ties by code point."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(text)
    goal, reached, found = coverage * counts.total(), 0, []
    for character, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        if reached >= goal:
            break
        found.append(character)
        reached += count
    return found


def fitting_alphabet(texts: Sequence[str], recipe: TokenizerRecipe, room: int) -> list[str]:
    """The alphabet of a trainer that writes other characters in bytes.

    Raises:
        TokenizerError: The text has less than two characters, or more than there is room for.
    """
    found = alphabet(texts, recipe.character_coverage)
    if len(found) < 2:
        raise TokenizerError(f"the corpus has {len(found)} distinct characters, nothing can be learned from it", "give it real text")
    if len(found) >= room:
        raise TokenizerError(
            f"vocab_size {recipe.vocab_size} has room for {room} tokens beside special tokens and bytes, "
            f"but {recipe.character_coverage:.2%} of the text need {len(found)} characters",
            f"use vocab_size {recipe.vocab_size + len(found) - room + 128 if recipe.vocab_size else ''} or more, or a lower character_coverage",
        )
    return found


def parts(texts: Sequence[str], characters: Sequence[str]) -> Iterator[str]:
    """The texts, cut where a character stands that is not of the alphabet (the trainer would join what stands around it)."""
    import regex

    known = set(characters)
    others = sorted({character for text in texts for character in set(text) - known})
    if not others:
        yield from texts
        return
    cut = regex.compile("[" + "".join(map(regex.escape, others)) + "]+")
    for text in texts:
        yield from filter(None, cut.split(text))


def too_small(found: int, recipe: TokenizerRecipe) -> TokenizerError:
    """The error of a corpus that does not support the vocabulary asked for."""
    seen = "" if recipe.trainer == "unigram" else f" (pairs seen at least {recipe.min_frequency} times)"
    return TokenizerError(
        f"the corpus supports {found} tokens{seen}, the recipe asks for {recipe.vocab_size}",
        f"use vocab_size {found // 128 * 128 or found} or less, or a larger corpus",
    )


def with_byte_pieces(learned: dict[str, int], specials: Sequence[Special]) -> dict[str, int]:
    """Ids: special tokens, the 256 byte pieces, then what was learned in its own order."""
    names = [special.content for special in specials]
    ordered = [token for token, _ in sorted(learned.items(), key=lambda item: item[1]) if token not in names]
    return {token: number for number, token in enumerate([*names, *BYTE_PIECES, *ordered])}


def bpe_parts(tokenizer: Tokenizer) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Vocabulary and merges of a BPE tokenizer."""
    model: dict[str, Any] = json.loads(tokenizer.to_str())["model"]
    return dict(model["vocab"]), [(left, right) for left, right in model["merges"]]
