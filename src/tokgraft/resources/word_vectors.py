"""Vectors of words: fastText over the train texts of the target language and of English, one model each, not aligned."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from tokgraft.errors import ArtifactError, DataError, UnavailableError
from tokgraft.resources import _pages
from tokgraft.resources._contract import Inputs, ResourceParams, resource
from tokgraft.resources._words import pattern

Floats = npt.NDArray[np.float32]
LIMIT = 1e3
SAMPLE = 1e-4  # the threshold above which frequent words are down-sampled: fastText's default, not gensim's
BLOCK = 8192  # texts whose n-grams are gathered at once
SIDES = ("target", "english")


class WordVectors(ResourceParams):
    """fastText word vectors of both languages, with the settings that WECHSEL trains its own with, except for the n-grams and buckets.

    Trained by gensim with one thread and a seed: equal inputs give equal vectors.
    """

    algorithm: Literal["cbow", "skipgram"] = Field("cbow", description="What predicts what (WECHSEL's training: cbow).")
    dim: int = Field(100, ge=2, description="Width (WECHSEL's training 100; 300 in the vectors published by fastText).")
    epochs: int = Field(20, ge=1, description="Passes over the text (WECHSEL's training: 20).")
    min_count: int = Field(5, ge=1, description="Rarer words get no vector of their own (fastText: 5).")
    negatives: int = Field(10, ge=1, description="Negative samples (WECHSEL's training: 10).")
    window: int = Field(5, ge=1, description="Words of context on each side (fastText: 5).")
    rate: float = Field(0.05, gt=0, description="Learning rate at the start (fastText: 0.05).")
    ngrams: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]] = Field(
        (3, 6),
        description="Shortest and longest character n-gram (fastText: 3 and 6; WECHSEL's training: 5 and 5, too long for short tokens).",
    )
    buckets: int = Field(200_000, ge=1, description="Hash buckets of the n-grams (fastText: 2 million, meant for far more text).")
    seed: int = Field(0, ge=0, description="Seed of the first numbers and of the negative samples.")
    max_bytes: int | None = Field(
        None, ge=1, description="Text of each language that is read, in bytes of UTF-8; whole pages from the start (default: all)."
    )


@dataclass(frozen=True)
class Words:
    """Word vectors of one language.

    Attributes:
        words: The words, by falling frequency.
        counts: How often each occurs, (n,), int64.
        vectors: Their vectors, (n, dim), float32.
        buckets: Numbers of the buckets that n-grams of these words fell into, ascending, (m,), int64.
        ngrams: Vectors of these buckets, (m, dim), float32.
        lengths: Shortest and longest n-gram.
        size: Number of buckets.
    """

    words: tuple[str, ...]
    counts: npt.NDArray[np.int64]
    vectors: Floats
    buckets: npt.NDArray[np.int64]
    ngrams: Floats
    lengths: tuple[int, int]
    size: int

    @cached_property
    def index(self) -> dict[str, int]:
        """Word -> its place."""
        return {word: number for number, word in enumerate(self.words)}

    def vector(self, text: str) -> Floats:
        """`vectors_of` one text, (dim,)."""
        found: Floats = self.vectors_of([text])[0]
        return found

    def vectors_of(self, texts: Sequence[str]) -> Floats:
        """(n, dim): a word's own vector; else the mean over those of the text's n-grams that some word has; zeros where there is none."""
        found = np.zeros((len(texts), self.vectors.shape[1]), dtype=np.float32)
        places = np.array([self.index.get(text, -1) for text in texts], dtype=np.int64)
        known = np.flatnonzero(places >= 0)
        found[known] = self.vectors[places[known]]
        others = np.flatnonzero(places < 0)
        for begin in range(0, len(others), BLOCK):
            block = others[begin : begin + BLOCK]
            found[block] = self._from_ngrams([texts[number] for number in block])
        return found

    def _from_ngrams(self, texts: Sequence[str]) -> Floats:
        from gensim.models.fasttext import ft_ngram_hashes

        hashes = [ft_ngram_hashes(text, *self.lengths, self.size) for text in texts]
        owner = np.repeat(np.arange(len(texts)), [len(row) for row in hashes])
        flat = np.array([number for row in hashes for number in row], dtype=np.int64)
        place = np.minimum(np.searchsorted(self.buckets, flat), max(len(self.buckets) - 1, 0))
        seen = self.buckets[place] == flat if len(self.buckets) else np.zeros(len(flat), dtype=bool)
        found = np.zeros((len(texts), self.ngrams.shape[1]), dtype=np.float32)
        owner, place = owner[seen], place[seen]
        if len(owner):
            rows, begins, number = np.unique(owner, return_index=True, return_counts=True)
            found[rows] = np.add.reduceat(self.ngrams[place], begins, axis=0) / number[:, None]
        return found


@dataclass(frozen=True)
class Both:
    """Word vectors of the two languages, in two spaces of the same width.

    Attributes:
        target: Those of the target language.
        english: Those of English.
    """

    target: Words
    english: Words


def load(folder: Path, size: int) -> Both:
    """Word vectors of both languages.

    Raises:
        ArtifactError: The arrays do not fit together, or are not finite.
    """
    hashing = json.loads((folder / "hashing.json").read_text(encoding="utf-8"))
    target, english = (_load_side(folder, side, tuple(hashing["lengths"]), hashing["size"]) for side in SIDES)
    return Both(target, english)


@resource("word_vectors", WordVectors, load=load, version=1, needs={"corpus", "english"}, libraries=["gensim", "regex"])
def build(inputs: Inputs, params: WordVectors, folder: Path) -> Mapping[str, Any]:
    """Write words, counts and vectors of each language, and the vectors of their n-grams' buckets.

    Raises:
        DataError: A corpus has no train split, or no word is frequent enough.
    """
    facts: dict[str, Any] = {}
    for side, corpus in zip(SIDES, (inputs.corpus, inputs.english)):
        facts[side] = _build_side(Path(str(corpus)), params, folder, side)
    (folder / "hashing.json").write_text(json.dumps({"lengths": params.ngrams, "size": params.buckets}) + "\n", encoding="utf-8")
    return facts


def words_of(text: str) -> list[str]:
    """Words of a text, as they are written: runs of letters, marks and digits, apostrophes, hyphens and joiners inside; other signs one by one."""
    return list(pattern("sign").findall(text))


def _build_side(corpus: Path, params: WordVectors, folder: Path, side: str) -> dict[str, Any]:
    from gensim.models import FastText

    shortest, longest = params.ngrams
    with tempfile.TemporaryDirectory(prefix="tokgraft-") as place:
        path = Path(place) / "words.txt"
        total = _write_words(corpus, path, params.max_bytes)
        model = FastText(
            sg=int(params.algorithm == "skipgram"), vector_size=params.dim, window=params.window, min_count=params.min_count,
            negative=params.negatives, epochs=params.epochs, alpha=params.rate, sample=SAMPLE, min_n=shortest, max_n=longest,
            bucket=params.buckets, seed=params.seed, workers=1,
        )  # fmt: skip
        model.build_vocab(corpus_file=str(path))
        if not len(model.wv):
            raise UnavailableError(
                f"no word occurs {params.min_count} times in {corpus}", "lower min_count of word_vectors, or add text to the corpus"
            )
        model.train(corpus_file=str(path), total_words=model.corpus_total_words, total_examples=model.corpus_count, epochs=params.epochs)
    counts = np.array([model.wv.get_vecattr(word, "count") for word in model.wv.index_to_key], dtype=np.int64)
    order = sorted(range(len(counts)), key=lambda number: (-counts[number], model.wv.index_to_key[number]))
    used = [buckets for buckets in model.wv.buckets_word if len(buckets)]
    seen = np.unique(np.concatenate(used)).astype(np.int64) if used else np.zeros(0, dtype=np.int64)
    arrays = {
        "counts": counts[order],
        "vectors": model.wv.vectors[order].astype(np.float32),
        "buckets": seen,
        "ngrams": model.wv.vectors_ngrams[seen].astype(np.float32),
    }
    if not all(np.abs(arrays[name]).max(initial=0) < LIMIT for name in ("vectors", "ngrams")):
        raise DataError(f"the word vectors of {corpus} diverged", "lower rate of word_vectors")
    for name, array in arrays.items():
        np.save(folder / f"{side}_{name}.npy", array, allow_pickle=False)
    text = "".join(f"{model.wv.index_to_key[number]}\n" for number in order)
    (folder / f"{side}_words.txt").write_text(text, encoding="utf-8", newline="\n")
    return {"running_words": total, "words": len(order), "buckets_in_use": len(seen)}


def _load_side(folder: Path, side: str, lengths: tuple[int, int], size: int) -> Words:
    words = tuple((folder / f"{side}_words.txt").read_text(encoding="utf-8").split("\n")[:-1])
    arrays = {name: np.load(folder / f"{side}_{name}.npy", allow_pickle=False) for name in ("counts", "vectors", "buckets", "ngrams")}
    fits = len(words) == len(arrays["counts"]) == len(arrays["vectors"]) and len(arrays["buckets"]) == len(arrays["ngrams"])
    if not fits or arrays["vectors"].shape[1] != arrays["ngrams"].shape[1]:
        shapes = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
        raise ArtifactError(f"{folder}: {side} has {len(words)} words, {shapes}", "make the resource again")
    if not all(np.isfinite(arrays[name]).all() for name in ("vectors", "ngrams")):
        raise ArtifactError(f"{folder}: vectors of {side} are NaN or Inf", "make the resource again")
    return Words(words, lengths=lengths, size=size, **arrays)


def _write_words(corpus: Path, path: Path, max_bytes: int | None) -> int:
    """Write the words of each page of the train split as one line; returns their number."""
    total = 0
    with path.open("w", encoding="utf-8") as handle:
        for text in _pages.texts(corpus, "reading words", max_bytes):
            words = words_of(text)
            total += len(words)
            handle.write(" ".join(words) + "\n")
    return total
