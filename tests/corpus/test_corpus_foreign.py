"""Sources from elsewhere that are damaged or made to harm: one DataError, soon, and without filling the memory."""

from __future__ import annotations

import gzip
import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

import foreign
from tokgraft import artifacts
from tokgraft.config.language import Local
from tokgraft.corpus.sources import SourceFolders, _apt, _deb, local
from tokgraft.corpus.sources._help_html import parse
from tokgraft.corpus.sources.apt_help import extract
from tokgraft.errors import DataError

PLACE = SourceFolders(Path("unused"), Path("unused"))
PAGE = b'<div id="DisplayArea"><h1 id="a">Title</h1><p id="b">Some <span>text</span> &amp; more.</p></div>'
TIMES = 16_000


def read(path: Path, **more: Any) -> list[Any]:
    return local.read(Local(kind="local", path=str(path), **more), PLACE).pages


# --- pages of help ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tag", ["<a ", "</a ", "<!--a>", "<![CDATA[a>", "<![CDATA[a]>", "<?a "])
def test_a_page_full_of_tags_that_nothing_closes(tag: str) -> None:
    with pytest.raises(ValueError, match="nothing closes the last"):
        parse('<div id="DisplayArea">' + ">" * TIMES + tag * TIMES)
    with pytest.raises(DataError, match=r"text/evil\.html is no page of help: nothing closes"):
        extract([("help/de/text/evil.html", b'<div id="DisplayArea">' + tag.encode() * TIMES)])


@pytest.mark.parametrize("page", ["<a " * TIMES + ">", "<a " * TIMES + ">" * TIMES, "<a b='" * TIMES + ">", "<!--a>" * TIMES + "-->"])
def test_odd_pages_that_end_soon_are_read(page: str) -> None:
    parse('<div id="DisplayArea"><p id="a">One</p>' + page)


def test_a_page_of_any_length_is_refused() -> None:
    with pytest.raises(ValueError, match="more than 2,000,000"):
        parse("x" * 3_000_000)


# --- Debian packages ----------------------------------------------------------------------------------------------------


def package(path: Path, members: dict[str, bytes | int]) -> Path:
    """A package whose data.tar.gz holds these files; a number stands for so many zeros."""
    archive = io.BytesIO()
    with gzip.GzipFile(fileobj=archive, mode="wb", mtime=0) as packed, tarfile.open(fileobj=packed, mode="w") as tar:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = content if isinstance(content, int) else len(content)
            tar.addfile(entry, Zeros(content) if isinstance(content, int) else io.BytesIO(content))
    found = b"!<arch>\n"
    for name, content in (("debian-binary", b"2.0\n"), ("control.tar.gz", gzip.compress(b"")), ("data.tar.gz", archive.getvalue())):
        found += f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n".encode() + content + b"\n" * (len(content) % 2)
    path.write_bytes(found)
    return path


class Zeros(io.RawIOBase):
    def __init__(self, left: int) -> None:
        self.left = left

    def read(self, size: int = -1) -> bytes:
        size = min(size, self.left)
        self.left -= size
        return bytes(size)


@pytest.fixture
def without_dpkg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))


@pytest.mark.usefixtures("without_dpkg")
def test_a_package_that_unpacks_to_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(_deb.files(package(tmp_path / "a.deb", {"./help/a.html": PAGE, "./b.bin": 10}), ".html")) == [("help/a.html", PAGE)]
    with foreign.little_memory(), pytest.raises(DataError, match=r"a\.deb unpacks to more.*1 files, the last of 30,000,000 bytes"):
        list(_deb.files(package(tmp_path / "a.deb", {"./help/a.html": 30_000_000}), ".html"))
    monkeypatch.setattr(_deb, "TOTAL", 1_000_000)
    with pytest.raises(DataError, match="more than 1,000,000 bytes"):  # in a file that is passed over
        list(_deb.files(package(tmp_path / "a.deb", {"./b.bin": 2_000_000, "./help/a.html": PAGE}), ".html"))
    monkeypatch.setattr(_deb, "MEMBERS", 3)
    with pytest.raises(DataError, match="4 files"):
        list(_deb.files(package(tmp_path / "a.deb", {f"./{number}.html": PAGE for number in range(5)}), ".html"))


@pytest.mark.usefixtures("without_dpkg")
def test_a_damaged_package_is_read_or_refused(tmp_path: Path) -> None:
    content = package(tmp_path / "a.deb", {"./help/de/text/a.html": PAGE, "./help/de/text/b.html": PAGE, "./x": b"y"}).read_bytes()
    path = tmp_path / "b.deb"
    with foreign.little_memory():
        for damaged in foreign.damaged(content, 200):
            path.write_bytes(damaged)
            foreign.survives(lambda: extract(_deb.files(path, ".html")))


# --- local files --------------------------------------------------------------------------------------------------------


def parquet(path: Path, values: Any) -> Path:
    pyarrow.parquet.write_table(pyarrow.table({"text": values}), path, compression="zstd")
    return path


