"""Where files live: the only place that knows. Paths are relative to the project root."""

from __future__ import annotations

from pathlib import PurePosixPath

RESULTS = PurePosixPath("results")
ENGLISH = "eng_Latn"
ANY = "any"  # in the path of a resource: for every base model, for every tokenizer
INIT = "init"
BASE = "base"
UNTRAINED = "untrained"
CONTROL = "none"
ORIGINAL = "original"
RECORDS = "model"  # of a scores artifact: what is written about the scored model


def corpus(language: str) -> str:
    """Corpus artifact of a language."""
    return str(RESULTS / "corpora" / language)


def shard(language: str, number: int | str) -> str:
    """One shard of a corpus that several jobs prepare."""
    return str(RESULTS / "shards" / language / str(number))


def tokenizer(model: str, language: str, recipe: str) -> str:
    """Tokenizer artifact: a recipe applied to a base model and a language."""
    return str(RESULTS / "tokenizers" / model / language / recipe)


def evaluation(model: str, language: str, recipe: str) -> str:
    """Evaluation artifact of a tokenizer: metrics, audits, card."""
    return str(RESULTS / "evaluations" / model / language / recipe)


def resource(name: str, model: str, language: str, recipe: str) -> str:
    """Resource artifact (token vectors, ...); `ANY` stands in the place of what it does not depend on."""
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


def checked() -> str:
    """What the check of the products found."""
    return str(RESULTS / "checked.txt")


def published() -> str:
    """What publishing to MLflow did; it speaks of the store of one folder, so it is kept nowhere else."""
    return str(RESULTS / "published.json")


# What the parts of an artifact's folder say, below results/<kind>/.
_PARTS = {
    "corpora": ("language",),
    "tokenizers": ("model", "language", "tokenizer"),
    "evaluations": ("model", "language", "tokenizer"),
    "resources": ("resource", "model", "language", "tokenizer"),
    "models": ("model", "language", "tokenizer", "method", "seed", "stage"),
    "scores": ("model", "language", "tokenizer", "method", "seed", "stage"),
}


def facts(artifact: str) -> dict[str, str]:
    """What the folder of an artifact says about it: its `kind`, and those of model, language, tokenizer, ... that it has."""
    kind, *parts = artifact.removeprefix(f"{RESULTS}/").split("/")
    if kind == "models" and len(parts) == 2:
        return {"kind": kind, "model": parts[0], "stage": parts[1]}
    return {"kind": kind, **dict(zip(_PARTS.get(kind, ()), parts))}


def manifest(artifact: str) -> str:
    """The file that stands for an artifact as an edge between two stages."""
    return f"{artifact}/manifest.json"
