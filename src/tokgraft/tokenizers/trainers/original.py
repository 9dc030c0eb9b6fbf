"""`original`: the base's own tokenizer, copied byte for byte (for the control that keeps it)."""

from __future__ import annotations

from collections.abc import Sequence

from tokgraft.config.tokenizer import TokenizerRecipe
from tokgraft.errors import TokenizerError
from tokgraft.tokenizers.base import FILES, Base
from tokgraft.tokenizers.trainers import TRAINERS, Files, Trainer


def check(recipe: TokenizerRecipe, base: Base | None) -> None:
    """It needs a base."""
    if base is None:
        raise TokenizerError("trainer original copies a base tokenizer, and no base was given", "give --base MODEL_FOLDER")


def train(texts: Sequence[str], recipe: TokenizerRecipe, base: Base | None) -> Files:
    """The base's tokenizer files as they are; `texts` are not looked at."""
    assert base is not None
    return {name: (base.folder / name).read_bytes() for name in (*FILES, *base.templates) if (base.folder / name).is_file()}


TRAINERS.add("original", Trainer(check, train, own=False))
