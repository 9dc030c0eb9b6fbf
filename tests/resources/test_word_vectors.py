"""Word vectors: the words of both languages, vectors for any text, the same bytes each time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import gensim.models
import numpy as np
import pytest
from gensim.models.fasttext import ft_ngram_hashes

import toys
import toytasks
from tokgraft import artifacts, resources
from tokgraft.errors import ArtifactError, ConfigError, DataError
from tokgraft.resources.word_vectors import Words, words_of

SMALL = {"dim": 8, "min_count": 2, "epochs": 2, "buckets": 3000}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("words")
    toytasks.write_corpus(root / "corpus", toys.german() * 4)
    toytasks.write_corpus(root / "english", toys.english()[:300])
    return root


def make(place: Path, out: str, **params: Any) -> Path:
    resources.make("word_vectors", resources.Inputs(corpus=place / "corpus", english=place / "english"), {**SMALL, **params}, place / out)
    return place / out


@pytest.fixture(scope="module")
def made(place: Path) -> Path:
    return make(place, "made")


def load(folder: Path) -> Any:
    return resources.load("word_vectors", folder, 10, "any")


def test_words_are_counted_in_both_languages(made: Path) -> None:
    both = load(made)
    for side, lines in ((both.target, toys.german() * 4), (both.english, toys.english()[:300])):
        text = "\n".join(lines)
        assert list(side.counts) == sorted(side.counts, reverse=True) and side.counts[-1] >= 2
        for word in ("Die", "Überschriften", "τιμές") if side is both.target else ("the", "is"):
            assert side.counts[side.index[word]] == words_of(text).count(word), word
        assert side.vectors.shape == (len(side.words), 8) and side.vectors.dtype == side.ngrams.dtype == np.float32
        assert len({row.tobytes() for row in side.vectors}) == len(side.words)


def test_words_of_a_text() -> None:
    assert words_of("Don't re-do it: 12,5 % (नहीं)!\u00a0x\u200by\x00") == [
        "Don't", "re-do", "it", ":", "12", ",", "5", "%", "(", "नहीं", ")", "!", "x", "y",
    ]  # fmt: skip


def test_any_text_has_a_vector_from_its_ngrams(made: Path) -> None:
    side = load(made).target
    texts = ["Tabelle", "Tabel", "", "Überschrift", "Tabel"]
    found = side.vectors_of(texts)
    assert np.array_equal(found[0], side.vectors[side.index["Tabelle"]])
    assert found[1].any() and np.array_equal(found[1], found[4]) and not found[2].any()
    assert np.array_equal(side.vector("Überschrift"), found[3])
    assert side.vectors_of([]).shape == (0, 8)
    near = (side.vectors @ found[1]) / np.linalg.norm(side.vectors, axis=1)
    assert side.words[int(near.argmax())] == "Tabelle"


def test_only_ngrams_that_words_have_count() -> None:
    """With one word and many buckets: the mean over known n-grams, whatever else a text has, and zeros where it has none."""
    hashes = sorted(set(ft_ngram_hashes("abcd", 3, 3, 10**6)))
    vectors = np.arange(len(hashes), dtype=np.float32)[:, None] + np.ones((1, 2), dtype=np.float32)
    words = Words(("abcd",), np.array([3]), np.zeros((1, 2), np.float32), np.array(hashes), vectors, (3, 3), 10**6)
    (shared,) = ft_ngram_hashes("bcd", 3, 3, 10**6)[1:2]  # <bc, bcd, cd>
    also = set(ft_ngram_hashes("bcd", 3, 3, 10**6)) & set(hashes)
    assert shared in also and len(also) == 2
    expected = np.mean([vectors[hashes.index(number)] for number in also], axis=0)
    assert np.allclose(words.vectors_of(["bcd", "xyz", "xx"]), [expected, [0, 0], [0, 0]])


def test_same_vectors_as_gensim_gives(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A word's vector and, where all its n-grams are known, that of an unknown word are those of the trained model itself."""
    models = []
    original = gensim.models.FastText

    def kept(*args: Any, **given: Any) -> Any:
        models.append(original(*args, **given))
        return models[-1]

    monkeypatch.setattr(gensim.models, "FastText", kept)
    side = load(make(place, "watched", buckets=50)).target
    trained = models[0].wv
    for word in side.words:
        assert np.array_equal(side.vector(word), trained.get_vector(word))
    assert list(side.buckets) == list(range(50)), "so few buckets are all in use"
    for text in ("Tabellen", "xyz", "z", "ένας"):
        assert text not in side.index
        assert np.allclose(side.vector(text), trained.get_vector(text), atol=1e-6)


def test_same_inputs_same_bytes(place: Path, made: Path) -> None:
    """Neither Python's hash seed nor what the memory held before changes a byte; another seed does."""
    given = ["--corpus", str(place / "corpus"), "--english", str(place / "english"), "--out", str(place / "again")]
    settings = [word for name, value in SMALL.items() for word in ("--set", f"{name}={value}")]
    command = [sys.executable, "-m", "tokgraft", "resource", "--name", "word_vectors", *given, *settings]
    subprocess.run(command, check=True, env={**os.environ, "PYTHONHASHSEED": "7", "MALLOC_PERTURB_": "128"}, capture_output=True)
    assert artifacts.fingerprint(made) == artifacts.fingerprint(place / "again")
    assert artifacts.verify(made) == []
    seeded, other = load(make(place, "seeded", seed=1)), load(make(place, "skipgram", algorithm="skipgram"))
    for changed in (seeded, other):
        assert changed.target.words == load(made).target.words
        assert not np.allclose(changed.target.vectors, load(made).target.vectors)
    assert np.abs(load(made).target.vectors).max() < 10


def test_bad_input_is_explained(place: Path) -> None:
    with pytest.raises(DataError, match="no word occurs 100000 times"):
        make(place, "x", min_count=100_000)
    with pytest.raises(ConfigError, match="english is missing"):
        resources.make("word_vectors", resources.Inputs(corpus=place / "corpus"), {}, place / "x")
    with pytest.raises(ConfigError, match="algorithm"):
        resources.validate("word_vectors", {"algorithm": "glove"})
    (place / "empty").mkdir()
    with pytest.raises(DataError, match=r"train\.jsonl does not exist"):
        resources.make("word_vectors", resources.Inputs(corpus=place / "empty", english=place / "english"), SMALL, place / "x")
    folder = make(place, "damaged")
    vectors = np.load(folder / "english_vectors.npy")
    np.save(folder / "english_vectors.npy", vectors[1:])
    with pytest.raises(ArtifactError, match=r"is damaged: .*english_vectors\.npy"):
        load(folder)


def test_facts(made: Path) -> None:
    facts = json.loads((made / "resource.json").read_text())
    assert facts["target"]["words"] == len(load(made).target.words)
    assert facts["english"]["running_words"] == sum(len(words_of(line)) for line in toys.english()[:300])
