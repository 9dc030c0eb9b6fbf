"""Where files live: the only place that knows. Paths are relative to the project root."""

from __future__ import annotations

from pathlib import PurePosixPath

RESULTS = PurePosixPath("results")
ENGLISH = "eng_Latn"
INIT = "init"
BASE = "base"
UNTRAINED = "untrained"
CONTROL = "none"
ORIGINAL = "original"


def corpus(language: str) -> str:
    """Corpus artifact of a language."""
    return str(RESULTS / "corpora" / language)


def shard(language: str, number: int | str) -> str:
    """One shard of a corpus that several jobs prepare."""
    return str(RESULTS / "shards" / language / str(number))


def tokenizer(model: str, language: str, recipe: str) -> str:
    """Tokenizer artifact: a recipe applied to a base model and a language."""
    return str(RESULTS / "tokenizers" / model / language / recipe)


def resource(name: str, model: str, language: str, recipe: str) -> str:
    """Resource artifact (token vectors, ...) for a tokenizer."""
    return str(RESULTS / "resources" / name / model / language / recipe)


def base(model: str) -> str:
    """Base model artifact."""
    return str(RESULTS / "models" / model / BASE)


def untrained(model: str) -> str:
    """Initial weights of a base model that the pipeline trains itself."""
    return str(RESULTS / "models" / model / UNTRAINED)


def adapted(model: str, language: str, recipe: str, method: str, seed: int | str, stage: str) -> str:
    """Adapted model artifact; `stage` is `init` or the slug of the training recipe."""
    return str(RESULTS / "models" / model / language / recipe / method / f"s{seed}" / stage)


def scores(model: str, language: str, recipe: str, method: str, seed: int | str, stage: str) -> str:
    """Scores artifact of an adapted model."""
    return str(RESULTS / "scores" / model / language / recipe / method / f"s{seed}" / stage)


def tables() -> str:
    """Tables and report."""
    return str(RESULTS / "tables")


def cells() -> str:
    """The cells of the experiment, for the report and the tracking stage."""
    return str(RESULTS / "cells.json")


def manifest(artifact: str) -> str:
    """The file that stands for an artifact as an edge between two stages."""
    return f"{artifact}/manifest.json"
