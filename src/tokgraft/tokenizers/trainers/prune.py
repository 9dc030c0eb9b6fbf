"""`prune`: the base's tokenizer with fewer tokens; with `new_tokens` it is extended afterwards (prune, then extend).

Ids are closed up; `ids.json` says which old id each new one was, so that embedding rows can be moved without a guess. Orders `leaf_last`,
`leaf_frequency` and `script` leave nothing unreachable. `last` and `frequency` do not look at what other tokens are made of: they are
baselines whose audit counts the damage. Frequencies are those of the new language's text and of the English text, if given.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from tokgraft.config.tokenizer import TokenizerRecipe
from tokgraft.errors import ConfigError, TokenizerError
from tokgraft.tokenizers.base import Base
from tokgraft.tokenizers.fresh import refuse
from tokgraft.tokenizers.growing import grow, refusal
from tokgraft.tokenizers.pruning import compacted, frequencies, other_scripts, removal_order
from tokgraft.tokenizers.trainers import TRAINERS, Files, Trainer, extend


def check(recipe: TokenizerRecipe, base: Base | None) -> None:
    """It needs a base and how much goes."""
    refuse(recipe, (*extend.FRESH_ONLY, "vocab_size"))
    if recipe.order == "script":
        if not recipe.scripts:
            raise ConfigError("order script needs the scripts that stay", "add scripts: [Latn]")
        if recipe.remove_tokens is not None:
            raise ConfigError("order script takes all tokens of other scripts", "leave remove_tokens out, or use another order")
    elif recipe.remove_tokens is None:
        raise ConfigError("a recipe with trainer prune needs remove_tokens", "add remove_tokens: 4096")
    if base is None:
        raise TokenizerError("trainer prune takes tokens from a base tokenizer, and no base was given", "give --base MODEL_FOLDER")
    if recipe.new_tokens is not None and (reason := refusal(base)):
        raise TokenizerError(f"the tokenizer of {base.folder} cannot be extended: {reason}", "leave new_tokens out")


def train(texts: Sequence[str], recipe: TokenizerRecipe, base: Base | None, english: Sequence[str] = ()) -> Files:
    """Prune the base, and extend what is left if the recipe says so.

    Raises:
        TokenizerError: Not so many tokens can go, or the texts do not support so many new ones.
    """
    assert base is not None
    removed = other_scripts(base.spec, base.kind, recipe.scripts) if recipe.order == "script" else chosen(base, recipe, [*texts, *english])
    spec: dict[str, Any] = compacted(base.spec, removed)
    if recipe.new_tokens is not None:
        spec, new = grow(spec, type(base.kind).of(spec), texts, extend.growth_of(recipe))
        extend.enough(len(new), recipe)
    return extend.files_of(spec, base)


def chosen(base: Base, recipe: TokenizerRecipe, texts: Sequence[str]) -> list[int]:
    """The ids that go.

    Raises:
        TokenizerError: Not so many may go.
    """
    wanted = recipe.remove_tokens if recipe.remove_tokens is not None else recipe.new_tokens
    assert wanted is not None
    counts = frequencies(base.spec, texts) if "frequency" in recipe.order else {}
    found = list(itertools.islice(removal_order(base.spec, base.kind, recipe.order, counts), wanted))
    if len(found) < wanted:
        raise TokenizerError(
            f"{len(found)} tokens of {base.folder} may go (special tokens, bytes and single characters stay), the recipe asks for {wanted}",
            f"use at most {len(found)}",
        )
    return found


def naive(recipe: TokenizerRecipe) -> bool:
    """Whether an order does not look at what tokens are made of."""
    return recipe.order in ("last", "frequency")


TRAINERS.add("prune", Trainer(check, train, descends=True, english=True, naive=naive))
