"""Token vectors: one vector for each frequent token, whatever characters it is made of; the same bytes each time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import toys
import toytasks
from tokgraft import artifacts, resources
from tokgraft.cli import main
from tokgraft.errors import ArtifactError, ConfigError, DataError
from tokgraft.resources.token_vectors import token_names
from tokgraft.vocab import Vocabulary

SMALL = {"dim": 8, "min_count": 3, "epochs": 1}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    toytasks.write_corpus(tmp_path / "corpus", (*toys.german() * 6, "</s> __label__x  doppelt", *toys.english()[:200]))
    for kind in toys.KINDS:
        toys.tokenizer(kind, 600, "both").save_pretrained(tmp_path / kind)
    return tmp_path


def make(place: Path, kind: str, out: str = "vectors", **params: object) -> Path:
    resources.make("token_vectors", resources.Inputs(corpus=place / "corpus", tokenizer=place / kind), {**SMALL, **params}, place / out)
    return place / out


@pytest.mark.parametrize("kind", toys.KINDS)
def test_exactly_the_frequent_tokens_have_vectors(place: Path, kind: str) -> None:
    folder = make(place, kind)
    tokenizer = toys.tokenizer(kind, 600, "both")
    vocabulary = Vocabulary.from_tokenizer(tokenizer)
    counts: Counter[int] = Counter()
    for line in (place / "corpus" / "train.jsonl").read_text(encoding="utf-8").splitlines():
        text = "\n".join(paragraph["text"] for paragraph in json.loads(line)["paragraphs"])
        counts.update(tokenizer.encode(text, add_special_tokens=False))
    table = resources.load("token_vectors", folder, len(vocabulary), vocabulary.fingerprint)
    assert table.shape == (len(vocabulary), 8) and table.dtype == np.float32
    known = set(np.flatnonzero(np.abs(table).sum(axis=1)).tolist())
    assert known == {number for number, count in counts.items() if count >= 3}
    assert len({row.tobytes() for row in table[sorted(known)]}) == len(known), "no two tokens were taken for one"
    facts = json.loads((folder / "resource.json").read_text())
    assert facts["tokens"] == sum(counts.values()) and facts["vectors"] == len(known)


def test_names_are_single_words() -> None:
    for kind in toys.KINDS:
        names = token_names(Vocabulary.from_tokenizer(toys.tokenizer(kind, 600, "both")))
        assert len(set(names.values())) == len(names)
        assert all(name and not any(character.isspace() for character in name) and name.isprintable() for name in names.values())


def test_same_inputs_same_bytes(place: Path) -> None:
    first, second, other = make(place, "byte_level", "a"), make(place, "byte_level", "b"), make(place, "byte_level", "c", window=2)
    assert artifacts.fingerprint(first) == artifacts.fingerprint(second) != artifacts.fingerprint(other)
    assert artifacts.verify(first) == []


def test_seed_and_only_the_seed_decides(place: Path) -> None:
    """Neither Python's hash seed nor what the memory held before changes a byte; another seed does."""
    first, seeded = make(place, "unigram", "a"), make(place, "unigram", "c", seed=1)
    given = ["--corpus", str(place / "corpus"), "--tokenizer", str(place / "unigram"), "--out", str(place / "b")]
    settings = [word for name, value in SMALL.items() for word in ("--set", f"{name}={value}")]
    command = [sys.executable, "-m", "tokgraft", "resource", "--name", "token_vectors", *given, *settings]
    subprocess.run(command, check=True, env={**os.environ, "PYTHONHASHSEED": "7", "MALLOC_PERTURB_": "128"})
    arrays = [np.load(folder / "vectors.npy") for folder in (first, place / "b", seeded)]
    assert np.array_equal(arrays[0], arrays[1]) and not np.array_equal(arrays[0], arrays[2])
    assert np.abs(arrays[0]).max() < 10


def test_vectors_know_what_stands_beside_what(tmp_path: Path) -> None:
    """Tokens of one script are nearer to each other than to those of another that never stands beside them."""
    toytasks.write_corpus(tmp_path / "corpus", tuple(line for line in toys.GERMAN.splitlines() + toys.GREEK.splitlines()) * 60)
    tokenizer = toys.tokenizer("byte_level", 600, "german")
    tokenizer.save_pretrained(tmp_path / "byte_level")
    folder = make(tmp_path, "byte_level", dim=24, epochs=8)
    vocabulary = Vocabulary.from_tokenizer(tokenizer)
    table = resources.load("token_vectors", folder, len(vocabulary), vocabulary.fingerprint)
    # So little text leaves one direction common to all; what is left without it tells the scripts apart.
    table[table.any(axis=1)] -= table[table.any(axis=1)].mean(axis=0)
    groups = []
    for text in (toys.GERMAN, toys.GREEK):
        ids = [number for number in sorted(set(tokenizer.encode(text))) if len(vocabulary[number].text) > 4 and table[number].any()]
        groups.append(table[ids] / np.linalg.norm(table[ids], axis=1, keepdims=True))
    within = np.mean([(group @ group.T).mean() for group in groups])
    assert within > (groups[0] @ groups[1].T).mean() + 0.2


def test_bad_input_is_explained(place: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean token_vectors"):
        resources.validate("token_vector", {})
    with pytest.raises(ConfigError, match="did you mean dim"):
        resources.validate("token_vectors", {"dime": 3})
    with pytest.raises(ConfigError, match="ngrams"):
        resources.validate("token_vectors", {"ngrams": [0, 0]})
    with pytest.raises(ConfigError, match="--corpus DIR"):
        resources.make("token_vectors", resources.Inputs(tokenizer=place / "sp_bpe"), {}, place / "x")
    with pytest.raises(DataError, match="occurs 100000 times"):
        make(place, "sp_bpe", min_count=100_000)
    with pytest.raises(ArtifactError, match="does not exist"):
        resources.make("token_vectors", resources.Inputs(corpus=place / "nowhere", tokenizer=place / "sp_bpe"), {}, place / "x")
    assert not (place / "x").exists()
    folder = make(place, "sp_bpe")
    other = Vocabulary.from_tokenizer(toys.tokenizer("unigram", 600, "both"))
    with pytest.raises(ConfigError, match="another tokenizer"):
        resources.load("token_vectors", folder, len(other), other.fingerprint)


def test_command_line(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--corpus", str(place / "corpus"), "--tokenizer", str(place / "byte_level"), "--set", "dim=6", "--set", "min_count=3"]
    assert main(["resource", "--name", "token_vectors", *arguments, "--out", str(place / "cli")]) == 0
    assert np.load(place / "cli" / "vectors.npy").shape[1] == 6
    assert artifacts.read(place / "cli")["settings"]["dim"] == 6
    assert main(["resource", "--name", "tokenvectors", *arguments, "--out", str(place / "bad")]) == 2
    assert "did you mean token_vectors" in capsys.readouterr().err
