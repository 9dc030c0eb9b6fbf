from __future__ import annotations

import builtins
import random
from pathlib import Path
from typing import Any

import pytest
import uroman

from tokgraft.config.language import CorpusSettings
from tokgraft.corpus.build import build_corpus
from tokgraft.corpus.pages import read_pages
from tokgraft.corpus.romanize import romanize, romanizer
from tokgraft.errors import ConfigError

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


def test_the_language_is_identified_before_its_letters_are_gone(tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.mkdir()
    words = [
        "πίνακας",
        "τιμές",
        "γραμμή",
        "στήλη",
        "εικόνα",
        "αρχείο",
        "μενού",
        "διάλογος",
        "επιλογή",
        "σελίδα",
        "έγγραφο",
        "παράγραφος",
        "χρώμα",
        "περίγραμμα",
        "σύμβολο",
    ]
    draw = random.Random(0)
    for number in range(90):
        (text / f"{number}.txt").write_text("Το κείμενο: " + " ".join(draw.choices(words, k=25)), encoding="utf-8")
    (text / "german.txt").write_text("Dies ist eine deutsche Seite mit genügend Wörtern, um erkannt zu werden.")
    folder = build_corpus(greek(text), tmp_path / "out")
    pages = [page for split in ("train", "dev", "test") for page in read_pages(folder / f"{split}.jsonl")]
    assert pages and all(page.text.isascii() and "keimeno" in page.text for page in pages)
    steps = (folder / "counts.json").read_text()
    assert "other_language" in steps and '"romanize"' in steps


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
