"""Where the batches of a stage come from: `DataSource` is what the loop asks for, `PackedText` is text packed into sequences."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tokgraft.config.recipe import TrainingRecipe
from tokgraft.errors import DataError
from tokgraft.models.bits import prefix_token
from tokgraft.training.device import DeviceContext
from tokgraft.training.loss import IGNORE
from tokgraft.training.token_store import TokenStore, text_key

Encode = Callable[[Sequence[str]], list[list[int]]]


@dataclass(frozen=True)
class Batch:
    """One forward pass.

    Attributes:
        inputs: n x length token ids, on the device of the run.
        labels: n x length, the token that follows each; -100 where nothing is predicted.
    """

    inputs: Tensor
    labels: Tensor


class DataSource(ABC):
    """The text of one stage as batches. The numbers are known before the stage begins; what takes memory is loaded by its first batch."""

    name: str

    @property
    @abstractmethod
    def steps(self) -> int:
        """Optimizer steps of the stage."""

    @property
    @abstractmethod
    def bytes(self) -> int:
        """Bytes of text of the stage."""

    @abstractmethod
    def seen(self, steps: int) -> tuple[int, int]:
        """Tokens and bytes of text read after `steps` steps."""

    @abstractmethod
    def targets(self, step: int) -> int:
        """Predicted tokens of a step, over all processes."""

    @abstractmethod
    def batches(self, step: int, context: DeviceContext) -> Iterator[Batch]:
        """The forward passes of one process in a step; at least one, so that all processes step together."""

    @abstractmethod
    def close(self) -> None:
        """Give the memory back: the stage has ended."""


@dataclass
class PackedText(DataSource):
    """The documents of a stage one after the other, cut into sequences of equal length.

    Attributes:
        name: Name of the stage.
        length: Tokens of a sequence.
        batch: Sequences of a step.
        micro: Sequences of a forward pass; None: all that a process has in a step.
        fill: Token that fills the last sequence up; it is never predicted there.
        ends: Cumulated tokens after each document, with a 0 before the first.
        sizes: Cumulated bytes of text after each document, with a 0 before the first.
        replay_bytes: How many of the bytes are replay.
        load: Gives the tokens (`count` of them).
    """

    name: str
    length: int
    batch: int
    micro: int | None
    fill: int
    ends: NDArray[np.int64]
    sizes: NDArray[np.int64]
    replay_bytes: int
    load: Callable[[], NDArray[np.int32]]
    _tokens: NDArray[np.int32] | None = field(default=None, repr=False)

    @property
    def tokens(self) -> NDArray[np.int32]:
        """Token ids; every one but the first is predicted once. They stay in memory until `close`."""
        if self._tokens is None:
            self._tokens = self.load()
        return self._tokens

    def close(self) -> None:
        """Forget the tokens."""
        self._tokens = None

    @property
    def count(self) -> int:
        """Tokens of the stage: one stands before the first document, which is predicted from it."""
        return int(self.ends[-1]) + 1

    @property
    def sequences(self) -> int:
        """Packed sequences, the last one perhaps part filled."""
        return -(-(self.count - 1) // self.length)

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
        tokens = self.count if steps >= self.steps else min(steps * self.batch * self.length, self.count)
        return tokens, int(np.interp(tokens, self.ends, self.sizes))

    def targets(self, step: int) -> int:
        """Predicted tokens of a step, over all processes."""
        start = step * self.batch * self.length
        return min(self.batch * self.length, self.count - 1 - start)

    def rows(self, step: int, rank: int = 0, world: int = 1) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Inputs and labels (n x length; -100 where nothing is predicted) of one process in a step.

        With several processes sequences are dealt in turn; one that gets none takes a row without labels, so that all step together.
        """
        first = step * self.batch
        numbers = range(first + rank, min(first + self.batch, self.sequences), world)
        count = max(len(numbers), 1)
        inputs = np.full((count, self.length), self.fill, dtype=np.int64)
        labels = np.full((count, self.length), IGNORE, dtype=np.int64)
        for row, number in enumerate(numbers):
            span = self.tokens[number * self.length : (number + 1) * self.length + 1]
            inputs[row, : len(span) - 1] = span[:-1]
            labels[row, : len(span) - 1] = span[1:]
        return inputs, labels

    def batches(self, step: int, context: DeviceContext) -> Iterator[Batch]:
        """The rows of one process in a step, `micro` at a time."""
        inputs, labels = map(torch.from_numpy, self.rows(step, context.rank, context.world))
        micro = self.micro or len(inputs)
        for start in range(0, len(inputs), micro):
            part = slice(start, start + micro)
            yield Batch(inputs[part].to(context.device), labels[part].to(context.device))


def pack(
    name: str, documents: Iterable[tuple[str, bool]], store: TokenStore, recipe: TrainingRecipe, draw: Encode | None = None
) -> PackedText:
    """Tokenize the documents of a stage and join them.

    A document is [BOS] text EOS, with the BOS that scoring puts before a document too; a tokenizer whose BOS is its EOS, or that has
    none, separates by EOS alone. Sequences are cut wherever their length ends, attention reaches across documents within a sequence
    (causal packing), positions count from the sequence's start.

    Args:
        name: Name of the stage.
        documents: (text, is replay); iterated over more than once.
        store: Encodes texts, or has them encoded.
        recipe: Lengths of sequences and batches.
        draw: Gives the tokens of all documents but replayed ones, another draw each time. They stay in memory.

    Raises:
        DataError: The text is shorter than one sequence.
        TokenizerError: There is neither BOS nor EOS.
    """
    prefix = prefix_token(store.tokenizer)
    end = prefix if store.tokenizer.eos_token_id is None else int(store.tokenizer.eos_token_id)
    opening = [] if prefix == end else [prefix]
    keys: list[bytes] = []
    drawn: list[NDArray[np.int32]] = []
    sizes, replay_bytes = [0], 0
    for text, replay in documents:
        size = len(text.encode())
        sizes.append(sizes[-1] + size)
        replay_bytes += size if replay else 0
        if draw is None:
            keys.append(text_key(text))
        else:
            drawn.append(np.array((store.encode if replay else draw)([text])[0], dtype=np.int32))
    lengths = store.lengths(keys, documents) if draw is None else np.array([len(ids) for ids in drawn], dtype=np.int64)
    ends = np.concatenate([[0], np.cumsum(lengths + len(opening) + 1)])
    if ends[-1] < recipe.sequence_length:
        raise DataError(
            f"stage {name!r}: {sizes[-1]:,} bytes of text are {ends[-1]:,} tokens, less than one sequence of {recipe.sequence_length:,}",
            "give more bytes to the stage or shorten sequence_length",
        )

    def load() -> NDArray[np.int32]:
        # One `end` more stands before the first document, whose first token is predicted from it as that of every later one is.
        tokens = np.full(ends[-1] + 1, end, dtype=np.int32)
        starts = ends[:-1] + 1
        if opening:
            tokens[starts] = prefix
            starts += 1
        if draw is None:
            store.copy(keys, documents, tokens, starts)
        for start, ids in zip(starts, drawn):
            tokens[start : start + len(ids)] = ids
        return tokens

    return PackedText(
        name, recipe.sequence_length, recipe.batch_size, recipe.micro_batch_size, end, ends, np.array(sizes), replay_bytes, load
    )
