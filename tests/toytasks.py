"""Transplants on small tokenizers for the tests of methods: whatever a method requires is really made, from a small corpus."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerFast

import toys
from tokgraft import methods, resources
from tokgraft.methods import Rows, Transplant
from tokgraft.models.io import save_model
from tokgraft.models.states import BodyStates
from tokgraft.segmenter import Segmenter
from tokgraft.vocab import Vocabulary

PLACE = tempfile.TemporaryDirectory(prefix="tokgraft-test-")
# Parameters that make a resource in seconds; the defaults of the others do.
SMALL: dict[str, dict[str, Any]] = {
    "donor": {"layers": 1, "hidden": 96, "heads": 2, "budget": 12_000, "rate": 5e-3},
    "sentence_embedder": {"source": {"kind": "local", "path": f"{PLACE.name}/encoder"}},
    "target_text": {"tokens": 2000, "dev_tokens": 500, "length": 64},
    "token_alignment": {"min_count": 2},
    "token_cooccurrence": {"dim": 16, "iterations": 5},
    "token_vectors": {"buckets": 20_000},
    "token_word2vec": {"groups": 50, "rank": 4, "batch": 256, "max_steps": 10},
    "word_vectors": {"dim": 12, "epochs": 2, "min_count": 2, "buckets": 5000},
}


def write_corpus(folder: Path, lines: tuple[str, ...]) -> Path:
    """A folder with the train split of a corpus artifact, ten lines a page."""
    folder.mkdir(parents=True, exist_ok=True)
    pages = [lines[start : start + 10] for start in range(0, len(lines), 10)]
    with (folder / "train.jsonl").open("w", encoding="utf-8") as handle:
        for number, page in enumerate(pages):
            paragraphs = [{"key": f"p:{number}:{place}", "tag": "p", "text": text} for place, text in enumerate(page)]
            handle.write(json.dumps({"id": str(number), "paragraphs": paragraphs}, ensure_ascii=False) + "\n")
    return folder


@lru_cache
def corpora() -> tuple[Path, Path]:
    """An English and a German corpus folder, aligned; an encoder lies beside them."""
    root = Path(PLACE.name)
    english = write_corpus(root / "english", toys.english())
    german = write_corpus(root / "german", toys.german() * 8 + toys.english()[:400])
    for place in (english, german):
        shutil.copy(place / "train.jsonl", place / "dev.jsonl")
    pairs = list(zip(toys.TRANSLATED.splitlines(), toys.GERMAN.splitlines(), strict=True)) * 4
    with (german / "pairs_train.jsonl").open("w", encoding="utf-8") as handle:
        for number, (ours, theirs) in enumerate(pairs):
            handle.write(
                json.dumps({"page": str(number), "key": f"p:{number}:0", "english": ours, "text": theirs}, ensure_ascii=False) + "\n"
            )
    tokenizer = toys.tokenizer("byte_level")  # training WordPiece breaks ties anew in each process
    save_model(toys.encoder(len(tokenizer)), tokenizer, root / "encoder")
    return english, german


def base_of(tokenizer: PreTrainedTokenizerFast) -> Path:
    """A small model folder with this tokenizer."""
    folder = Path(PLACE.name) / f"base-{Vocabulary.from_tokenizer(tokenizer).fingerprint[:16]}"
    if not folder.exists():
        save_model(toys.decoder(len(tokenizer), True), tokenizer, folder)
    return folder


def made(names: set[str], tokenizer: PreTrainedTokenizerFast, source: PreTrainedTokenizerFast | None = None) -> dict[str, Path]:
    """Folders of the resources `names` for `tokenizer`, made with the parameters in `SMALL`, else the defaults.

    The base has the tokenizer `source`, by default a byte-level one.
    """
    english, german = corpora()
    vocabulary = Vocabulary.from_tokenizer(tokenizer)
    own = Path(PLACE.name) / vocabulary.fingerprint[:16]
    base = base_of(source or toys.tokenizer("byte_level"))
    found = {}
    for name in sorted(names):
        found[name] = own / (f"{name}-{base.name}" if "base" in resources.needs(name) else name)
        if not found[name].exists():
            tokenizer.save_pretrained(own / "tokenizer")
            resources.make(name, resources.Inputs(german, english, own / "tokenizer", base), SMALL.get(name, {}), found[name])
    return found


def table(rows: int, width: int = 24, seed: int = 0) -> methods.Floats:
    """A random table whose rows are all different."""
    return np.random.default_rng(seed).normal(0.3, 0.7, (rows, width)).astype(np.float32)


def task(
    chain: str, source: PreTrainedTokenizerFast, target: PreTrainedTokenizerFast, *, tied: bool = True, bias: bool = False, seed: int = 0,
    E: methods.Floats | None = None, U: methods.Floats | None = None,
) -> Transplant:  # fmt: skip
    """A transplant with random tables (or those given) and every resource that the chain requires."""
    source_vocabulary, target_vocabulary = Vocabulary.from_tokenizer(source), Vocabulary.from_tokenizer(target)
    size = len(source_vocabulary)
    inputs = table(size) if E is None else E
    loaded: dict[str, Any] = {
        name: resources.load(name, folder, len(target_vocabulary), target_vocabulary.fingerprint)
        for name, folder in made(methods.parse(chain).requires, target, source).items()
    }
    return Transplant(
        source_vocabulary, target_vocabulary, inputs, inputs if tied else (table(size, seed=1) if U is None else U),
        bias=table(size, 1, seed=2)[:, 0] if bias else None, segmenter=Segmenter(source, source_vocabulary), resources=loaded, seed=seed,
        load_model=lambda: toys.decoder(size, tied), load_target_segmenter=lambda: Segmenter(target, target_vocabulary),
        states=BodyStates(lambda: toys.decoder(size, tied)),
    )  # fmt: skip


def digest(rows: Rows) -> str:
    """SHA-256 over everything in `rows`."""
    sha = hashlib.sha256(repr((rows.provenance, sorted(rows.stats.items()))).encode())
    for array in (rows.input, rows.output, rows.bias):
        sha.update(b"-" if array is None else array.tobytes())
    return sha.hexdigest()


def all_digests() -> dict[str, str]:
    """A digest of every registered method, and of every refiner after the mean, on one untied transplant."""
    source, target = toys.tokenizer("byte_level"), toys.tokenizer("sp_bpe", 600, "both")
    found = {
        name: digest(methods.apply(name, task(name, source, source if entry.keeps_tokenizer else target, tied=False, bias=True), {}))
        for name, entry in methods.METHODS.items()
        if entry.untied
    }
    chains = [f"mean+{name}" for name, entry in methods.REFINERS.items() if entry.untied]
    return found | {chain: digest(methods.apply(chain, task(chain, source, target, tied=False), {})) for chain in chains}
