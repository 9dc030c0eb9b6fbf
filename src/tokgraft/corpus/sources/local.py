"""A folder, or one file, of .txt, .jsonl or .parquet."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

from tokgraft.artifacts import file_sha256
from tokgraft.config.language import Local
from tokgraft.corpus.ledger import Drops
from tokgraft.corpus.pages import Page
from tokgraft.corpus.sources import SOURCES, Loaded, Place, SourceKind
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
    root = Path(source.path)
    pages: list[Page] = []
    drops, size = Drops(), 0
    hashes = hashlib.sha256()
    heartbeat = Heartbeat(f"reading {root.name}", source.max_bytes or 0, "bytes")
    for path in _files(root):
        name = path.relative_to(root).as_posix() if root.is_dir() else path.name
        hashes.update(f"{name}\0{file_sha256(path)}\n".encode())
        for place_in_file, text in _documents(path, source.text):
            if source.max_bytes and size >= source.max_bytes:
                break
            page = document(name + place_in_file, text)
            if not page.paragraphs:
                drops.pages["no_text"] += 1
                continue
            size += page.size
            pages.extend(pieces(page) if path.suffix == ".txt" else [page])
            heartbeat.beat(size)
    if not pages:
        raise DataError(f"{root} holds no text", "give a folder of .txt, .jsonl or .parquet files that are not empty")
    facts = {"kind": "local", "name": root.name, "sha256": hashes.hexdigest(), "licence": "", "register": "given by the user"}
    return Loaded(pages, facts, drops=drops)


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
        text = path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is not UTF-8: byte {error.start} is 0x{error.object[error.start]:02x}",
            f"convert it, for example with `iconv -f WINDOWS-1252 -t UTF-8 {path.name}`",
        ) from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    if path.suffix == ".txt":
        yield "", text
        return
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield f"#{number}", _field(line, key, f"{path}:{number}")


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


SOURCES.add("local", SourceKind(check, read))
