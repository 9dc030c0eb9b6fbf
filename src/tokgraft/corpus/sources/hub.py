"""A data set of the Hugging Face Hub, streamed at a pinned revision up to a number of bytes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

from tokgraft.config.language import Hub
from tokgraft.corpus.ledger import Drops
from tokgraft.corpus.pages import Page
from tokgraft.corpus.sources import SOURCES, Loaded, Place, SourceKind
from tokgraft.corpus.sources._documents import document
from tokgraft.errors import DataError
from tokgraft.logs import Heartbeat

OFFLINE = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE")
INSTEAD = "or use a source of kind `local` or `apt_help` (docs/languages.md)"


def check(source: Hub, place: Place) -> None:
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


def read(source: Hub, place: Place) -> Loaded:
    """The first documents of the data set, until `max_bytes` of text are read.

    Raises:
        DataError: The data set cannot be streamed, or lacks the text column.
    """
    import datasets

    where = f"{source.id} ({source.config or 'default'}, {source.split})"
    try:
        rows = datasets.load_dataset(source.id, source.config, split=source.split, revision=source.revision, streaming=True)
        pages, drops = documents(rows, source.text, source.max_bytes, where)
    except DataError:
        raise
    except Exception as error:
        why = str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__
        raise DataError(f"the data set {where} cannot be streamed: {why}", f"correct `config`, `split` or `revision`, {INSTEAD}") from None
    facts = {"kind": "hub", "id": source.id, "config": source.config, "split": source.split, "revision": source.revision,
             "max_bytes": source.max_bytes, "licence": "see the data set's card", "register": "see the data set's card"}  # fmt: skip
    return Loaded(pages, facts, drops=drops)


def documents(rows: Iterable[Mapping[str, Any]], column: str, max_bytes: int, where: str) -> tuple[list[Page], Drops]:
    """Pages from rows, named by their place in the stream.

    Raises:
        DataError: A row lacks the text column.
    """
    pages, drops, size = [], Drops(), 0
    heartbeat = Heartbeat(f"streaming {where}", max_bytes, "bytes")
    for number, row in enumerate(rows):
        if not isinstance(row.get(column), str):
            raise DataError(f"row {number} of {where} has no text under {column!r} (found: {', '.join(sorted(row))})",
                            "name the column as `text` of the source")  # fmt: skip
        page = document(f"row{number:09d}", row[column])
        if page.paragraphs:
            pages.append(page)
            size += page.size
        else:
            drops.pages["no_text"] += 1
        heartbeat.beat(size)
        if size >= max_bytes:
            break
    return pages, drops


SOURCES.add("hub", SourceKind(check, read))
