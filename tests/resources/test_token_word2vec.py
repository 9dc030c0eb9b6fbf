"""The light training of CW2V: what it draws, where it starts, what it learns, what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import toys
import toytasks
from tokgraft import artifacts, resources
from tokgraft.errors import ArtifactError, ConfigError, DataError
from tokgraft.models.io import save_model
from tokgraft.resources import _groups, _word2vec
from tokgraft.resources._streams import TokenStream
from tokgraft.vocab import Vocabulary

SMALL = {"groups": 40, "rank": 4, "batch": 512, "max_steps": 40}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("word2vec")
    toytasks.write_corpus(folder / "corpus", toys.german() * 6)
    toytasks.write_corpus(folder / "english", toys.english()[:200])
    toys.tokenizer("sp_bpe", 600, "both").save_pretrained(folder / "sp_bpe")
    tokenizer = toys.tokenizer("byte_level")
    for name, tied in (("base", True), ("untied", False)):
        save_model(toys.decoder(len(tokenizer), tied), tokenizer, folder / name)
    return folder


def make(place: Path, out: str, base: str = "base", **params: object) -> dict[str, Any]:
    inputs = resources.Inputs(place / "corpus", place / "english", place / "sp_bpe", place / base)
    resources.make("token_word2vec", inputs, {**SMALL, **params}, place / out)
    vocabulary = Vocabulary.from_tokenizer(toys.tokenizer("sp_bpe", 600, "both"))
    found: dict[str, Any] = resources.load("token_word2vec", place / out, len(vocabulary), vocabulary.fingerprint)
    return found


def test_pairs_are_near_and_of_one_page() -> None:
    stream = TokenStream(np.arange(60, dtype=np.int32), np.repeat(np.arange(6, dtype=np.int32), 10))
    centres, contexts = _word2vec.pairs(stream, 3, 20_000, np.random.default_rng(0))
    assert (centres // 10 == contexts // 10).all()
    distances, counts = np.unique(contexts - centres, return_counts=True)
    assert distances.tolist() == [-3, -2, -1, 1, 2, 3]
    # Of ten positions 9, 8 and 7 have a neighbour at distance 1, 2 and 3.
    assert np.allclose(counts / counts.sum(), np.array([7, 8, 9, 9, 8, 7]) / 48, atol=0.02)


def test_negatives_follow_the_frequency() -> None:
    counts = np.array([0, 1, 16, 81, 256])
    chance = np.cumsum(counts**0.75) / (counts**0.75).sum()
    drawn = _word2vec._negatives(chance, counts, (20_000, 2), True, np.random.default_rng(0))
    assert np.allclose(np.bincount(drawn.ravel(), minlength=5) / 40_000, np.array([0, 1, 8, 27, 64]) / 100, atol=0.01)
    once = _word2vec._negatives(chance, counts, (2, 2), False, np.random.default_rng(0))
    assert sorted(once.ravel().tolist()) == [1, 2, 3, 4], "without replacement a step sees each token once"


def test_groups_join_what_is_near() -> None:
    rng = np.random.default_rng(0)
    centres = 10 * rng.normal(size=(5, 6))
    rows = (np.repeat(centres, 20, axis=0) + 0.1 * rng.normal(size=(100, 6))).astype(np.float32)
    groups = _groups.near(rows, 30, rng)
    assert np.unique(groups).tolist() == list(range(groups.max() + 1))
    assert all(len(set((np.flatnonzero(groups == number) // 20).tolist())) == 1 for number in range(groups.max() + 1))
    assert _groups.near(rows, 0, rng).tolist() == list(range(100)) == _groups.near(rows, 100, rng).tolist()


def test_it_starts_at_the_mean_and_the_published_way_does_not(place: Path) -> None:
    sides = [make(place, f"start {mode}", epochs=0, groups=0, rank=64, compatibility=mode)["input"] for mode in ("none", "reference")]
    largest = [factors.weights(np.arange(len(factors.left))).max(axis=1).mean() * len(factors.right) for factors in sides]
    assert largest[0] < 1.6 < 20 < largest[1]


def test_training_learns_and_the_tables_on_their_own(place: Path) -> None:
    untrained, trained = make(place, "before", "untied", epochs=0), make(place, "after", "untied", rate=0.01)
    facts = [artifacts.read(place / name)["settings"] for name in ("before", "after")]
    assert facts[0]["epochs"] == 0 and facts[1]["rate"] == 0.01
    for side in ("input", "output"):
        assert np.abs(trained[side].left - untrained[side].left).max() > 0.05
    assert not np.allclose(trained["input"].left - untrained["input"].left, trained["output"].left - untrained["output"].left, atol=0.01)
    assert "output" not in make(place, "tied")


def test_neighbours_become_alike() -> None:
    stream = (np.arange(40) % 2).astype(np.int32)  # two tokens in turn, and pages of a third that is only drawn against
    ids = np.concatenate([stream, np.full(5, 2, dtype=np.int32)])
    pages = np.concatenate([np.zeros(40, dtype=np.int32), np.arange(1, 6, dtype=np.int32)])
    source = np.concatenate([np.eye(4), -np.eye(4)]).astype(np.float32)
    rng = np.random.default_rng(0)
    factors = [_word2vec.Factors(*(0.01 * rng.normal(size=(n, 4)).astype(np.float32) for n in (3, 8)), np.ones(8, dtype=int)) for _ in "ab"]
    tables = [_word2vec.WordTable(np.zeros((3, 4), dtype=np.float32), np.arange(3), part, source) for part in factors]
    options = _word2vec.Training(1, 2, 64, 1000, 300, 0.05, 1e9, "standard", True)
    losses = _word2vec.train(TokenStream(ids, pages), (tables[0], tables[1]), options, rng)
    scores = tables[0].rows(np.arange(3)) @ tables[1].rows(np.arange(3)).T
    assert np.mean(losses[-20:]) < np.mean(losses[:20]) - 0.02
    assert min(scores[0, 1], scores[1, 0]) > max(scores[0, 0], scores[1, 1]) + 0.5, "no token stands beside itself"


def test_the_seed_decides(place: Path) -> None:
    for number, seed in enumerate((0, 0, 1)):
        make(place, f"seed{number}", seed=seed)
    prints = [artifacts.fingerprint(place / f"seed{number}") for number in range(3)]
    assert prints[0] == prints[1] != prints[2]


def test_bad_input_is_explained(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="--english DIR"):
        resources.make("token_word2vec", resources.Inputs(place / "corpus", None, place / "sp_bpe", place / "base"), {}, place / "x")
    monkeypatch.setattr("tokgraft.config.bounds.BYTES", 10**40)  # no rate that a configuration may hold diverges so soon
    with pytest.raises(DataError, match="diverged"), np.errstate(all="ignore"):
        make(place, "x", rate=1e38)
    toytasks.write_corpus(place / "empty", ("",))
    inputs = resources.Inputs(place / "empty", place / "empty", place / "sp_bpe", place / "base")
    with pytest.raises(DataError, match="holds no text"):
        resources.make("token_word2vec", inputs, SMALL, place / "x")
    make(place, "broken")
    vocabulary = Vocabulary.from_tokenizer(toys.tokenizer("sp_bpe", 600, "both"))
    for values in (np.full_like(np.load(place / "broken" / "input_left.npy"), np.nan), np.zeros((3, 4), dtype=np.float32)):
        np.save(place / "broken" / "input_left.npy", values)
        with pytest.raises(ArtifactError, match="is damaged"):
            resources.load("token_word2vec", place / "broken", len(vocabulary), vocabulary.fingerprint)
