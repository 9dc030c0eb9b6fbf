"""A folder, or one file, of .txt, .jsonl or .parquet."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from tokgraft import artifacts, jsonl
from tokgraft.artifacts import file_sha256
from tokgraft.config.language import Local
from tokgraft.corpus.ledger import Drops
from tokgraft.corpus.sources import SOURCES, Loaded, Part, SourceFolders, SourceKind, Streamed
from tokgraft.corpus.sources._documents import document, pieces
from tokgraft.documents import Page
from tokgraft.errors import ArtifactError, DataError
from tokgraft.logs import Heartbeat

SUFFIXES = (".txt", ".jsonl", ".parquet")
GROUP = 256_000_000  # bytes of a row group that may be unpacked whatever its packed size
RATIO = 1000


def check(source: Local, place: SourceFolders) -> None:
    """See that there are files to read."""
    _files(Path(source.path))


def read(source: Local, place: SourceFolders) -> Loaded:
    """The documents: every .txt file (in pieces when long), every line of .jsonl, every row of .parquet.

    Raises:
        DataError: Nothing to read, or a file that cannot be decoded; the message names file and byte, line or row.
    """
    return stream(source, place, Part()).load()


def stream(source: Local, place: SourceFolders, part: Part) -> Streamed:
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
    _check_names(root, found)
    usable = [path for path in found if path.suffix in SUFFIXES]
    if not usable:
        seen = ", ".join(sorted({path.suffix or path.name for path in found})) or "nothing"
        raise DataError(f"the source {root} holds no .txt, .jsonl or .parquet file (found: {seen})", "convert the text to one of them")
    return usable


def _check_names(root: Path, found: list[Path]) -> None:
    """Refuse what would not be text of the language, or could not be named in a corpus."""
    for path in found:
        try:
            str(path).encode("utf-8")
        except UnicodeEncodeError:
            raise DataError(f"the name of the file {os.fsencode(path)!r} is not UTF-8", "rename it") from None
        if path.name == artifacts.MANIFEST:
            with suppress(ArtifactError):
                kind = artifacts.read(path.parent)["kind"]
                raise DataError(
                    f"the source {root} holds a {kind} that tokgraft made ({path.parent}), whose files are no text of the language",
                    "write results elsewhere (--out), or give a folder that holds text only",
                )


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
    row = jsonl.parse(line, where, "every line of .jsonl must be one JSON object in UTF-8")
    if not isinstance(row, dict) or not isinstance(row.get(key), str):
        known = ", ".join(sorted(row)) if isinstance(row, dict) else type(row).__name__
        raise DataError(f"{where} has no text under {key!r} (found: {known})", "name the key as `text` of the source in the language file")
    return str(row[key])


def _parquet(path: Path, column: str) -> Iterator[tuple[str, str]]:
    import pyarrow
    import pyarrow.parquet

    try:
        metadata = pyarrow.parquet.read_metadata(path)
        schema = metadata.schema.to_arrow_schema()
        if column not in schema.names:
            raise DataError(
                f"{path} has no column {column!r} (found: {', '.join(schema.names)})", "name the column as `text` of the source"
            )
        _check_groups(path, metadata, column)
        # Values that a file holds once and repeats stay so, and are unfolded one at a time, so that `max_bytes` bounds what is taken.
        repeated = [column] if pyarrow.types.is_string(schema.field(column).type) else []
        with pyarrow.parquet.ParquetFile(path, metadata=metadata, read_dictionary=repeated) as table:
            row = 0
            for batch in table.iter_batches(batch_size=1024, columns=[column]):
                for scalar in batch.column(0):
                    row += 1
                    value = scalar.as_py()
                    if value is not None and not isinstance(value, str):
                        raise DataError(f"{path} row {row}: column {column!r} holds {type(value).__name__}, not text")
                    yield f"#{row}", value or ""
    except UnicodeDecodeError as error:
        raise DataError(f"{path} holds text in column {column!r} that is not UTF-8: {error}", "write it again as UTF-8") from None
    except (pyarrow.lib.ArrowMemoryError, pyarrow.lib.ArrowCapacityError) as error:
        raise DataError(f"{path} unpacks to more than the memory takes: {error}", "write it with smaller row groups") from None
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{path} is not a whole Parquet file: {error}", "write it again") from None


def _check_groups(path: Path, metadata: Any, column: str) -> None:
    """Refuse a row group that is a thousand times as large unpacked as in the file: no text is, only a file made to fill the memory."""
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        for part in (group.column(at) for at in range(group.num_columns)):
            packed, unpacked = part.total_compressed_size, part.total_uncompressed_size
            if part.path_in_schema == column and unpacked > max(GROUP, RATIO * packed):
                raise DataError(
                    f"{path}: row group {number} unpacks from {packed:,} to {unpacked:,} bytes of column {column!r}",
                    "if this is meant, write the file with smaller row groups",
                )


SOURCES.add("local", SourceKind(check, read, stream))
