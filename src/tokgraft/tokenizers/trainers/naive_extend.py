"""`naive_extend`: the usual short cuts of vocabulary extension, as baselines; the audit counts what they break, and refuses nothing.

A second BPE is trained on the new language and its tokens are put behind the base's vocabulary. What differs is how merges lead to them:

- `after`: those of its merges whose parts exist, behind the old ones (many new tokens are never produced);
- `before`: the same merges in front (old texts are cut otherwise than before);
- `splits`: every cut of a new token into two existing ones is a merge (after the conversion of SentencePiece models);
- `added`: no merges; `add_tokens` matches the strings anywhere, also inside old words.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from tokgraft.config.tokenizer import TokenizerRecipe
from tokgraft.errors import TokenizerError
from tokgraft.token_strings import TO_BYTE
from tokgraft.tokenizers.base import Base, to_tokenizer
from tokgraft.tokenizers.fresh import bpe_parts
from tokgraft.tokenizers.growing import cutter, folded, merge_pairs, with_added_tokens
from tokgraft.tokenizers.trainers import TRAINERS, Files, Trainer, extend

SECOND = 4  # the second vocabulary has so many times the new tokens, since it shares many with the base


def check(recipe: TokenizerRecipe, base: Base | None) -> None:
    """It needs new_tokens and a BPE base."""
    extend.check(recipe, base)
    assert base is not None
    if base.kind.model["type"] != "BPE":
        raise TokenizerError(f"the tokenizer of {base.folder} is not BPE", "these baselines are about merges; use trainer extend")


def train(texts: Sequence[str], recipe: TokenizerRecipe, base: Base | None) -> Files:
    """Append tokens of a second BPE trained on `texts`.

    Raises:
        TokenizerError: The texts do not support so many new tokens.
    """
    assert base is not None and recipe.new_tokens is not None
    spec = folded(base.spec)
    vocabulary = spec["model"]["vocab"]
    second, merges = _second(texts, recipe, base)
    new = [token for token in second if token not in vocabulary]
    if recipe.naive == "added":
        new = _strings(new, base)
    new = new[: recipe.new_tokens]
    extend.enough(len(new), recipe)
    if recipe.naive == "added":
        return extend.files_of(json.loads(with_added_tokens(spec, new, special=False).to_str()), base)
    vocabulary.update((token, number) for number, token in enumerate(new, max(vocabulary.values()) + 1))
    old = merge_pairs(spec)
    present = {tuple(merge) for merge in old}
    if recipe.naive == "splits":
        more = [
            [token[:place], token[place:]]
            for token in new for place in range(1, len(token)) if token[:place] in vocabulary and token[place:] in vocabulary
        ]  # fmt: skip
    else:
        more = [[left, right] for left, right in merges if {left, right, left + right} <= vocabulary.keys()]
    more = [merge for merge in more if tuple(merge) not in present]
    spec["model"]["merges"] = more + old if recipe.naive == "before" else old + more
    return extend.files_of(spec, base)


def _second(texts: Sequence[str], recipe: TokenizerRecipe, base: Base) -> tuple[list[str], list[tuple[str, str]]]:
    """Tokens in rank order and merges of a BPE trained on the words that the base's pre-tokenizer makes."""
    from tokenizers import Tokenizer, models, trainers

    assert recipe.new_tokens is not None
    cut = cutter(to_tokenizer(base.spec), base.kind)
    tokenizer = Tokenizer(models.BPE())
    trainer = trainers.BpeTrainer(
        vocab_size=SECOND * recipe.new_tokens + 256,
        min_frequency=recipe.min_frequency,
        max_token_length=recipe.max_token_bytes,
        show_progress=False,
    )
    tokenizer.train_from_iterator((word for text in texts for word in cut(text)), trainer)
    vocabulary, merges = bpe_parts(tokenizer)
    return sorted(vocabulary, key=lambda token: vocabulary[token]), merges


def _strings(tokens: Sequence[str], base: Base) -> list[str]:
    """The texts that tokens stand for, parts of characters left out."""
    found = []
    for token in tokens:
        content = bytes(TO_BYTE[character] for character in token) if base.kind.scheme == "byte_level" else token.encode()
        try:
            text = content.decode()
        except UnicodeDecodeError:
            continue
        found.append(text.replace(base.kind.marker, " ") if base.kind.scheme == "sentencepiece" else text)
    return list(dict.fromkeys(found))


TRAINERS.add("naive_extend", Trainer(check, train, extends=True, naive=lambda recipe: True))
