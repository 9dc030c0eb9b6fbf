"""Trans-tokenization on counts small enough to check by hand, and what it says about bad input."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import toys
import toytasks
from tokgraft import methods, resources
from tokgraft.errors import ArtifactError, ConfigError, DataError
from tokgraft.methods import Transplant
from tokgraft.models.io import save_model
from tokgraft.resources.token_alignment import token_counts, units
from tokgraft.vocab import Token, Vocabulary

NAME = "trans_tokenization"


class Letters:
    """Cuts text into single characters of a vocabulary, as a segmenter does."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.by_text = {vocabulary[number].text: number for number in vocabulary.text_ids}

    def pieces_many(self, texts: list[bytes]) -> list[list[int]]:
        return [[self.by_text[text[n : n + 1]] for n in range(len(text)) if text[n : n + 1] in self.by_text] for text in texts]


def vocabulary(*texts: str) -> Vocabulary:
    special = Token(b"<end>", "special", ("eos",), "<end>")
    return Vocabulary((special, *(Token(text.encode(), "normal", (), text) for text in texts)), "plain")


def hand(counts: dict[tuple[str, str], float], source: Vocabulary, target: Vocabulary, **params: Any) -> dict[str, dict[str, float]]:
    """Weights over source tokens of each target token."""
    ids = [{token.surface: number for number, token in enumerate(side.tokens) if token} for side in (target, source)]
    arrays = {
        "target": np.array([ids[0][pair[0]] for pair in counts], dtype=np.int32),
        "source": np.array([ids[1][pair[1]] for pair in counts], dtype=np.int32),
        "count": np.array(list(counts.values()), dtype=float),
    }
    E = np.eye(len(source), dtype=np.float32)
    letters: Any = Letters(source)
    loaded = {"token_alignment": {**arrays, "source_vocabulary": source.text_fingerprint}}
    rows = methods.apply(NAME, Transplant(source, target, E, E, segmenter=letters, resources=loaded), params).input
    return {
        target[number].surface: {source[other].surface: round(float(row[other]), 4) for other in np.flatnonzero(row)}
        for number, row in enumerate(rows)
    }


def test_by_hand() -> None:
    source = vocabulary("the", " house", "x", "5", "7", "a")
    target = vocabulary("das", " haus", "haustür", "da", "57", "x", "zz")
    found = hand({("das", "the"): 3, ("das", "a"): 1, (" haus", " house"): 6, ("x", "the"): 1}, source, target)
    assert found["<end>"] == {"<end>": 1}
    assert found["das"] == {"the": 0.75, "a": 0.25}
    assert found["x"] == {"the": 0.5, "x": 0.5}, "the same token counts once"
    assert found["57"] == {"5": 1}, "a number is its first piece"
    assert found["da"] == {"the": 0.75, "a": 0.25}, "as what begins with it"
    size = len(source)
    assert found["haustür"] == {"a": 1}, "nothing is like it, so its pieces: of its letters the source has a"
    assert found["zz"] == dict.fromkeys((token.surface for token in source.tokens if token), round(1 / size, 4))
    copied = hand({("x", "the"): 1}, source, target, copy_overlap=True)
    assert copied["x"] == {"x": 1}


def test_smoothing_by_hand() -> None:
    source = vocabulary("q", " w", "e")
    target = vocabulary("ab", "bc", "b", "abcd", "abc", "abcdef")
    counts = {("ab", "q"): 5.0, ("bc", " w"): 2.0, ("bc", "e"): 2.0, ("b", "e"): 9.0, ("abcdef", "e"): 1.0}
    found = hand(counts, source, target)
    # "abcd": abcdef begins with it; ab and bc are inside, b only within those. A source token with a space before it counts twice.
    assert found["abcd"] == found["abc"] == {"q": round(1 / 3.5, 4), " w": round(1 / 3.5, 4), "e": round(1.5 / 3.5, 4)}
    assert hand(counts, source, target, space_weight=1)["abc"] == {"q": 0.3333, " w": 0.1667, "e": 0.5}
    # The package uses "abcd", smoothed by then, for "abc", and knows only the marker ▁ for a space.
    theirs = hand(counts, source, target, compatibility="trans-tokenizers")
    assert theirs["abcd"] == {"q": 0.3333, " w": 0.1667, "e": 0.5}
    assert theirs["abc"] == {"q": round(1333 / 3999, 4), " w": round(666 / 3999, 4), "e": round(2000 / 3999, 4)}


def test_every_target_token_gets_the_count_of_its_word() -> None:
    target, source, count = token_counts({((1, 2), (7, 8, 9)): 12}, "exact")
    table = {(a, b): c for a, b, c in zip(target.tolist(), source.tolist(), count.tolist())}
    # 6 spread evenly over three tokens; 6 over the tokens at the same place: 7 7 8 8 9 9 beside 1 1 1 2 2 2.
    assert table == {(1, 7): 6, (1, 8): 4, (1, 9): 2, (2, 7): 2, (2, 8): 4, (2, 9): 6}
    rounded = dict(zip(zip(*(values.tolist() for values in token_counts({((1, 2), (7, 8, 9)): 2}, "published")[:2])), [1.0] * 6))
    assert len(rounded) == 6
    assert token_counts({((1,), (7,)): 3}, "exact")[2].tolist() == [3]


