"""`swap`: tokens of the base give their place to as many new ones (after Csaki et al., arXiv:2311.05741); the size stays.

The tokens that go are the rarest leaves in the new language's text and the English text (other orders as in `prune`). Tokens that stay
keep their ids; new ones take the free ids in ascending order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tokgraft.config.tokenizer import TokenizerRecipe
from tokgraft.errors import ConfigError
from tokgraft.tokenizers.base import Base
from tokgraft.tokenizers.fresh import refuse
from tokgraft.tokenizers.growing import grow
from tokgraft.tokenizers.pruning import compacted, without
from tokgraft.tokenizers.trainers import TRAINERS, Files, Trainer, extend, prune


def check(recipe: TokenizerRecipe, base: Base | None) -> None:
    """It needs new_tokens and a base that can be extended."""
    extend.check(recipe, base)
    refuse(recipe, ("remove_tokens", "scripts"))
    if recipe.order == "script":
        raise ConfigError(
            "trainer swap takes as many tokens as it gives; order script takes what it finds", "use another order, or trainer prune"
        )


def train(texts: Sequence[str], recipe: TokenizerRecipe, base: Base | None, english: Sequence[str] = ()) -> Files:
    """Swap tokens.

    Raises:
        TokenizerError: Not so many tokens can go, or the texts do not support so many new ones.
    """
    assert base is not None
    free = sorted(prune.chosen(base, recipe, [*texts, *english]))
    unigram = base.spec["model"]["type"] == "Unigram"
    rest = compacted(base.spec, free) if unigram else without(base.spec, free)
    spec, new = grow(rest, type(base.kind).of(rest), texts, extend.growth_of(recipe))
    extend.enough(len(new), recipe)
    return extend.files_of(_in_place(spec, new, free) if unigram else _renumbered(spec, new, free), base)


def _renumbered(spec: dict[str, Any], new: Sequence[str], free: Sequence[int]) -> dict[str, Any]:
    places = dict(zip(new, free))
    vocabulary = {token: places.get(token, index) for token, index in spec["model"]["vocab"].items()}
    ordered = dict(sorted(vocabulary.items(), key=lambda item: item[1]))
    return {**spec, "model": {**spec["model"], "vocab": ordered}}


def _in_place(spec: dict[str, Any], new: Sequence[str], free: Sequence[int]) -> dict[str, Any]:
    """A Unigram vocabulary is a list: the new pieces, now at its end, move to the free places."""
    pieces = spec["model"]["vocab"]
    old, fresh = iter(pieces[: -len(new)]), iter(pieces[-len(new) :])
    places = set(free)
    order = [next(fresh) if index in places else next(old) for index in range(len(pieces))]
    numbers = {entry[0]: index for index, entry in enumerate(order)}
    unk = spec["model"].get("unk_id")
    return {
        **spec,
        "added_tokens": [{**token, "id": numbers.get(token["content"], token["id"])} for token in spec["added_tokens"]],
        "model": {**spec["model"], "vocab": order, "unk_id": None if unk is None else numbers[pieces[unk][0]]},
    }


TRAINERS.add("swap", Trainer(check, train, descends=True, english=True, naive=prune.naive))
