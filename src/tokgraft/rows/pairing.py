"""Whether a resource was made for the base at hand."""

from __future__ import annotations

from typing import Any

from tokgraft.errors import ConfigError
from tokgraft.rows.contract import Transplant


def made_for(task: Transplant, name: str) -> Any:
    """The resource `name`, whose "source_vocabulary" is the fingerprint of the base's text tokens.

    Raises:
        ConfigError: It was made for a base with another tokenizer.
    """
    found = task.resources[name]
    if found["source_vocabulary"] != task.source.text_fingerprint:
        raise ConfigError(
            f"the resource {name} was made for a base model with another tokenizer",
            f"make it for this one: tokgraft resource --name {name} --base DIR ...",
        )
    return found
