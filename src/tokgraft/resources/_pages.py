"""Train text of corpora, page by page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tokgraft import documents
from tokgraft.errors import DataError
from tokgraft.logs import Heartbeat

BATCH = 256


def texts(corpus: Path, doing: str, max_bytes: int | None = None) -> Iterator[str]:
    """Text of each page of the train split, its paragraphs joined by line ends.

    Args:
        corpus: Folder of a corpus artifact.
        doing: What the heartbeat calls the work.
        max_bytes: The pages that are read (`documents.within`); None: all.

    Raises:
        DataError: The folder has no train split, or no text in it.
    """
    path = documents.pages_file(corpus, "train")
    if not path.is_file():
        raise DataError(f"{path} does not exist", "give the folder of a corpus artifact")
    size = path.stat().st_size
    heartbeat, done = Heartbeat(doing, size if max_bytes is None else min(size, max_bytes), "bytes"), 0
    for page in documents.within(documents.pages(path), max_bytes):
        yield page.text
        done += page.size
        heartbeat.beat(done)
    if not done:
        raise DataError(f"{path} holds no text", "prepare the corpus again")


def batches(corpus: Path, doing: str, max_bytes: int | None = None) -> Iterator[list[str]]:
    """The texts of a corpus as `texts` gives them, in lists of at most `BATCH` pages."""
    batch: list[str] = []
    for text in texts(corpus, doing, max_bytes):
        batch.append(text)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