def test_a_text_that_a_parquet_file_repeats_is_bounded_by_max_bytes(tmp_path: Path) -> None:
    rows = pyarrow.DictionaryArray.from_arrays(pyarrow.array([0] * 100_000, pyarrow.int32()), ["Ein Satz. " * 100_000])
    path = parquet(tmp_path / "a.parquet", rows)  # 100 GB of text in some kilobytes
    assert path.stat().st_size < 100_000
    with foreign.little_memory():
        pages = read(path, max_bytes=2_500_000)
    assert len(pages) == 3 and pages[0].text.startswith("Ein Satz. Ein")


def test_a_row_group_that_unpacks_without_measure_is_said_to_do_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = parquet(tmp_path / "a.parquet", ["x" * 20_000_000])
    monkeypatch.setattr(local, "GROUP", 1_000_000)
    with pytest.raises(DataError, match=r"row group 0 unpacks from [\d,]+ to [\d,]+ bytes of column 'text'"):
        read(path)


def test_parquet_text_that_is_not_utf8_and_other_columns(tmp_path: Path) -> None:
    bad = pyarrow.array([b"Gr\xf6\xdfe"]).cast(pyarrow.binary()).view(pyarrow.string())
    with pytest.raises(DataError, match="not UTF-8"):
        read(parquet(tmp_path / "a.parquet", bad))
    for values, says in (([1, 2], "holds int, not text"), ([["a"]], "holds list, not text")):
        with pytest.raises(DataError, match=says):
            read(parquet(tmp_path / "a.parquet", values))
    assert len(read(parquet(tmp_path / "a.parquet", pyarrow.array(["a", None, "b"], pyarrow.large_string())))) == 2


def test_a_damaged_parquet_file_is_read_or_refused(tmp_path: Path) -> None:
    content = parquet(tmp_path / "a.parquet", [f"Satz {number}" for number in range(200)]).read_bytes()
    with foreign.little_memory():
        for damaged in foreign.damaged(content, 200):
            (tmp_path / "a.parquet").write_bytes(damaged)
            foreign.survives(lambda: read(tmp_path / "a.parquet"))


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (rb'{"text": "\ud800"}', "half of a surrogate pair"),
        (b"[" * 100_000, "nested too deeply"),
        (b"9" * 5000, "cannot be read"),
        (b"null", "has no text under"),
        (b'{"text": 1}', "has no text under"),
    ],
)  # fmt: skip
def test_a_line_that_is_no_document(tmp_path: Path, line: bytes, says: str) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"text": "one"}\n' + line + b"\n")
    with pytest.raises(DataError, match=says) as caught:
        read(tmp_path / "a.jsonl")
    assert "a.jsonl:2" in str(caught.value)


def test_damaged_lines_are_read_or_refused(tmp_path: Path) -> None:
    content = b"".join(json.dumps({"text": f"Satz {number}", "more": [1, {"a": None}]}).encode() + b"\n" for number in range(20))
    with foreign.little_memory():
        for damaged in foreign.damaged(content, 200):
            (tmp_path / "a.jsonl").write_bytes(damaged)
            foreign.survives(lambda: read(tmp_path / "a.jsonl"))


def test_a_file_name_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Text")
    with open(os.fsencode(tmp_path) + b"/gr\xf6\xdfe.txt", "w") as handle:
        handle.write("Text")
    with pytest.raises(DataError, match=r"gr\\xf6\\xdfe\.txt' is not UTF-8"):
        read(tmp_path)


def test_results_below_a_source_are_not_read_as_text(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Text")
    (tmp_path / "data").mkdir()
    (tmp_path / "data/manifest.json").write_text('{"files": []}')  # somebody else's
    assert len(read(tmp_path)) == 1
    with artifacts.create(tmp_path / "out", "corpus", {}) as folder:
        (folder / "paragraphs.txt").write_text("Not the language")
    with pytest.raises(DataError, match="holds a corpus that tokgraft made"):
        read(tmp_path)


# --- the lock -----------------------------------------------------------------------------------------------------------


def test_the_lock_lies_where_only_its_user_can_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "shared"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("tempfile.tempdir", None)
    (tmp_path / "shared").mkdir()
    precious = tmp_path / "precious"
    precious.write_text("kept")
    (tmp_path / "shared" / f"tokgraft-apt-{os.geteuid()}.lock").symlink_to(precious)
    with _apt._alone():
        assert (tmp_path / "cache/tokgraft/apt.lock").is_file()
    assert precious.read_text() == "kept"
    assert (tmp_path / "cache/tokgraft").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("kind", ["link", "writable", "file"])
def test_a_folder_that_others_can_write_to_holds_no_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    place = tmp_path / "tokgraft"
    if kind == "link":
        (tmp_path / "elsewhere").mkdir()
        place.symlink_to(tmp_path / "elsewhere")
    elif kind == "writable":
        place.mkdir()
        place.chmod(0o777)
    else:
        place.write_text("")
    with pytest.raises(DataError, match=r"only you can write to|cannot make the folder"), _apt._alone():
        pass