@pytest.mark.parametrize("kind", toys.KINDS)
def test_units_are_words(kind: str) -> None:
    tokenizer = toys.tokenizer(kind, 600, "both")
    known = Vocabulary.from_tokenizer(tokenizer)
    lines = ["Schließen Sie das Fenster, wenn Sie 12,5 € eingeben."]
    found = next(units(lines, tokenizer, known))
    assert [unit.text.strip() for unit in found] == [
        "Schließen",
        "Sie",
        "das",
        "Fenster",
        ",",
        "wenn",
        "Sie",
        "12",
        ",",
        "5",
        "€",
        "eingeben",
        ".",
    ]
    written = [number for unit in found for number in unit.ids]
    all_ids = tokenizer(lines[0], add_special_tokens=False)["input_ids"]
    dropped = Counter(all_ids) - Counter(written)
    assert all(not known[number].text.strip() or known[number].kind == "special" for number in dropped)
    thai = next(units(["พิมพ์หน้า"], tokenizer, known))
    assert all(len(unit.text) <= 3 for unit in thai), "tokens are their own units where words are not told apart"


def test_same_inputs_same_bytes_and_facts() -> None:
    source, target = toys.tokenizer("byte_level"), toys.tokenizer("byte_level", 600, "both")
    folder = toytasks.made({"token_alignment"}, target, source)["token_alignment"]
    facts = json.loads((folder / "resource.json").read_text())
    assert facts["aligner"] == "ibm1" and facts["symmetry"] == "forward" and facts["pairs"] == 24
    assert facts["source_vocabulary"] == Vocabulary.from_tokenizer(source).text_fingerprint
    table = np.load(folder / "count.npy")
    assert facts["token_pairs"] == len(table) and (table > 0).all()


def test_pieces_of_a_word_become_pieces_of_its_translation(tmp_path: Path) -> None:
    """The counts of a text's words, through tokenizers that cut them."""
    pairs = [
        ("the red house", "das rote Haus"), ("the red book", "das rote Buch"), ("a house", "ein Haus"), ("a book", "ein Buch"),
        ("the house", "das Haus"), ("the book", "das Buch"),
    ]  # fmt: skip
    source, target = toys.tokenizer("byte_level"), toys.tokenizer("sp_bpe", 600, "both")
    rows = [{"page": "a", "key": str(number), "english": one, "text": two} for number, (one, two) in enumerate(pairs)]
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "pairs_train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    target.save_pretrained(tmp_path / "target")
    save_model(toys.decoder(len(source), True), source, tmp_path / "base")
    inputs = resources.Inputs(corpus=tmp_path / "corpus", tokenizer=tmp_path / "target", base=tmp_path / "base")
    resources.make("token_alignment", inputs, {"min_count": 3}, tmp_path / "out")
    known = Vocabulary.from_tokenizer(target)
    loaded = resources.load("token_alignment", tmp_path / "out", len(known), known.fingerprint)
    found = {(int(a), int(b)) for a, b in zip(loaded["target"], loaded["source"])}
    cut = {word: target.backend_tokenizer.encode(word, add_special_tokens=False).ids for word in ("Haus", "Buch", "das", "ein")}
    goal = {word: source(" " + word)["input_ids"] for word in ("house", "book", "a")} | {"the": source("the")["input_ids"]}
    expected = {
        (one, other)
        for ours, theirs in (("Haus", "house"), ("Buch", "book"), ("das", "the"))
        for one in cut[ours]
        for other in goal[theirs]
        if known[one].text.strip()
    }
    assert len(expected) > 6
    assert found == expected


def test_bad_input_is_explained(tmp_path: Path) -> None:
    source, target = toys.tokenizer("byte_level"), toys.tokenizer("sp_bpe", 600, "both")
    task = toytasks.task(NAME, source, target)
    good = task.resources["token_alignment"]

    def apply(given: Transplant, **wrong: Any) -> None:
        methods.apply(NAME, replace(given, resources={"token_alignment": {**good, **wrong}}), {})

    with pytest.raises(ConfigError, match="another base model"):
        apply(toytasks.task(NAME, toys.tokenizer("unigram"), target))
    for bad in (np.nan, np.inf, 0.0, -1.0):
        with pytest.raises(DataError, match="not positive numbers"):
            apply(task, count=np.where(np.arange(len(good["count"])) == 3, bad, good["count"]))
    for name, size in (("target", len(task.target)), ("source", len(task.source))):
        with pytest.raises(DataError, match=f"counts for {name} id {size}"):
            apply(task, **{name: np.where(np.arange(len(good[name])) == 3, size, good[name])})
    with pytest.raises(ConfigError, match="space_weight"):
        methods.apply(NAME, task, {"space_weight": 0})
    with pytest.raises(ConfigError, match="requires the resource token_alignment"):
        methods.apply(NAME, replace(task, resources={}), {})
    folder = toytasks.made({"token_alignment"}, target, source)["token_alignment"]
    with pytest.raises(ConfigError, match="another tokenizer"):
        resources.load("token_alignment", folder, 10, "other")
    with pytest.raises(ArtifactError, match="do not fit together"):
        resources.RESOURCES.get("token_alignment").load(folder, 3)


def test_disjoint_vocabularies() -> None:
    """Nothing aligned, nothing shared: every row is the mean of the source's, and is said to be a fallback."""
    source, target = vocabulary("a", "b", "c"), vocabulary("д", "ж")
    nothing = np.empty(0)
    E = toytasks.table(len(source), 4)
    letters: Any = Letters(source)
    loaded = {
        "target": nothing.astype(np.int32), "source": nothing.astype(np.int32), "count": nothing, "source_vocabulary": source.text_fingerprint
    }  # fmt: skip
    rows = methods.apply(NAME, Transplant(source, target, E, E, segmenter=letters, resources={"token_alignment": loaded}), {})
    assert [row.how for row in rows.provenance] == ["role", "fallback", "fallback"]
    assert np.allclose(rows.input[1:], E.mean(axis=0))
