"""Work that the inputs make impossible: an error alone, a reason that reaches the table in the workflow."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

import toys
import toytasks
from tokgraft import artifacts
from tokgraft.cells import load_cells
from tokgraft.cli import main
from tokgraft.matrix import load_matrix
from tokgraft.models.io import save_model
from tokgraft.places import Places, listing
from tokgraft.reporting.checks import check_products

REASON = "no paragraphs aligned with English"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project folder whose corpus has no parallel text."""
    monkeypatch.chdir(tmp_path)
    toytasks.write_corpus(tmp_path / "corpus", toys.german())
    (tmp_path / "corpus" / "pairs_train.jsonl").write_text("")
    tokenizer = toys.tokenizer("byte_level")
    save_model(toys.decoder(len(tokenizer), True), tokenizer, tmp_path / "base")
    toys.tokenizer("sp_bpe", 600, "both").save_pretrained(tmp_path / "new")
    return tmp_path


def test_alone_it_is_an_error(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["resource", "--name", "dictionary", "--corpus", "corpus", "--out", "dictionary"]) == 2
    assert REASON in capsys.readouterr().err and not (place / "dictionary").exists()


def test_the_reason_travels_to_the_table(place: Path) -> None:
    matrix = load_matrix(
        '{"name": "x", "grids": [{"models": ["pocket"], "languages": ["deu_Latn"], "tokenizers": ["bpe8k"], "methods": ["wechsel"],'
        ' "recipes": ["pocket-demo"], "tasks": ["bpb"]}]}',
        Path(__file__).parents[2] / "config",
    )
    cell = Places(matrix).cell(matrix.cells[0])
    texts = ["--corpus", "corpus"]
    assert main(["resource", "--name", "dictionary", *texts, "--or-skip", "--out", "dictionary"]) == 0
    assert REASON in str(artifacts.skipped(place / "dictionary")) and artifacts.verify(place / "dictionary") == []
    given = ["--resource", "dictionary=dictionary", "--resource", "word_vectors=corpus"]
    new = ["--model", "base", "--tokenizer", "new", "--method", "wechsel"]
    assert main(["transplant", *new, *given, "--or-skip", "--out", cell["init"]]) == 0
    assert main(["train", "--model", cell["init"], *texts, "--recipe", "x", "--or-skip", "--out", cell["trained"]]) == 0
    for stage in ("init", "trained"):
        assert main(["score", "--model", cell[stage], *texts, "--tasks", "bpb", "--or-skip", "--out", cell[f"score_{stage}"]]) == 0
    assert artifacts.read(Path(cell["score_trained"]))["inputs"] == {"model": artifacts.fingerprint(Path(cell["trained"]))}
    Path("cells.json").write_text(json.dumps(listing(matrix)))
    assert REASON in str(load_cells(Path("cells.json")).cells[0].reason)
    assert check_products(load_cells(Path("cells.json"))) == []
    assert main(["report", "--cells", "cells.json", "--out", "tables"]) == 0
    with open("tables/leaderboard.csv", encoding="utf-8") as handle:
        assert all(row["status"].startswith("skipped: ") and REASON in row["status"] for row in csv.DictReader(handle))
    assert REASON in Path("tables/report.html").read_text()


def test_other_errors_stay_errors(place: Path) -> None:
    assert main(["resource", "--name", "dictionary", "--corpus", "nowhere", "--or-skip", "--out", "dictionary"]) == 2
    assert not (place / "dictionary").exists()


def test_a_method_that_cannot_treat_the_model_is_skipped(place: Path) -> None:
    toys.tokenizer("unigram", 600, "both").save_pretrained(place / "unigram")
    assert main(["resource", "--name", "merges", "--tokenizer", "unigram", "--or-skip", "--out", "merges"]) == 0
    assert "Unigram" in str(artifacts.skipped(place / "merges"))
