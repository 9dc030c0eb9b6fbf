"""The control: the base model with its own tokenizer, untouched."""

from __future__ import annotations

import numpy as np

from tokgraft.errors import ConfigError
from tokgraft.methods import Composition, Dense, Params, Provenance, Transplant, method


class Nothing(Params):
    """Keep the original model and tokenizer (control)."""


@method("none", Nothing, version=1, keeps_tokenizer=True, copies_overlap=True, convex=True)
def build(task: Transplant, params: Nothing) -> Composition:
    """The base's own rows, bit by bit.

    Raises:
        ConfigError: The target is not the base's own tokenizer.
    """
    if task.target.fingerprint != task.source.fingerprint:
        raise ConfigError("the method none keeps the original tokenizer, but another one was given", "give the base model's own tokenizer")
    every = np.arange(len(task.target))
    tokenless = [Provenance("fallback")] * len(every)  # ids without a token keep their rows, too
    return Composition(task.overlap, dense=Dense(every, task.tables, tokenless, lambda columns: columns))
