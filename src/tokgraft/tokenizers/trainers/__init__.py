"""Tokenizer trainers: one module each, registered under the name that recipes use in `trainer:`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tokgraft.config.tokenizer import TokenizerRecipe
from tokgraft.registry import Registry
from tokgraft.tokenizers.base import Base

Files = dict[str, bytes]


@dataclass(frozen=True)
class Trainer:
    """One way of making a tokenizer.

    Args:
        check: Refuses a recipe or base that cannot work, before any text is read (raises TokenizerError or ConfigError).
        train: Training texts, recipe and base -> the files of the tokenizer's folder.
        own: Whether the result is of our making and must pass the hard gates (else the audit only reports).
        extends: Whether the base's tokens must keep their ids.
        descends: Whether it is made of the base's tokens under other ids; `ids.json` says which became which.
        english: Whether `train` takes the English train paragraphs as well (keyword `english`).
        naive: Whether a recipe is a named baseline that may break gates: the audit counts, and refuses nothing.
    """

    check: Callable[[TokenizerRecipe, Base | None], None]
    train: Callable[..., Files]
    own: bool = True
    extends: bool = False
    descends: bool = False
    english: bool = False
    naive: Callable[[TokenizerRecipe], bool] = lambda recipe: False


TRAINERS: Registry[Trainer] = Registry("tokenizer trainer", "tokgraft.tokenizers.trainers")
