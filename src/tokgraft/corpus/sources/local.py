"""A folder, or one file, of .txt, .jsonl or .parquet."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tokgraft.artifacts import file_sha256
from tokgraft.config.language import Local
from tokgraft.corpus.ledger import Drops
from tokgraft.corpus.pages import Page
from tokgraft.corpus.sources import SOURCES, Loaded, Part, Place, SourceKind, Streamed
from tokgraft.corpus.sources._documents import document, pieces
from tokgraft.errors import DataError
from tokgraft.logs import Heartbeat

SUFFIXES = (".txt", ".jsonl", ".parquet")


def check(source: Local, place: Place) -> None:
    """See that there are files to read."""
    _files(Path(source.path))


def read(source: Local, place: Place) -> Loaded:
    """The documents: every .txt file (in pieces when long), every line of .jsonl, every row of .parquet.

    Raises:
        DataError: Nothing to read, or a file that cannot be decoded; the message names file and byte, line or row.
    """
    return stream(source, place, Part()).load()


def stream(source: Local, place: Place, part: Part) -> Streamed:
    """Every `part.count`-th document, so that parts are of equal size; together they are what `read` gives.

    Every part goes through all files, because `max_bytes` counts what stands before. A .txt file is in memory whole.
    """
    root = Path(source.path)
    facts: dict[str, Any] = {"kind": "local", "name": root.name, "sha256": "", "licence": "", "register": "given by the user"}
    drops = Drops()
    return Streamed(_pages(source, root, part, facts, drops), facts, drops)


def _pages(source: Local, root: Path, part: Part, facts: dict[str, Any], drops: Drops) -> Iterator[Page]:
    size = number = 0
    hashes = hashlib.sha256()
    heartbeat = Heartbeat(f"reading {root.name}", source.max_bytes or 0, "bytes")
    for path in _files(root):
        name = path.relative_to(root).as_posix() if root.is_dir() else path.name
        hashes.update(f"{name}\0{file_sha256(path)}\n".encode())
        for place_in_file, text in _documents(path, source.text):
            if source.max_bytes and size >= source.max_bytes:
                break
            mine = number % part.count == part.number
            number += 1
            page = document(name + place_in_file, text)
            if not page.paragraphs:
                drops.pages["no_text"] += mine
                continue
            size += page.size
            if mine:
                yield from pieces(page) if path.suffix == ".txt" else [page]
            heartbeat.beat(size)
    if not size:
        raise DataError(f"{root} holds no text", "give a folder of .txt, .jsonl or .parquet files that are not empty")
    drops.pages = +drops.pages
    facts["sha256"] = hashes.hexdigest()


def _files(root: Path) -> list[Path]:
    if not root.exists():
        raise DataError(f"the source {root} does not exist", "correct `path` in the language file; it is relative to where the run starts")
    found = sorted(path for path in root.rglob("*") if path.is_file()) if root.is_dir() else [root]
    usable = [path for path in found if path.suffix in SUFFIXES]
    if not usable:
        seen = ", ".join(sorted({path.suffix or path.name for path in found})) or "nothing"
        raise DataError(f"the source {root} holds no .txt, .jsonl or .parquet file (found: {seen})", "convert the text to one of them")
    return usable


def _documents(path: Path, key: str) -> Iterator[tuple[str, str]]:
    """(place inside the file, text) of every document."""
    if path.suffix == ".parquet":
        yield from _parquet(path, key)
        return
    try:
        if path.suffix == ".txt":
            yield "", _decoded(path.read_bytes(), path, 0)
            return
        with path.open("rb") as handle:
            at = 0
            for number, line in enumerate(handle, 1):
                text = _decoded(line, path, at)
                if text.strip():
                    yield f"#{number}", _field(text.rstrip("\n"), key, f"{path}:{number}")
                at += len(line)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None


def _decoded(raw: bytes, path: Path, at: int) -> str:
    """Text of the bytes that stand at offset `at` of a file."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is not UTF-8: byte {at + error.start} is 0x{error.object[error.start]:02x}",
            f"convert it, for example with `iconv -f WINDOWS-1252 -t UTF-8 {path.name}`",
        ) from None


def _field(line: str, key: str, where: str) -> str:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise DataError(
            f"{where} is not JSON: {error.msg} (column {error.colno})", "every line of .jsonl must be one JSON object"
        ) from None
    if not isinstance(row, dict) or not isinstance(row.get(key), str):
        known = ", ".join(sorted(row)) if isinstance(row, dict) else type(row).__name__
        raise DataError(f"{where} has no text under {key!r} (found: {known})", "name the key as `text` of the source in the language file")
    return str(row[key])


def _parquet(path: Path, column: str) -> Iterator[tuple[str, str]]:
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as table:
            names = table.schema_arrow.names
            if column not in names:
                raise DataError(f"{path} has no column {column!r} (found: {', '.join(names)})", "name the column as `text` of the source")
            row = 0
            for batch in table.iter_batches(batch_size=1024, columns=[column]):
                for value in batch.column(0).to_pylist():
                    row += 1
                    if value is not None and not isinstance(value, str):
                        raise DataError(f"{path} row {row}: column {column!r} holds {type(value).__name__}, not text")
                    yield f"#{row}", value or ""
    except pyarrow.ArrowException as error:
        raise DataError(f"{path} is not a whole Parquet file: {error}", "write it again") from None


SOURCES.add("local", SourceKind(check, read, stream))
