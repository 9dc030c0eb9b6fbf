"""A tokenizer recipe."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from tokgraft.config import bounds
from tokgraft.config.base import ConfigFile, Slug

Digits = Literal["none", "single", "l2r3", "r2l3"]
Spaces = Literal["attached", "alone"]
SeedSet = Literal["whitespace", "years", "numbers", "markup", "enumeration", "citation"]
Order = Literal["last", "frequency", "leaf_last", "leaf_frequency", "script"]
Morphemes = Literal["morfessor", "kiwi", "newmm"]
Naive = Literal["after", "before", "splits", "added"]


class TokenizerRecipe(ConfigFile):
    """One file of config/tokenizers/."""

    folder: ClassVar[str] = "tokenizers"
    kind: ClassVar[str] = "tokenizer"

    trainer: str = Field(description="Registered trainer: bpe, unigram, extend, prune, ... (docs/tokenizers.md has a table of all).")
    vocab_size: int | None = Field(
        None, gt=0, le=bounds.TOKENS, description="Size of the vocabulary, special tokens included (replacement)."
    )
    new_tokens: int | None = Field(
        None, gt=0, le=bounds.TOKENS, description="How many tokens are added to the base vocabulary (extension)."
    )
    remove_tokens: int | None = Field(
        None, gt=0, le=bounds.TOKENS, description="How many tokens are taken from the base vocabulary (pruning)."
    )
    min_frequency: int = Field(2, ge=1, le=bounds.BYTES, description="A merge must have been seen this often.")
    max_token_bytes: int = Field(64, ge=2, le=bounds.SIZE, description="Longest token that may be learned, in bytes.")
    max_token_characters: int | None = Field(None, ge=1, le=bounds.SIZE, description="Longest token that may be learned, in characters.")
    max_train_bytes: int = Field(1_000_000_000, gt=0, le=bounds.BYTES, description="Most text the trainer reads, in bytes.")
    character_coverage: float = Field(
        0.9995, gt=0, le=1, description="Share of the text's characters that get a token of their own; the rest is written in bytes."
    )
    digits: Digits = Field(
        "single", description="Digits: single, in threes from the left (l2r3) or the right (r2l3), or runs cut nowhere (none)."
    )
    spaces: Spaces = Field(
        "attached", description="Spaces: attached to the word behind them, or alone (languages that do not put them between words)."
    )
    seed_tokens: list[str] = Field([], description="Strings of a domain that become tokens, whatever their frequency.")
    seed_sets: list[SeedSet] = Field([], description="Built-in lists of such strings.")
    pad_to: Annotated[int, Field(ge=bounds.MULTIPLES.low, le=bounds.MULTIPLES.high)] | Literal["power_of_two"] | None = Field(
        None, description="Fill the vocabulary with unused special tokens up to a multiple of this number, or to a power of two."
    )
    order: Order = Field("leaf_frequency", description="Which tokens are removed first (pruning, swapping).")
    scripts: list[str] = Field([], description="Unicode scripts (Latn, Grek) whose tokens stay; all others go (order script).")
    naive: Naive = Field("after", description="Where the naive baseline puts the auxiliary merges.")
    morphemes: Morphemes | None = Field(
        None, description="Analyser that cuts training text at morpheme borders: morfessor (any), kiwi (Korean), newmm (Thai words)."
    )
    transition: float = Field(
        0.75, gt=0, lt=1, description="superbpe: share of the vocabulary learned inside words, before merges cross spaces."
    )
    max_token_words: int = Field(4, ge=2, le=1000, description="superbpe: most words in one token.")
    chunk_characters: int = Field(
        24, ge=2, le=bounds.SIZE, description="supertokens: mean length of the random chunks that text is cut into."
    )
    languages: dict[str, list[Slug]] = Field(
        {},
        description="Learn from several languages instead of the target: group -> slugs. Groups (scripts, families) get equal shares of the text.",
    )
    alpha: float = Field(
        0.3, ge=0, le=1, description="languages: within a group a language gets a share proportional to its bytes to this power."
    )
    seed: int = Field(0, ge=0, le=bounds.SEED, description="supertokens, less_is_better: seed of the random draws.")
    description: str = Field("", description="What it is for.")

    @property
    def corpora(self) -> list[str]:
        """Slugs of the languages that are learned from, when it is not the target alone."""
        return [slug for slugs in self.languages.values() for slug in slugs]

    @model_validator(mode="after")
    def _grouped(self) -> TokenizerRecipe:
        if empty := [group for group, slugs in self.languages.items() if not slugs]:
            raise ValueError(f"languages: group {empty[0]!r} has no language")
        if twice := [slug for slug in self.corpora if self.corpora.count(slug) > 1]:
            raise ValueError(f"languages: {twice[0]} stands there twice")
        return self

    def canonical(self) -> dict[str, Any]:
        """As for every file, but options that are not used are left out: a new option leaves finished tokenizers as they are."""
        unused = {name for name, field in type(self).model_fields.items() if getattr(self, name) == field.get_default()}
        return {name: value for name, value in super().canonical().items() if name in ALWAYS or name not in unused}


ALWAYS = ("trainer", "vocab_size", "new_tokens", "min_frequency", "max_token_bytes", "max_train_bytes")
