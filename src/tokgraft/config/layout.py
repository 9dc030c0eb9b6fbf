"""Where files live: the only place that knows. Paths are relative to the project root."""

from __future__ import annotations

import hashlib
import json
from pathlib import PurePosixPath
from typing import Any

RESULTS = PurePosixPath("results")
ENGLISH = "eng_Latn"
ANY = "any"  # in the path of a resource: for every base model, for every tokenizer
INIT = "init"
BASE = "base"
UNTRAINED = "untrained"
CONTROL = "none"
ORIGINAL = "original"
EXPERIMENTS = "experiments"
TABLES, LISTS = "tables", "lists"  # of an experiment: its tables, and the single files beside them
RECORDS = "model"  # of a scores artifact: what is written about the scored model
RANKING = "ranking.txt"  # of the tables: the rankings as a text
KEY = "~"  # between a slug and the key of what an experiment changes about it; no slug holds it


def keyed(slug: str, changed: Any) -> str:
    """A name in a path: the slug, and a key of what an experiment changes about its content (a JSON value; None: nothing)."""
    if changed is None:
        return slug
    text = json.dumps(changed, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return f"{slug}{KEY}{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def plain(name: str) -> str:
    """The slug of a name in a path."""
    return name.partition(KEY)[0]


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


def speed(model: str, language: str, recipe: str) -> str:
    """Speed artifact: a base model with its own vocabulary and with that of a tokenizer, on text of a language."""
    return str(RESULTS / "speed" / model / language / recipe)


def experiment(name: str) -> str:
    """What belongs to one experiment: its tables, lists and checks."""
    return str(RESULTS / EXPERIMENTS / name)


def tables(name: str) -> str:
    """Tables and report of an experiment."""
    return f"{experiment(name)}/{TABLES}"


def ranking(name: str) -> str:
    """What the tables of an experiment rank, as a text for the terminal."""
    return f"{tables(name)}/{RANKING}"


def cells(name: str) -> str:
    """The cells of an experiment, for the report and the tracking stage."""
    return f"{experiment(name)}/cells.json"


def source(name: str) -> str:
    """The path of the file that an experiment was read from, as it ran here."""
    return f"{experiment(name)}/experiment.txt"


def checked(name: str) -> str:
    """What the check of an experiment's products found."""
    return f"{experiment(name)}/checked.txt"


def published(name: str) -> str:
    """What publishing an experiment to MLflow did; it speaks of the store of one folder, so it is kept nowhere else."""
    return f"{experiment(name)}/published.json"


# What the parts of an artifact's folder say, below results/<kind>/.
_PARTS = {
    "corpora": ("language",),
    "shards": ("language",),
    "tokenizers": ("model", "language", "tokenizer"),
    "evaluations": ("model", "language", "tokenizer"),
    "resources": ("resource", "model", "language", "tokenizer"),
    "speed": ("model", "language", "tokenizer"),
    "models": ("model", "language", "tokenizer", "method", "seed", "stage"),
    "scores": ("model", "language", "tokenizer", "method", "seed", "stage"),
    EXPERIMENTS: ("experiment",),
}
KINDS = (*(kind for kind in _PARTS if kind != EXPERIMENTS), TABLES, LISTS)  # of artifacts, as a store groups them


def facts(artifact: str) -> dict[str, str]:
    """What the folder of an artifact says about it: its `kind`, and the slugs of model, language, tokenizer, ... that it has."""
    kind, *names = map(plain, parts(artifact))
    if kind == "models" and len(names) == 2:
        return {"kind": kind, "model": names[0], "stage": names[1]}
    return {"kind": kind, **dict(zip(_PARTS.get(kind, ()), names))}


def parts(artifact: str) -> list[str]:
    """The names that the path of an artifact consists of, below results/."""
    return artifact.removeprefix(f"{RESULTS}/").split("/")


def manifest(artifact: str) -> str:
    """The file that stands for an artifact as an edge between two stages."""
    return f"{artifact}/manifest.json"
