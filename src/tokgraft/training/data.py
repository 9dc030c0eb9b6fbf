"""Text of a run: which documents each stage reads, in which order, and their tokens packed into sequences.

The documents and their order depend on corpus, budget, replay share and seed, never on the tokenizer: cells that differ only in the
tokenizer read the same bytes in the same order. Nothing here needs more memory than an index of the pages and the tokens of one stage.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokgraft import documents
from tokgraft.config.recipe import Stage
from tokgraft.errors import DataError
from tokgraft.models.bits import prefix_token

ENCODE_BATCH = 512
Encode = Callable[[Sequence[str]], list[list[int]]]


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
        """Numbers of all pages, shuffled by (seed, epoch): a page's place follows from a hash of its id, not from its place in the file."""
        keys = [hashlib.sha256(f"{seed}:{epoch}:{page}".encode()).digest() for page in self.ids]
        return sorted(range(len(self.ids)), key=keys.__getitem__)

    def sample(self, budget: int) -> list[str]:
        """Up to `budget` bytes from the first pages (the file stands in hash order), each cut so that at least ten pages are heard."""
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


class Stream:
    """Documents of a corpus without end: epoch after epoch, each in an order of its own."""

    def __init__(self, pages: Pages, seed: int) -> None:
        self.pages = pages
        self.served = 0
        self._seed = seed
        self._source = self._read()

    @property
    def epochs(self) -> float:
        """How often the corpus has been read."""
        return self.served / self.pages.bytes

    def take(self, limit: int) -> str:
        """The next document, cut to at most `limit` bytes at a line's end (inside a line only if its first is longer)."""
        text = cut(next(self._source), limit)
        self.served += len(text.encode())
        return text

    def _read(self) -> Iterator[str]:
        epoch = 0
        while True:
            order = self.pages.order(self._seed, epoch)
            for start in range(0, len(order), 64):
                yield from (text for text in self.pages.texts(order[start : start + 64]) if text)
            epoch += 1


def stage_documents(stage: Stage, target: Stream, english: Stream | None) -> Iterator[tuple[str, bool]]:
    """The documents of a stage, (text, is replay), `stage.bytes` in all; the last one of each stream is cut to fit.

    Replay is mixed in evenly: the next document comes from the stream that is furthest behind its share of the bytes so far.

    Raises:
        DataError: The stage replays English and there is none.
    """
    budgets = {True: round(stage.bytes * stage.replay), False: stage.bytes - round(stage.bytes * stage.replay)}
    if budgets[True] and english is None:
        raise DataError(f"stage {stage.name!r} replays {stage.replay:.0%} English, and no English corpus is given", "give --english DIR")
    used = {True: 0, False: 0}
    while True:
        left = [replay for replay in (False, True) if used[replay] < budgets[replay]]
        if not left:
            return
        replay = min(left, key=lambda which: used[which] / budgets[which])
        stream = english if replay and english is not None else target
        text = stream.take(budgets[replay] - used[replay])
        if not text:  # fewer bytes are left than one character needs
            budgets[replay] = used[replay]
            continue
        used[replay] += len(text.encode())
        yield text, replay


