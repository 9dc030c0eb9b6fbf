"""A tokenizer recipe."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from tokgraft.config.base import ConfigFile


class TokenizerRecipe(ConfigFile):
    """One file of config/tokenizers/."""

    folder: ClassVar[str] = "tokenizers"
    kind: ClassVar[str] = "tokenizer"

    trainer: str = Field(description="Registered trainer: bpe (replacement), extend (continued BPE), original (the base's own).")
    vocab_size: int | None = Field(None, gt=0, description="Size of the vocabulary, special tokens included (replacement).")
    new_tokens: int | None = Field(None, gt=0, description="How many tokens are added to the base vocabulary (extension).")
    min_frequency: int = Field(2, ge=1, description="A merge must have been seen this often.")
    max_token_bytes: int = Field(64, ge=2, description="Longest token that may be learned, in bytes.")
    max_train_bytes: int = Field(1_000_000_000, gt=0, description="Most text the trainer reads, in bytes.")
    description: str = Field("", description="What it is for.")
