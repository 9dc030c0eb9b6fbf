"""Word alignment and the dictionary made from it."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from tokgraft import artifacts, resources
from tokgraft.errors import ArtifactError, ConfigError, DataError
from tokgraft.resources import _align
from tokgraft.resources._align import AlignerParams, align
from tokgraft.resources._words import spaceless_share, words

PAIRS = [
    ("the red house", "das rote Haus"), ("the red book", "das rote Buch"), ("a house", "ein Haus"), ("a book", "ein Buch"),
    ("the house", "das Haus"), ("the book", "das Buch"), ("a red book", "ein rotes Buch"),
]  # fmt: skip


def corpus(folder: Path, pairs: list[tuple[str, str]]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    rows = [{"page": "a", "key": str(number), "english": one, "text": two} for number, (one, two) in enumerate(pairs)]
    (folder / "pairs_train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return folder


def naive(left: list[list[str]], right: list[list[str]], iterations: int) -> set[tuple[int, int, int]]:
    """Model 1 as it stands in the book: loops, and a word of every English sentence for "no word"."""
    size = len({word for sentence in right for word in sentence}) + 1
    table: dict[tuple[str, str], float] = defaultdict(lambda: 1 / size)
    for _ in range(iterations):
        counts: dict[tuple[str, str], float] = defaultdict(float)
        totals: dict[str, float] = defaultdict(float)
        for one, two in zip(left, right):
            for f in two:
                whole = sum(table[e, f] for e in ["", *one])
                for e in ["", *one]:
                    counts[e, f] += table[e, f] / whole
                    totals[e] += table[e, f] / whole
        table = defaultdict(float, {(e, f): count / totals[e] for (e, f), count in counts.items()})
    links = set()
    for number, (one, two) in enumerate(zip(left, right)):
        for j, f in enumerate(two):
            best = max(table[e, f] for e in ["", *one])
            near = [(abs((i + 0.5) / len(one) - (j + 0.5) / len(two)), i) for i, e in enumerate(one) if table[e, f] >= best * (1 - 1e-9)]
            if near:
                links.add((number, min(near)[1], j))
    return links


@pytest.mark.parametrize("block", [1, 50, 4_000_000])
def test_model_1_as_in_the_book(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(_align, "BLOCK", block)
    rng = np.random.default_rng(3)
    left = [[f"e{number}" for number in rng.integers(0, 12, rng.integers(0, 9))] for _ in range(40)]
    right = [[f"f{word[1:]}" for word in sentence if rng.random() < 0.8] + [f"f{rng.integers(20)}"] for sentence in left]
    links = align(left, right, AlignerParams(), "forward")
    found = set(zip(links.sentence.tolist(), links.left.tolist(), links.right.tolist()))
    assert found == naive(left, right, 7)
    assert len(found) > 100


def test_both_directions_are_joined() -> None:
    left, right = ([pair[side].split() for pair in PAIRS] for side in (0, 1))
    linked = {}
    for symmetry in ("forward", "intersection", "grow_diag"):
        links = align(left, right, AlignerParams(), symmetry)  # type: ignore[arg-type]
        linked[symmetry] = set(zip(links.sentence.tolist(), links.left.tolist(), links.right.tolist()))
    assert linked["intersection"] <= linked["forward"]
    assert linked["intersection"] <= linked["grow_diag"]
    assert {(0, 0, 0), (0, 1, 1), (0, 2, 2)} <= linked["intersection"]


def test_growing_adds_neighbours_of_words_without_a_link() -> None:
    kept = {(0, 0, 0)}
    # (1, 1) touches; (2, 2) touches it then; (1, 0) links two words that have links by then; (4, 4) touches nothing.
    _align._grow(kept, {(0, 0, 0), (0, 1, 1), (0, 2, 2), (0, 4, 4), (1, 1, 1)})
    assert kept == {(0, 0, 0), (0, 1, 1), (0, 2, 2)}


def test_words_are_runs_of_letters_marks_and_digits() -> None:
    assert words("Don't save the PDF-Datei (2.0)!") == ["don't", "save", "the", "pdf-datei", "2", "0"]
    assert words("हिन्दी में लिखें।") == ["हिन्दी", "में", "लिखें"], "vowel signs do not split words"
    assert words("한국어 도움말") == ["한국어", "도움말"]
    assert spaceless_share(["日本語のヘルプ"]) == spaceless_share(["การ"]) == 1
    assert spaceless_share(["한국어", "12 %"]) == 0


def test_dictionary(tmp_path: Path) -> None:
    place = corpus(tmp_path / "corpus", PAIRS)
    resources.make("dictionary", resources.Inputs(corpus=place), {}, tmp_path / "a")
    resources.make("dictionary", resources.Inputs(corpus=place), {}, tmp_path / "b")
    assert artifacts.fingerprint(tmp_path / "a") == artifacts.fingerprint(tmp_path / "b")
    entries = resources.load("dictionary", tmp_path / "a", 10, "any")
    assert {("house", "haus", 1.0), ("book", "buch", 1.0), ("the", "das", 1.0), ("a", "ein", 1.0)} <= set(entries)
    # Linked twice ("das rote"), of three times "red" and two times "rote".
    assert [weight for english, target, weight in entries if (english, target) == ("red", "rote")] == [0.8]
    assert list(entries) == sorted(entries, key=lambda entry: (-entry[2], entry[0], entry[1]))
    facts = json.loads((tmp_path / "a" / "resource.json").read_text())
    assert (facts["aligner"], facts["reproducible"], facts["pairs"], facts["entries"]) == ("ibm1", True, 7, len(entries))
    resources.make("dictionary", resources.Inputs(corpus=place), {"lower": False, "min_count": 4}, tmp_path / "c")
    assert set(resources.load("dictionary", tmp_path / "c", 10, "any")) == {("the", "das", 1.0), ("book", "Buch", 1.0)}


def test_only_train_pages_are_read(tmp_path: Path) -> None:
    place = corpus(tmp_path / "corpus", PAIRS)
    (place / "pairs_test.jsonl").write_text("not read")
    (place / "pairs_dev.jsonl").write_text("not read")
    resources.make("dictionary", resources.Inputs(corpus=place), {}, tmp_path / "a")


def test_bad_input_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def make(place: Path, **params: object) -> None:
        resources.make("dictionary", resources.Inputs(corpus=place), params, tmp_path / "out")

    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match="does not exist"):
        make(tmp_path / "none")
    with pytest.raises(DataError, match="no paragraphs aligned with English"):
        make(corpus(tmp_path / "empty", []))
    with pytest.raises(DataError, match="has no words"):
        make(corpus(tmp_path / "signs", [("!", "?")]))
    with pytest.raises(DataError, match="100% of the letters belong to scripts without spaces"):
        make(corpus(tmp_path / "thai", [("print the page", "พิมพ์หน้า")]))
    good = corpus(tmp_path / "good", PAIRS)
    with pytest.raises(DataError, match="linked 99 times"):
        make(good, min_count=99)
    with pytest.raises(ConfigError, match="aligner"):
        make(good, aligner="giza")
    monkeypatch.setattr(_align.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="pip install eflomal"):
        make(good, aligner="eflomal")
    make(good, aligner="auto")
    assert json.loads((tmp_path / "out" / "resource.json").read_text())["aligner"] == "ibm1"
    (tmp_path / "out" / "dictionary.tsv").write_text("english\n")
    with pytest.raises(ArtifactError, match="damaged"):
        resources.load("dictionary", tmp_path / "out", 1, "any")


def test_eflomal_finds_the_same_words(tmp_path: Path) -> None:
    pytest.importorskip("eflomal")
    resources.make("dictionary", resources.Inputs(corpus=corpus(tmp_path / "c", PAIRS * 5)), {"aligner": "auto"}, tmp_path / "a")
    facts = json.loads((tmp_path / "a" / "resource.json").read_text())
    assert facts["aligner"] == "eflomal" and facts["version"] and not facts["reproducible"]
    found = {entry[:2] for entry in resources.load("dictionary", tmp_path / "a", 1, "any")}
    assert {("house", "haus"), ("book", "buch")} <= found
