from __future__ import annotations

import builtins
import json
import random
from pathlib import Path
from typing import Any

import pytest
import uroman

from tokgraft import documents
from tokgraft.config.language import CorpusSettings
from tokgraft.corpus.build import build_corpus
from tokgraft.corpus.romanize import romanize, romanizer
from tokgraft.errors import ConfigError

WORDS = "πίνακας τιμές γραμμή στήλη εικόνα αρχείο μενού διάλογος επιλογή σελίδα έγγραφο παράγραφος χρώμα περίγραμμα σύμβολο"
GREEK = "Επιλέξτε το κείμενο και πατήστε το πλήκτρο Enter."
TEXTS = {
    "ell": GREEK, "kor": "텍스트를 선택합니다. 삼백이십 2023년", "hin": "पाठ चुनें और १२३ कुंजी दबाएँ; १२ लाख।", "tha": "เลือกข้อความ แล้วกด", "deu": "Größe ändern",
}  # fmt: skip


@pytest.mark.parametrize("code", TEXTS)
def test_a_text_word_by_word_is_what_uroman_makes_of_the_whole(code: str) -> None:
    found = romanize(TEXTS[code], code)
    assert found == uroman.Uroman().romanize_string(TEXTS[code], lcode=code)
    assert found.isascii() and found != TEXTS[code]
    assert romanize("Enter 12", code) == "Enter 12"


def greek(text: Path, **more: Any) -> CorpusSettings:
    language = {
        "name": "Greek (Latin letters)", "bcp47": "el-Latn", "iso639_3": "ell", "script": "Latn", "lid": ["el"], "romanize": True,
        "sources": [{"kind": "local", "path": str(text)}],
    }  # fmt: skip
    return CorpusSettings.parse({"slug": "ell_Latn", "language": language | more}, "test")


def write(folder: Path, start: str, words: str) -> None:
    folder.mkdir(exist_ok=True)
    draw = random.Random(0)
    for number in range(90):
        (folder / f"{number}.txt").write_text(f"{start} {' '.join(draw.choices(words.split(), k=25))}", encoding="utf-8")


def test_the_language_is_identified_before_its_letters_are_gone(tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.mkdir()
    write(text, "Το κείμενο:", WORDS)
    (text / "german.txt").write_text("Dies ist eine deutsche Seite mit genügend Wörtern, um erkannt zu werden.")
    folder = build_corpus(greek(text), tmp_path / "out")
    pages = [page for split in ("train", "dev", "test") for page in documents.pages(folder / f"{split}.jsonl")]
    assert pages and all(page.text.isascii() and "keimeno" in page.text for page in pages)
    steps = (folder / "counts.json").read_text()
    assert "other_language" in steps and '"romanize"' in steps


@pytest.mark.parametrize("shards", [1, 2])
def test_what_romanising_makes_equal_to_held_out_english_stays_out(tmp_path: Path, shards: int) -> None:
    write(tmp_path / "english", "The text:", "table value row column image file menu dialog choice page paragraph colour border symbol")
    settings = {"slug": "eng_Latn", "language": {"name": "English", "bcp47": "en", "iso639_3": "eng", "script": "Latn", "lid": [],
                                                 "sources": [{"kind": "local", "path": str(tmp_path / "english")}]}}  # fmt: skip
    english = build_corpus(CorpusSettings.parse(settings, "test"), tmp_path / "eng")
    write(tmp_path / "text", "Το κείμενο:", WORDS)
    wide = str.maketrans({chr(code): chr(code + 0xFEE0) for code in range(ord("!"), ord("~"))})
    held_out = next(documents.pages(english / "test.jsonl")).text
    for number in range(40):  # whatever split it falls into
        (tmp_path / "text" / f"leak-{number}.txt").write_text(held_out.translate(wide) + "\n\n" + GREEK * (number % 3), encoding="utf-8")
    folder = build_corpus(greek(tmp_path / "text", shards=shards, lid=[]), tmp_path / "out", english)
    steps = {step["step"]: step for step in json.loads((folder / "counts.json").read_text())["steps"]}
    assert steps["english"]["paragraphs"]["dropped"] == {}
    assert steps["english_romanized"]["paragraphs"]["dropped"] == {"english_held_out": 40}
    assert json.loads((folder / "card.json").read_text())["overlap"]["english_held_out_in_train"] == {"exact": 0}


def test_without_uroman_the_run_ends_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def missing(name: str, *args: Any, **more: Any) -> Any:
        if name == "uroman":
            raise ImportError(name)
        return real(name, *args, **more)

    romanizer.cache_clear()
    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ConfigError, match="needs the package uroman"):
        build_corpus(greek(tmp_path / "nothing"), tmp_path / "out")
    romanizer.cache_clear()
