"""A data set of the Hugging Face Hub, streamed at a pinned revision up to a number of bytes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tokgraft.config.language import Hub
from tokgraft.corpus.ledger import Drops
from tokgraft.corpus.sources import SOURCES, Loaded, Part, SourceFolders, SourceKind, Streamed
from tokgraft.corpus.sources._documents import document
from tokgraft.documents import Page
from tokgraft.errors import DataError
from tokgraft.logs import Heartbeat

OFFLINE = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE")
INSTEAD = "or use a source of kind `local` or `apt_help` (docs/languages.md)"


def check(source: Hub, place: SourceFolders) -> None:
    """Ask the Hub whether the data set and its revision exist.

    Raises:
        DataError: Offline, not there, or not allowed.
    """
    for name in OFFLINE:
        if os.environ.get(name, "").lower() in {"1", "true", "yes", "on"}:
            raise DataError(f"the data set {source.id} has to be streamed from the Hub, and {name} forbids it", f"unset {name}, {INSTEAD}")
    from huggingface_hub import HfApi
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    try:
        HfApi().dataset_info(source.id, revision=source.revision, timeout=20)
    except GatedRepoError:
        raise DataError(f"the data set {source.id} asks for consent", "accept its terms on the Hub and set HF_TOKEN") from None
    except RevisionNotFoundError:
        raise DataError(f"the data set {source.id} has no revision {source.revision}", "give the full commit of an existing one") from None
    except RepositoryNotFoundError:
        raise DataError(f"there is no data set {source.id}, or it is private", "correct `id`, or set HF_TOKEN") from None
    except Exception as error:
        why = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        raise DataError(
            f"the Hub cannot be reached for the data set {source.id}: {why}", f"see whether the network works, {INSTEAD}"
        ) from None


def read(source: Hub, place: SourceFolders) -> Loaded:
    """The first documents of the data set, until `max_bytes` of text are read.

    Raises:
        DataError: The data set cannot be streamed, or lacks the text column.
    """
    return stream(source, place, Part()).load()


def stream(source: Hub, place: SourceFolders, part: Part) -> Streamed:
    """The first documents of a part of the data set's files, until its share of `max_bytes` is read."""
    facts = {"kind": "hub", "id": source.id, "config": source.config, "split": source.split, "revision": source.revision,
             "max_bytes": source.max_bytes, "licence": "see the data set's card", "register": "see the data set's card"}  # fmt: skip
    drops = Drops()
    return Streamed(_pages(source, part, drops), facts, drops)


def _pages(source: Hub, part: Part, drops: Drops) -> Iterator[Page]:
    import datasets

    where = f"{source.id} ({source.config or 'default'}, {source.split})"
    try:
        rows = datasets.load_dataset(source.id, source.config, split=source.split, revision=source.revision, streaming=True)
        yield from documents(named_rows(rows, part), source.text, -(-source.max_bytes // part.count), where, drops)
    except DataError:
        raise
    except Exception as error:
        why = str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__
        raise DataError(f"the data set {where} cannot be streamed: {why}", f"correct `config`, `split` or `revision`, {INSTEAD}") from None


def named_rows(rows: Any, part: Part) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(name, row) of a part of a streamed data set: every `part.count`-th of its files, so that no two parts read the same one.

    With fewer files than parts, several parts read the same file and take its rows in turn. The names of rows do not depend on the
    number of parts, but a single part keeps the plain numbers of its stream.
    """
    if part.count == 1:
        yield from ((f"row{number:09d}", row) for number, row in enumerate(rows))
        return
    files = rows.num_shards
    for file in range(part.number % files, files, part.count):
        sharing = len(range(file, part.count, files)) if files < part.count else 1
        for number, row in enumerate(rows.shard(num_shards=files, index=file)):
            if number % sharing == part.number // files % sharing:
                yield f"file{file:05d}#row{number:09d}", row


def documents(rows: Iterable[tuple[str, Mapping[str, Any]]], column: str, max_bytes: int, where: str, drops: Drops) -> Iterator[Page]:
    """Pages from named rows; what holds no text is counted in `drops`.

    Raises:
        DataError: A row lacks the text column.
    """
    size = 0
    heartbeat = Heartbeat(f"streaming {where}", max_bytes, "bytes")
    for name, row in rows:
        if not isinstance(row.get(column), str):
            raise DataError(f"{name} of {where} has no text under {column!r} (found: {', '.join(sorted(row))})",
                            "name the column as `text` of the source")  # fmt: skip
        page = document(name, row[column])
        if page.paragraphs:
            yield page
            size += page.size
        else:
            drops.pages["no_text"] += 1
        heartbeat.beat(size)
        if size >= max_bytes:
            break


SOURCES.add("hub", SourceKind(check, read, stream))
