"""The control: the base model with its own tokenizer, untouched."""

from __future__ import annotations

from tokgraft.errors import ConfigError
from tokgraft.methods._contract import Params, Rows, Transplant, method
from tokgraft.methods._rows import provenance


@method("none", version=1, keeps_tokenizer=True, copies_overlap=True, convex=True)
class Nothing(Params):
    """Keep the original model and tokenizer (control)."""


def build(task: Transplant, params: Nothing) -> Rows:
    """The base's own rows, bit by bit.

    Raises:
        ConfigError: The target is not the base's own tokenizer.
    """
    if task.target.fingerprint != task.source.fingerprint:
        raise ConfigError("the method none keeps the original tokenizer, but another one was given", "give the base model's own tokenizer")
    output = None if task.tied else task.U.copy()
    return Rows(task.E.copy(), output, None if task.bias is None else task.bias.copy(), provenance(task, task.overlap, {}))