@dataclass(frozen=True)
class Packed:
    """The tokens of one stage, all documents one after the other.

    Attributes:
        name: Name of the stage.
        tokens: Token ids, one more than are fed in (every token but the first is predicted once).
        length: Tokens of a sequence.
        batch: Sequences of a step.
        fill: Token that fills the last sequence up; it is never predicted there.
        ends: Cumulated tokens after each document, with a 0 before the first.
        sizes: Cumulated bytes of text after each document, with a 0 before the first.
        replay_bytes: How many of the bytes are replay.
    """

    name: str
    tokens: NDArray[np.int32]
    length: int
    batch: int
    fill: int
    ends: NDArray[np.int64]
    sizes: NDArray[np.int64]
    replay_bytes: int

    @property
    def sequences(self) -> int:
        """Packed sequences, the last one perhaps part filled."""
        return -(-(len(self.tokens) - 1) // self.length)

    @property
    def steps(self) -> int:
        """Optimizer steps."""
        return -(-self.sequences // self.batch)

    @property
    def bytes(self) -> int:
        """Bytes of text."""
        return int(self.sizes[-1])

    def seen(self, steps: int) -> tuple[int, int]:
        """Tokens and bytes of text read after `steps` steps."""
        tokens = min(steps * self.batch * self.length, len(self.tokens))
        if steps >= self.steps:
            tokens = len(self.tokens)
        return tokens, int(np.interp(tokens, self.ends, self.sizes))

    def rows(self, step: int, rank: int = 0, world: int = 1) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Inputs and labels (n x length; -100 where nothing is predicted) of one process in a step.

        With several processes sequences are dealt in turn; one that gets none takes a row without labels, so that all step together.
        """
        first = step * self.batch
        numbers = range(first + rank, min(first + self.batch, self.sequences), world)
        count = max(len(numbers), 1)
        inputs = np.full((count, self.length), self.fill, dtype=np.int64)
        labels = np.full((count, self.length), -100, dtype=np.int64)
        for row, number in enumerate(numbers):
            span = self.tokens[number * self.length : (number + 1) * self.length + 1]
            inputs[row, : len(span) - 1] = span[:-1]
            labels[row, : len(span) - 1] = span[1:]
        return inputs, labels

    def targets(self, step: int) -> int:
        """Predicted tokens of a step, over all processes."""
        start = step * self.batch * self.length
        return min(self.batch * self.length, len(self.tokens) - 1 - start)


def pack(
    stage: Stage, documents: Iterator[tuple[str, bool]], tokenizer: Any, length: int, batch: int, draw: Encode | None = None
) -> Packed:  # fmt: skip
    """Tokenize the documents of a stage and join them; with `draw`, that gives the tokens of all documents but replayed ones.

    A document is [BOS] text EOS, with the BOS that scoring puts before a document too; a tokenizer whose BOS is its EOS, or that has
    none, separates by EOS alone. Sequences are cut wherever their length ends, attention reaches across documents within a sequence
    (causal packing), positions count from the sequence's start.

    Raises:
        DataError: The text is shorter than one sequence.
        TokenizerError: There is neither BOS nor EOS.
    """
    prefix = prefix_token(tokenizer)
    end = prefix if tokenizer.eos_token_id is None else int(tokenizer.eos_token_id)
    opening = [] if prefix == end else [prefix]
    parts: list[NDArray[np.int32]] = []
    ends, sizes, replay_bytes = [0], [0], 0
    for texts, flags in _batched(documents):
        found = tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]
        if draw is not None:
            found = [ids if replay else draw([text])[0] for text, replay, ids in zip(texts, flags, found)]
        for text, replay, ids in zip(texts, flags, found):
            part = np.array([*opening, *ids, end], dtype=np.int32)
            size = len(text.encode())
            parts.append(part)
            ends.append(ends[-1] + len(part))
            sizes.append(sizes[-1] + size)
            replay_bytes += size if replay else 0
    # The very first token needs something to be predicted from, as every later one has.
    tokens = np.concatenate([np.array([end], dtype=np.int32), *parts])
    if len(tokens) - 1 < length:
        raise DataError(
            f"stage {stage.name!r}: {sizes[-1]:,} bytes of text are {len(tokens) - 1:,} tokens, less than one sequence of {length:,}",
            "give more bytes to the stage or shorten sequence_length",
        )
    return Packed(stage.name, tokens, length, batch, end, np.array(ends), np.array(sizes), replay_bytes)


def _batched(documents: Iterator[tuple[str, bool]]) -> Iterator[tuple[list[str], list[bool]]]:
    texts: list[str] = []
    flags: list[bool] = []
    for text, replay in documents:
        texts.append(text)
        flags.append(replay)
        if len(texts) == ENCODE_BATCH:
            yield texts, flags
            texts, flags = [], []
    if texts:
        yield texts, flags
