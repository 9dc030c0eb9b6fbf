"""The files of a corpus: what is written is what is read, damage is named, and a budget of text means one thing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tokgraft import artifacts, documents
from tokgraft.documents import Page, Pair, Paragraph
from tokgraft.errors import DataError

PAGES = [
    Page("a/b", (Paragraph("h1:x:0", "h1", "Größe", 0), Paragraph("p:y:0", "p", "日本\u2028語", 2))),
    Page("c", ()),
    Page("d", (Paragraph("p::0", "p", "one"),)),
]


def test_pages_come_back_as_they_were_written(tmp_path: Path) -> None:
    documents.write_pages(tmp_path / "train.jsonl", PAGES)
    assert list(documents.pages(documents.pages_file(tmp_path, "train"))) == PAGES
    assert [documents.parse_page(documents.as_line(page), "here") for page in PAGES] == PAGES
    assert PAGES[0].text == "Größe\n日本\u2028語" and PAGES[0].size == len("Größe日本\u2028語".encode())


def test_pairs_come_back_as_they_were_written(tmp_path: Path) -> None:
    rows = [{"page": "a", "key": "p:1:0", "english": "size", "text": "Größe"}]
    documents.write_rows(path := documents.pairs_file(tmp_path, "dev"), rows)
    assert path.name == "pairs_dev.jsonl" and list(documents.pairs(path)) == [Pair(**rows[0])]


@pytest.mark.parametrize(
    "row",
    [
        [],
        {"id": 1, "paragraphs": []},
        {"id": "a"},
        {"id": "a", "paragraphs": {"key": "k"}},
        {"id": "a", "paragraphs": ["text"]},
        {"id": "a", "paragraphs": [{"key": "k", "tag": "p"}]},
        {"id": "a", "paragraphs": [{"key": "k", "tag": "p", "text": 1}]},
        {"id": "a", "paragraphs": [{"key": "k", "tag": "p", "text": "x", "at": "0"}]},
        {"id": "a", "paragraphs": [{"key": "k", "tag": "p", "text": "x", "at": True}]},
    ],
)
def test_a_line_that_is_no_page_is_named(row: object, tmp_path: Path) -> None:
    documents.write_pages(path := tmp_path / "test.jsonl", PAGES[:1])
    with path.open("a") as file:
        file.write(json.dumps(row) + "\n")
    with pytest.raises(DataError, match=r"test\.jsonl, line 2 is not a page"):
        list(documents.pages(path))


@pytest.mark.parametrize(("max_bytes", "count"), [(None, 4), (100, 4), (31, 4), (30, 3), (21, 3), (20, 2), (10, 1), (1, 1)])
def test_a_budget_gives_whole_texts_until_they_have_so_many_bytes(max_bytes: int | None, count: int) -> None:
    pairs = [Pair("page", str(number), "English", "x" * 10) for number in range(4)]
    pages = [Page(str(number), (Paragraph("", "p", "x" * 3), Paragraph("", "p", "ä" * 3))) for number in range(4)]
    assert list(documents.within(pairs, max_bytes)) == pairs[:count]
    assert list(documents.within(pages, max_bytes)) == pages[:count]
    assert list(documents.within([], max_bytes)) == []


def test_what_a_corpus_says_of_its_language(tmp_path: Path) -> None:
    language = {"name": "Thai", "words": "none", "iso639_3": "tha"}
    for slug, given, wanted in (
        ("tha_Thai", language, documents.About("tha_Thai", "Thai", "none", "tha")),
        ("deu_Latn", {}, documents.About("deu_Latn", "deu_Latn", "space", "deu")),
    ):
        with artifacts.create(tmp_path / slug, "corpus", {"slug": slug, "language": given}, {}, ()) as folder:
            documents.write_pages(folder / "train.jsonl", PAGES)
        assert documents.about(tmp_path / slug) == wanted
