"""Documents of a run: which pages of the corpora each stage reads, in which order, cut where.

They depend on corpus, budget, replay share and seed, never on the tokenizer: cells that differ only in the tokenizer read the same bytes in
the same order. Nothing here needs more memory than an index of the pages.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator
from pathlib import Path

from tokgraft import documents
from tokgraft.config.recipe import TrainingStage
from tokgraft.errors import DataError

BLOCK = 64  # pages that are read at once


class Pages:
    """The pages of one split of a corpus, read from the file when they are asked for.

    Args:
        folder: Corpus artifact.
        split: "train", "dev" or "test".

    Raises:
        DataError: The file is missing, damaged or empty.
    """

    def __init__(self, folder: Path, split: str) -> None:
        self.path = documents.pages_file(folder, split)
        self.ids: list[str] = []
        self._offsets: list[int] = []
        self.bytes = 0
        try:
            with self.path.open("rb") as handle:
                offset = 0
                for number, line in enumerate(handle, 1):
                    page = self._page(line, number)
                    self.ids.append(page.id)
                    self.bytes += len(page.text.encode())
                    self._offsets.append(offset)
                    offset += len(line)
        except FileNotFoundError:
            raise DataError(f"{self.path} does not exist", "give a corpus folder (`tokgraft corpus` makes one)") from None
        if not self.bytes:
            raise DataError(f"{self.path} holds no text", "give a corpus with more text, or one made with other splits")

    def __len__(self) -> int:
        return len(self.ids)

    def texts(self, numbers: list[int]) -> list[str]:
        """Texts of the pages with these numbers."""
        found = []
        with self.path.open("rb") as handle:
            for number in numbers:
                handle.seek(self._offsets[number])
                found.append(self._page(handle.readline(), number + 1).text)
        return found

    def _page(self, line: bytes, number: int) -> documents.Page:
        return documents.parse_page(line, f"{self.path}, line {number}")

    def order(self, seed: int, epoch: int) -> list[int]:
        """Numbers of all pages, shuffled by (seed, epoch): positions follow from hashes of the page ids, not from the order of the file."""
        keys = [hashlib.sha256(f"{seed}:{epoch}:{page}".encode()).digest() for page in self.ids]
        return sorted(range(len(self.ids)), key=keys.__getitem__)

    def sample(self, budget: int) -> list[str]:
        """Up to `budget` bytes from the first pages (the file stands in hash order), each cut so that at least ten pages are sampled."""
        taken: list[str] = []
        left = budget
        for number in range(len(self)):
            if left <= 0:
                break
            text = cut(self.texts([number])[0], min(max(budget // 10, 1000), left))
            left -= len(text.encode())
            taken.append(text)
        return [text for text in taken if text]


def cut(text: str, limit: int) -> str:
    """`text`, or its longest part of whole lines that has at most `limit` bytes; inside a line only if the first one is longer."""
    raw = text.encode()
    if len(raw) <= limit:
        return text
    raw = raw[: limit + 1]
    end = raw.rfind(b"\n")
    return raw[: end if end > 0 else limit].decode(errors="ignore")


class PageStream:
    """Pages of a corpus without end: epoch after epoch, each in an order of its own.

    A copy (`copy.copy`) goes on from the same page on its own.
    """

    def __init__(self, pages: Pages, seed: int) -> None:
        self.pages = pages
        self.served = 0  # bytes
        self._seed = seed
        self._next = 0  # pages read, empty ones included
        self._order: list[int] = []
        self._block: list[str] = []

    @property
    def epochs(self) -> float:
        """How often the corpus has been read."""
        return self.served / self.pages.bytes

    def take(self, limit: int) -> str:
        """The next document, cut to at most `limit` bytes at a line's end (inside a line only if its first is longer)."""
        while not (page := self._read()):
            pass
        text = cut(page, limit)
        self.served += len(text.encode())
        return text

    def _read(self) -> str:
        epoch, at = divmod(self._next, len(self.pages))
        if at == 0:
            self._order = self.pages.order(self._seed, epoch)
        if at % BLOCK == 0:
            self._block = self.pages.texts(self._order[at : at + BLOCK])
        self._next += 1
        return self._block[at % BLOCK]


class StageDocuments:
    """The documents of a stage, as (text, is replay): `stage.bytes` in all; the last one of each corpus is cut to fit.

    Replay is mixed in evenly: the next document comes from the corpus that is furthest behind its share of the bytes so far. They can be
    iterated over again; each time they are read from the files. `then` says where the next stage goes on.

    Args:
        stage: The stage.
        target: Pages of the language, at the first one that the stage reads.
        english: Pages for replay.

    Raises:
        DataError: The stage replays English and there is none.
    """

    def __init__(self, stage: TrainingStage, target: PageStream, english: PageStream | None) -> None:
        self._budgets = {True: round(stage.bytes * stage.replay), False: stage.bytes - round(stage.bytes * stage.replay)}
        if self._budgets[True] and english is None:
            raise DataError(
                f"stage {stage.name!r} replays {stage.replay:.0%} English, and no English corpus is given", "give --english DIR"
            )
        self._start = (target, english)
        self.then = self._start

    def __iter__(self) -> Iterator[tuple[str, bool]]:
        target, english = copy.copy(self._start[0]), copy.copy(self._start[1])
        budgets, used = dict(self._budgets), {True: 0, False: 0}
        while left := [replay for replay in (False, True) if used[replay] < budgets[replay]]:
            replay = min(left, key=lambda which: used[which] / budgets[which])
            stream = english if replay and english is not None else target
            text = stream.take(budgets[replay] - used[replay])
            if not text:  # fewer bytes are left than one character needs
                budgets[replay] = used[replay]
                continue
            used[replay] += len(text.encode())
            yield text, replay
        self.then = (target, english)
