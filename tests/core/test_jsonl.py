"""Readers of JSON and JSON Lines: only a line feed ends a record, and every flaw is one error that names file and line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tokgraft import documents, jsonl
from tokgraft.cells import read_jsonl
from tokgraft.documents import Page, Paragraph, write_pages
from tokgraft.errors import ConfigError, DataError
from tokgraft.intrinsic import inputs
from tokgraft.scoring.statistics import read_samples
from tokgraft.tokenizers import texts
from tokgraft.training.pages import Pages
from tokgraft.training.parts import old_rows

SEPARATORS = "\u2028\u2029\x85\x0b\x0c\x1c\x1d\x1e"
"""Where `str.splitlines` splits and JSON needs no escape (JSON escapes those below U+0020)."""


def write(path: Path, *rows: dict) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def test_training_reads_the_provenance_of_a_token_with_a_line_separator(tmp_path: Path) -> None:
    write(tmp_path / "provenance.jsonl", *({"id": number, "token": mark, "how": "copied"} for number, mark in enumerate(SEPARATORS)))
    ids = old_rows(tmp_path)
    assert ids is not None and ids.tolist() == list(range(len(SEPARATORS)))


def test_samples_of_a_page_whose_id_has_a_line_separator(tmp_path: Path) -> None:
    path = write(tmp_path / "bpb.jsonl", *({"page": f"a{mark}b", "bits": 8.0, "bytes": 4} for mark in SEPARATORS))
    assert len(read_samples(path).ids) == len(SEPARATORS)
    assert [row["page"] for row in read_jsonl(path)] == [f"a{mark}b" for mark in SEPARATORS]


def test_every_reader_of_pages_keeps_line_separators(tmp_path: Path) -> None:
    pages = [Page(f"a{mark}b", (Paragraph(f"p:{mark}:0", "p", f"one{mark}two", 0),)) for mark in SEPARATORS]
    write_pages(tmp_path / "train.jsonl", pages)
    text = [page.text for page in pages]
    assert list(documents.pages(tmp_path / "train.jsonl")) == pages
    assert texts.paragraphs(tmp_path, "train") == text and inputs.read_pages(tmp_path, "train", 10**6) == text
    assert Pages(tmp_path, "train").texts(list(range(len(pages)))) == text
    write(tmp_path / "pairs_test.jsonl", *({"page": "a", "key": "b", "english": mark, "text": mark} for mark in SEPARATORS))
    assert texts.pairs(tmp_path) == [(mark, mark) for mark in SEPARATORS]


def test_lines_that_a_user_gives_end_with_line_ends_only(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_bytes("a\u2028b\r\nc\x0cd\n\ne".encode())
    assert inputs.lines(tmp_path / "words.txt") == ["a\u2028b", "c\x0cd", "", "e"]
    with pytest.raises(DataError, match="cannot be read"):
        inputs.lines(tmp_path)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b'{"id": ', "line 2 is not JSON"),
        (b'{"id": "\xff"}', "line 2 is not UTF-8"),
        (b'{"id": "\\ud800"}', "line 2 holds half of a surrogate pair"),
        (b'{"\\uDC00": 1}', "line 2 holds half of a surrogate pair"),
        (b"[" * 100_000, "line 2 is nested too deeply"),
        (b"9" * 5000, "line 2 cannot be read"),
        (b"null", "line 2 holds null where an object is expected"),
        (b"[1]", "line 2 holds a list where an object is expected"),
    ],
    ids=["cut", "latin-1", "surrogate", "surrogate-key", "deep", "long-number", "null", "list"],
)
@pytest.mark.parametrize("read", [jsonl.records, documents.pages, documents.pairs, read_samples], ids=lambda read: read.__name__)
def test_a_flaw_is_one_error_with_its_line(tmp_path: Path, read: Callable, line: bytes, says: str) -> None:
    good = {"id": "a", "paragraphs": [], "page": "a", "key": "", "english": "", "text": "", "bits": 1, "bytes": 1}
    (tmp_path / "x.jsonl").write_bytes(json.dumps(good).encode() + b"\n" + line + b"\n")
    with pytest.raises(DataError, match=r"x\.jsonl, line 2") as caught:
        list(read(tmp_path / "x.jsonl"))
    assert says in str(caught.value) or "line 2 is not a pa" in str(caught.value)


def test_half_a_pair_is_refused_and_a_whole_one_is_read() -> None:
    assert jsonl.parse('"\\ud83d\\ude00"', "x") == "😀"
    assert jsonl.parse('"\\\\ud800"', "x") == "\\ud800"  # a backslash and letters


def test_settings_refuse_a_key_that_stands_twice() -> None:
    with pytest.raises(ConfigError, match="the key 'a' stands twice"):
        jsonl.parse('{"b": {"a": 1, "c": 2, "a": 3}}', "the settings", error=ConfigError, unique=True)


def test_a_file_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent\.json does not exist"):
        jsonl.read_json(tmp_path / "absent.json")
    with pytest.raises(DataError, match="cannot be read: Is a directory"):
        jsonl.read_json(tmp_path)
    with pytest.raises(DataError, match="cannot be read: Is a directory"):
        list(jsonl.records(tmp_path))
    (tmp_path / "a.json").write_text("null")
    with pytest.raises(DataError, match="holds null where an object is expected"):
        jsonl.read_object(tmp_path / "a.json")
