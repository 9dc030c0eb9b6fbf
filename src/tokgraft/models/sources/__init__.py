"""Where a base model comes from: one module per kind of source, each registering `fetch(request) -> Fetched`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokgraft.config.model import BaseModelConfig
from tokgraft.registry import Registry

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast


@dataclass(frozen=True)
class ModelRequest:
    """What a source is asked for.

    Attributes:
        config: The model's configuration; `config.source` is of the kind that the source registers for.
        cache: Folder for downloads, shared by all projects of a checkout.
        tokenizer: Folder of a tokenizer to use instead of the source's own; required by `scratch`.
    """

    config: BaseModelConfig
    cache: Path
    tokenizer: Path | None = None


@dataclass(frozen=True)
class FetchedModel:
    """What a source gives.

    Attributes:
        model: The model in float32, eval mode, on the CPU.
        tokenizer: Its tokenizer.
        facts: More settings that decide the content (hashes of files, not their paths).
        dtype: Floating type that its weights are stored in.
        libraries: Distributions beside transformers whose version the content depends on.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast
    facts: Mapping[str, Any] = field(default_factory=dict)
    dtype: str = "float32"
    libraries: tuple[str, ...] = ()


MODEL_SOURCES: Registry[Callable[[ModelRequest], FetchedModel]] = Registry("model source", "tokgraft.models.sources")


def default_cache() -> Path:
    """Where downloads are kept: `TOKGRAFT_CACHE`, or `.cache/downloads` below the working folder."""
    return Path(os.environ.get("TOKGRAFT_CACHE") or Path(".cache") / "downloads")
