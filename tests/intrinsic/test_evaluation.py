"""The command, the artifact, the card and the side-by-side page."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

import toys
from tokgraft import artifacts
from tokgraft.cli import main
from tokgraft.config.evaluation import TokenizerEvaluation
from tokgraft.errors import DataError
from tokgraft.intrinsic.build import FILE, evaluate_tokenizer, measure_all
from tokgraft.intrinsic.card import table
from tokgraft.intrinsic.compare import compare_tokenizers
from tokgraft.intrinsic.inputs import Subject
from tokgraft.intrinsic.splits import pieces
from toysubjects import corpus, of


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("evaluation")
    german, english = toys.GERMAN.splitlines(), toys.TRANSLATED.splitlines()
    pairs = [(str(i // 2), *pair) for i, pair in enumerate(zip(english, german))]
    corpus(root / "deu", "deu_Latn", {"train": [german], "test": [german[:2], german[2:4], german[4:]]}, pairs)
    corpus(root / "eng", "eng_Latn", {"train": [list(toys.english()[:50])], "test": [english[:3], english[3:]]})
    corpus(root / "empty", "xxx_Latn", {"test": []})
    corpus(root / "signs", "xxx_Latn", {"test": [["… — !"]]})
    toys.tokenizer("byte_level").save_pretrained(root / "base")
    toys.tokenizer("byte_level", 700, "german").save_pretrained(root / "mine")
    toys.tokenizer("unigram").save_pretrained(root / "unigram")
    (root / "words").write_text("Die\nTabelle\nzeigt\nalle\nund\n")
    (root / "morphemes").write_text("Werte\tWert e\nZelle\tZell e\n")
    return root


def test_the_command_writes_an_artifact(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = json.dumps({"dictionary": str(place / "words"), "morphemes": str(place / "morphemes")})
    flags = ["--tokenizer", place / "mine", "--corpus", place / "deu", "--english", place / "eng", "--base", place / "base"]
    for out in ("one", "two"):
        assert main(["tokenizer", "evaluate", *map(str, flags), "--settings", settings, "--out", str(place / out)]) == 0
    assert artifacts.verify(place / "one") == []
    assert artifacts.fingerprint(place / "one") == artifacts.fingerprint(place / "two"), "the same inputs give the same bytes"
    found = json.loads((place / "one" / FILE).read_text())
    assert found["tokenizer"]["name"] == "mine" and found["tokenizer"]["size"] < 700
    assert found["target"]["bytes_per_token"]["value"] > found["base"]["bytes_per_token"]["value"]
    assert found["target"]["normalised_sequence_length"]["value"] < 1
    assert found["parallel"]["help"]["premium"]["value"] < found["parallel"]["base"]["premium"]["value"]
    assert found["reachability"]["unreachable"] == found["round_trip"]["failed"] == 0
    assert found["lexicon"]["tokens"]["words_share"] > 0 and found["lexicon"]["morphology"]["words"] == 2
    assert sum(found["language_shares"].values()) == pytest.approx(1, abs=1e-4)
    assert str(place) not in (place / "one" / "manifest.json").read_text() + (place / "one" / FILE).read_text()


@pytest.mark.parametrize("kind", toys.KINDS)
def test_every_layout_is_evaluated(kind: str, place: Path) -> None:
    found = measure_all(of(toys.tokenizer(kind)), place / "deu", TokenizerEvaluation())
    assert found["base"] is found["overlap"] is found["english"] is found["under_trained"] is None
    assert 1 <= found["target"]["fertility"]["value"] < 8 and 0 < found["target"]["distribution"]["renyi_efficiency"]["value"] < 1


def test_the_card_needs_nothing_else(place: Path, tmp_path: Path) -> None:
    evaluate_tokenizer(place / "mine", place / "deu", tmp_path / "out", place / "base", place / "eng", TokenizerEvaluation(), "my <b>")
    page = (tmp_path / "out" / "card.html").read_text()
    assert not re.search(r'(src|href)="(?!#)', page) and "url(http" not in page and "<script" not in page
    assert "my &lt;b&gt;" in page and "my <b>" not in page
    assert page.count("<svg") == 5 and len(set(re.findall(r'\bid="([^"]+)"', page))) == len(re.findall(r'\bid="([^"]+)"', page))
    for text in ("survive the round trip", "Rényi efficiency", "Single-token words"):
        assert text in page


def test_bad_input_is_a_message(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def error(*flags: object) -> str:
        assert main(["tokenizer", *map(str, flags)]) == 2
        return capsys.readouterr().err

    start = ("evaluate", "--tokenizer", place / "mine", "--out", place / "none", "--corpus")
    assert "no test text" in error(*start, place / "empty")
    assert "no word" in error(*start, place / "signs")
    assert "there is no folder" in error(*start, place / "absent")
    assert "no tokenizer.json" in error("evaluate", "--tokenizer", place / "eng", "--out", place / "none", "--corpus", place / "deu")
    assert "did you mean alpha" in error(*start, place / "deu", "--settings", '{"alpah": 2}')
    assert "does not exist" in error(*start, place / "deu", "--settings", '{"dictionary": "nowhere.txt"}')
    assert "no text" in error("compare", place / "mine", "--out", place / "x.html")
    assert "BPE only" in error("mixture", "--tokenizer", place / "unigram", "--corpora", place / "deu", place / "eng")
    assert "--recipe or --settings, --corpus, --out" in error()
    assert not (place / "none").exists()


def test_paths_of_languages_are_filled_in(tmp_path: Path) -> None:
    (tmp_path / "deu_Latn.txt").write_text("Haus\n")
    settings = TokenizerEvaluation(dictionary="{language}.txt", morphemes="morfessor")
    assert settings.of("deu_Latn", tmp_path).files() == ["deu_Latn.txt"] and settings.of("fra_Latn", tmp_path).files() == []
    assert settings.recorded()["dictionary"] is True and settings.recorded()["morphemes"] == "morfessor"


def test_under_trained_tokens_need_a_model_with_this_vocabulary(place: Path) -> None:
    found = measure_all(Subject.load(place / "mine"), place / "deu", TokenizerEvaluation(model=True))
    assert found["under_trained"] == {"skipped": "no model with this vocabulary"}


@pytest.mark.parametrize("kind", toys.KINDS)
def test_pieces_make_up_the_text(kind: str) -> None:
    subject = of(toys.tokenizer(kind))
    for text in (*toys.GERMAN.splitlines(), "  ü\n\t日本 👩\u200d💻 ", ""):
        found = pieces(subject, text)
        assert "".join(piece.text for piece in found) == text
        assert [number for piece in found for number in piece.ids] == subject.tokenizer.encode(text, add_special_tokens=False).ids


def test_a_spread_character_is_one_piece(subject: Any) -> None:
    found = pieces(subject("ab"), "abü ")
    assert [(piece.text, len(piece.ids)) for piece in found] == [("ab", 1), ("ü", 2), (" ", 1)]
    assert found[1].tokens == ("\\xc3", "\\xbc") and found[2].shown == "·"


def test_tokenizers_side_by_side(place: Path, tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    flags = [f"x={place / 'mine'}", str(place / "base"), "--corpus", str(place / "deu"), "--samples", "2", "--text", "<i>Größe</i>"]
    assert main(["tokenizer", "compare", *flags, "--out", str(out)]) == 0
    found, page = json.loads(out.with_suffix(".json").read_text()), out.read_text()
    assert len(found["texts"]) == 3 and found["tokenizers"][0]["name"] == "x"
    assert found["tokenizers"][0]["tokens"] == sum(text["rows"][0]["tokens"] for text in found["texts"])
    assert "<i>Größe" not in page and "http" not in page
    with pytest.raises(DataError, match="does not exist"):
        compare_tokenizers([place / "mine"], tmp_path / "other.html", file=tmp_path / "none")


@pytest.mark.parametrize(
    ("pages", "base", "tone"), [(9, [2.0, 2.2], ""), (10, [2.0, 2.2], "good"), (10, [4.2, 4.4], "bad"), (10, [2.0, 3.95], "")]
)
def test_the_card_claims_nothing_on_few_pages_or_where_intervals_overlap(pages: int, base: list[float], tone: str) -> None:
    target = {"pages": pages, "bytes_per_token": {"value": 4.0, "interval": [3.9, 4.1]}, "fertility_isolated": 1.2}
    old = {"pages": pages, "bytes_per_token": {"value": sum(base) / 2, "interval": base}, "fertility_isolated": 1.9}
    rows = {row["label"]: row for row in table({"target": target, "base": old, "english": None})}
    assert rows["Bytes per token"]["tone"] == tone
    assert rows["Fertility, isolated"]["tone"] == "", "it has no interval"
