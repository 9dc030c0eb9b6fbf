from __future__ import annotations

import json
from pathlib import Path

import pytest

from tokgraft.config.language import Hub, Local
from tokgraft.corpus.ledger import Drops
from tokgraft.corpus.sources import SOURCES, Part, SourceFolders, hub, local
from tokgraft.errors import ConfigError, DataError

PLACE = SourceFolders(Path("nowhere"), Path("nowhere"))


def read(path: Path, **more: object) -> list[tuple[str, list[str]]]:
    pages = local.read(Local(kind="local", path=str(path), **more), PLACE).pages
    return [(page.id, [paragraph.text for paragraph in page.paragraphs]) for page in pages]


def test_text_files_lines_and_blocks(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "b.txt").write_text("line one\nline two\n")
    (tmp_path / "sub/a.txt").write_bytes(b"first block\r\ngoes on\r\n\r\nsecond  block\r\n")
    (tmp_path / "empty.txt").write_text("\n")
    (tmp_path / "ignored.md").write_text("no")
    assert read(tmp_path) == [("b.txt", ["line one", "line two"]), ("sub/a.txt", ["first block goes on", "second block"])]
    assert read(tmp_path / "b.txt") == [("b.txt", ["line one", "line two"])]


def test_a_long_file_becomes_several_documents(tmp_path: Path) -> None:
    (tmp_path / "book.txt").write_text("\n".join(f"sentence {number} " + "x" * 90 for number in range(1000)))
    pages = local.read(Local(kind="local", path=str(tmp_path / "book.txt")), PLACE).pages
    assert [page.id for page in pages[:2]] == ["book.txt#00000", "book.txt#00001"]
    assert sum(len(page.paragraphs) for page in pages) == 1000
    assert all(page.size <= 20_200 for page in pages)


def test_jsonl_and_parquet(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    (tmp_path / "a.jsonl").write_text('{"body":"Été"}\n\n{"body":"deux\\n\\ntrois"}\n')
    pyarrow.parquet.write_table(pyarrow.table({"body": ["quatre", None, "cinq"]}), tmp_path / "b.parquet")
    assert read(tmp_path, text="body") == [
        ("a.jsonl#1", ["Été"]), ("a.jsonl#3", ["deux", "trois"]), ("b.parquet#1", ["quatre"]), ("b.parquet#3", ["cinq"]),
    ]  # fmt: skip
    assert len(read(tmp_path, text="body", max_bytes=6)) == 2


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"fine \xe4 not", r"a\.txt is not UTF-8: byte 5 is 0xe4\n.*iconv"),
        ("a.jsonl", b'{"text":"x"}\n{"text"', r"a\.jsonl:2 is not JSON"),
        ("a.jsonl", b'{"body":"x","id":1}', r"a\.jsonl:1 has no text under 'text' \(found: body, id\)"),
        ("a.jsonl", b"[1]", r"a\.jsonl:1 has no text under 'text' \(found: list\)"),
        ("a.parquet", b"PAR1 cut", r"a\.parquet is not a whole Parquet file"),
        ("a.txt", b" \n", r"holds no text"),
        ("a.pdf", b"x", r"holds no \.txt, \.jsonl or \.parquet file \(found: \.pdf\)"),
    ],
)
def test_bad_files_are_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        read(tmp_path)


def test_parquet_without_the_column(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.table({"body": ["x"], "number": [1]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"no column 'text' \(found: body, number\)"):
        read(tmp_path)
    with pytest.raises(DataError, match=r"row 1: column 'number' holds int, not text"):
        read(tmp_path, text="number")


def test_missing_and_empty_folders_are_seen_by_the_check(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent does not exist\n.*relative to where the run starts"):
        local.check(Local(kind="local", path=str(tmp_path / "absent")), PLACE)
    with pytest.raises(DataError, match=r"found: nothing"):
        local.check(Local(kind="local", path=str(tmp_path)), PLACE)


def hub_source() -> Hub:
    return Hub(kind="hub", id="some/data", revision="0" * 40)


def test_the_hub_is_not_asked_when_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(DataError, match=r"some/data has to be streamed from the Hub, and HF_HUB_OFFLINE forbids it\n.*unset"):
        hub.check(hub_source(), PLACE)


def test_an_unreachable_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants

    for name in hub.OFFLINE:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    with pytest.raises(DataError, match=r"the Hub cannot be reached for the data set some/data"):
        hub.check(hub_source(), PLACE)


def test_streamed_rows_up_to_the_cap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"text": f"row {number}\n\nmore", "id": number}) + "\n" for number in range(100)))
    rows = datasets.load_dataset("json", data_files=str(path), split="train", streaming=True)
    drops = Drops()
    pages = list(hub.documents(hub.named_rows(rows, Part()), "text", 50, "rows", drops))
    assert [page.id for page in pages] == [f"row{number:09d}" for number in range(6)]
    assert [paragraph.text for paragraph in pages[1].paragraphs] == ["row 1", "more"]
    assert not drops.pages
    with pytest.raises(DataError, match=r"row000000000 of rows has no text under 'body' \(found: id, text\)"):
        list(hub.documents(hub.named_rows(rows, Part()), "body", 50, "rows", drops))


def test_the_kinds_are_found() -> None:
    assert SOURCES.names() == ["apt_help", "hub", "local"]
    with pytest.raises(ConfigError, match=r"unknown source kind 'locale'.*\n.*local"):
        SOURCES.get("locale")
