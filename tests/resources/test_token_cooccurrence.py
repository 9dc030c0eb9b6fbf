"""Co-occurrence counts and GloVe vectors beside loops that follow the definitions; the same bytes each time; what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_matrix

import toys
import toytasks
from tokgraft import artifacts, resources
from tokgraft.errors import ArtifactError, ConfigError, DataError
from tokgraft.models.io import save_model
from tokgraft.resources import _glove
from tokgraft.resources._streams import TokenStream
from tokgraft.vocab import Vocabulary

SMALL = {"dim": 8, "iterations": 3}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cooccurrence")
    toytasks.write_corpus(folder / "corpus", toys.german() * 6)
    toytasks.write_corpus(folder / "english", toys.english()[:200])
    toys.tokenizer("sp_bpe", 600, "both").save_pretrained(folder / "sp_bpe")
    tokenizer = toys.tokenizer("byte_level")
    save_model(toys.decoder(len(tokenizer), True), tokenizer, folder / "base")
    return folder


def make(place: Path, out: str, **params: object) -> Path:
    inputs = resources.Inputs(place / "corpus", place / "english", place / "sp_bpe", place / "base")
    resources.make("token_cooccurrence", inputs, {**SMALL, **params}, place / out)
    return place / out


def test_counts_are_those_of_a_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_glove, "TOKENS", 37)  # several blocks, whose borders pairs cross
    rng = np.random.default_rng(0)
    ids, pages = rng.integers(0, 9, 150).astype(np.int32), np.repeat(np.arange(5, dtype=np.int32), 30)
    expected = np.zeros((9, 9))
    for i in range(150):
        for j in range(150):
            if 0 < abs(i - j) <= 4 and pages[i] == pages[j]:
                expected[ids[i], ids[j]] += 1 / abs(i - j)
    assert np.allclose(_glove.count(TokenStream(ids, pages), 9, 4).toarray(), expected, rtol=1e-6)


@pytest.mark.parametrize("dense", [0.0, 2.0], ids=["all products", "counted products"])
def test_fit_is_adagrad_on_the_loss(monkeypatch: pytest.MonkeyPatch, dense: float) -> None:
    """With one tile a pass is one update along the whole gradient, here by loops in float64."""
    monkeypatch.setattr(_glove, "DENSE", dense)
    rng = np.random.default_rng(1)
    counts = np.triu(rng.integers(1, 40, (12, 12)) * (rng.random((12, 12)) < 0.5))
    counts = (counts + counts.T).astype(np.float32)
    settings = _glove.Fit(dim=5, x_max=10, power=0.75, iterations=4, rate=0.1, seed=3)
    found, losses = _glove.fit(csr_matrix(counts), settings)
    draws = np.random.default_rng(3)
    order = draws.permutation(12)
    tables = [(draws.random((12, 6)) - 0.5) / 5 for _ in range(2)]
    squares = [np.ones((12, 6)) for _ in range(2)]
    shuffled = counts[np.ix_(order, order)].astype(float)
    expected = []
    for _ in range(4):
        slopes, loss = [np.zeros((12, 6)), np.zeros((12, 6))], 0.0
        for i, j in zip(*np.nonzero(shuffled)):
            w, c = tables[0][i], tables[1][j]
            missed = w[:5] @ c[:5] + w[5] + c[5] - np.log(shuffled[i, j])
            weight = min(1, (shuffled[i, j] / 10) ** 0.75)
            loss += weight * missed**2
            slopes[0][i] += weight * missed * np.append(c[:5], 1)
            slopes[1][j] += weight * missed * np.append(w[:5], 1)
        expected.append(loss / np.count_nonzero(shuffled))
        for table, square, slope in zip(tables, squares, slopes):
            square += slope**2
            table -= 0.1 * slope / np.sqrt(square)
    assert np.allclose(losses, expected, rtol=1e-4)
    assert np.allclose(found[order], (tables[0] + tables[1])[:, :5], rtol=1e-4, atol=1e-6)


def test_several_tiles_fit_as_well_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    counts = csr_matrix(np.exp(rng.normal(size=(40, 3)) @ rng.normal(size=(3, 40))).astype(np.float32))
    counts = (counts + counts.T).tocsr()
    settings = _glove.Fit(dim=8, x_max=1, power=0.75, iterations=60, rate=0.1, seed=0)
    whole = _glove.fit(counts, settings)[1]
    monkeypatch.setattr(_glove, "PART", 7)
    parts = _glove.fit(counts, settings)[1]
    assert whole[-1] < 0.2 * whole[0] and parts[-1] < 0.2 * parts[0]


def test_frequent_tokens_of_both_sides_have_vectors(place: Path) -> None:
    folder = make(place, "a")
    target = Vocabulary.from_tokenizer(toys.tokenizer("sp_bpe", 600, "both"))
    source = Vocabulary.from_tokenizer(toys.tokenizer("byte_level"))
    found = resources.load("token_cooccurrence", folder, len(target), target.fingerprint)
    assert found["source_vocabulary"] == source.text_fingerprint
    texts = [json.loads(line) for name in ("corpus", "english") for line in (place / name / "train.jsonl").read_text().splitlines()]
    for side, vocabulary, tokenizer in (
        ("source", source, toys.tokenizer("byte_level")),
        ("target", target, toys.tokenizer("sp_bpe", 600, "both")),
    ):
        counts = np.zeros(len(vocabulary), dtype=int)
        for page in texts:
            ids = tokenizer.encode("\n".join(part["text"] for part in page["paragraphs"]), add_special_tokens=False)
            np.add.at(counts, ids, 1)
        counts[list(vocabulary.special_ids)] = 0
        ids, vectors = found[side]
        assert ids.tolist() == np.flatnonzero(counts >= 5).tolist()
        assert vectors.shape == (len(ids), 8) and len(np.unique(vectors, axis=0)) == len(ids)


def test_the_seed_decides(place: Path) -> None:
    prints = [artifacts.fingerprint(make(place, f"seed{number}", seed=seed)) for number, seed in enumerate((0, 0, 1))]
    assert prints[0] == prints[1] != prints[2]


def test_bad_input_is_explained(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = resources.Inputs(place / "corpus", place / "english", place / "sp_bpe")
    with pytest.raises(ConfigError, match="--base DIR"):
        resources.make("token_cooccurrence", inputs, {}, place / "x")
    with pytest.raises(DataError, match="0 tokens occur 99999 times"):
        make(place, "x", min_count=99_999)
    monkeypatch.setattr("tokgraft.config.bounds.BYTES", 10**40)  # no rate that a configuration may hold diverges so soon
    with pytest.raises(DataError, match="diverged"), np.errstate(all="ignore"):
        make(place, "x", rate=1e30)
    assert not (place / "x").exists()
    folder = make(place, "broken")
    other = Vocabulary.from_tokenizer(toys.tokenizer("unigram", 600, "both"))
    with pytest.raises(ConfigError, match="another tokenizer"):
        resources.load("token_cooccurrence", folder, len(other), other.fingerprint)
    vocabulary = Vocabulary.from_tokenizer(toys.tokenizer("sp_bpe", 600, "both"))
    vectors = np.load(folder / "source_vectors.npy")
    vectors[3, 2] = np.nan
    np.save(folder / "source_vectors.npy", vectors)
    with pytest.raises(ArtifactError, match="is damaged"):
        resources.load("token_cooccurrence", folder, len(vocabulary), vocabulary.fingerprint)
