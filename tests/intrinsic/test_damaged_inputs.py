"""Commands that look into tokenizers and corpora refuse what is not what its manifest says, and write nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import toys
from tokgraft import artifacts
from tokgraft.cli import main
from toysubjects import corpus

ACTIONS: dict[str, Callable[[Path, Path], list[str]]] = {
    "compare": lambda tokenizer, text: [str(tokenizer), "--corpus", str(text)],
    "mixture": lambda tokenizer, text: ["--tokenizer", str(tokenizer), "--corpora", str(text), str(text.with_name("other"))],
    "adversarial": lambda tokenizer, text: ["--tokenizer", str(tokenizer), "--corpus", str(text)],
    "evaluate": lambda tokenizer, text: ["--tokenizer", str(tokenizer), "--corpus", str(text)],
}


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("damaged", ["tokenizer", "corpus", "file", "manifest"])
def test_a_damaged_input_is_refused(tmp_path: Path, action: str, damaged: str, capsys: pytest.CaptureFixture[str]) -> None:
    text, tokenizer, out = tmp_path / "text", tmp_path / "tokenizer", tmp_path / "out.html"
    for folder, slug in ((text, "deu_Latn"), (tmp_path / "other", "fra_Latn")):
        corpus(folder, slug, {split: [["Ein paar Worte, die Seite fuer Seite dastehen."]] for split in ("train", "dev", "test")})
    with artifacts.create(tokenizer, "tokenizer", {}) as folder:
        toys.tokenizer("byte_level").save_pretrained(folder)
    if damaged == "file":
        (text / "mine.txt").write_text("a file of one's own")
    elif damaged == "manifest":
        (tokenizer / "manifest.json").unlink()
    else:
        path = {"tokenizer": tokenizer / "tokenizer.json", "corpus": text / "test.jsonl"}[damaged]
        path.write_text(path.read_text() + " ")
    assert main(["tokenizer", action, *ACTIONS[action](tokenizer, text), "--out", str(out)]) == 2
    said = capsys.readouterr().err
    assert "is damaged: " in said and str(tokenizer if damaged in ("tokenizer", "manifest") else text) in said
    assert not out.exists()
