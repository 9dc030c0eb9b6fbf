"""What a method is given, and the rows that come of it. Arrays are numpy's, in float32."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from typing import Any, Literal, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from tokgraft.config.base import ConfigFile
from tokgraft.errors import ConfigError
from tokgraft.numerics.types import Floats, Ints
from tokgraft.overlap import Match, overlap
from tokgraft.segmenter import Segmenter
from tokgraft.vocab import Vocabulary

How = Literal["copied", "role", "stand_in", "combined", "mapped", "trained", "fallback", "random", "override"]


class Params(ConfigFile):
    """Parameters of a method or refiner: typed, described, defaulted; unknown ones are errors."""

    kind = "method"


@dataclass(frozen=True)
class Provenance:
    """Where the row of one target token comes from.

    Attributes:
        how: "copied" (the same token of the source), "role" (special token by role or string), "stand_in" (special token whose source token
            is another's, too: as "role", but it cannot be predicted), "combined" (from source rows), "mapped" (through another model's
            space), "trained", "fallback" (the mean of the source rows, for want of anything better), "random", "override" (as the user said).
        sources: Source ids it is made from, where it is made from few.
    """

    how: How
    sources: tuple[int, ...] = ()


class States(Protocol):
    """Runs the base model's body with new input rows."""

    def __call__(self, rows: Rows, documents: Sequence[npt.NDArray[np.int32]]) -> Floats:
        """The final hidden states that the tokens of documents are predicted from.

        Args:
            rows: The new rows; only the input table counts.
            documents: Ids of each document, what it is predicted from (its first id) included.

        Returns:
            (n, d_out), one state for each token but the first of each document, in order. The logits of an output table U are
            states @ U.T (+ bias), which includes a constant scale of the logits where the model has one.

        Raises:
            ModelError: The model's logits are something else (soft cap, masked language model), or a state is not finite.
        """


T = TypeVar("T")


def given(part: T | None, name: str) -> T:
    """A part of a transplant that a method cannot do without.

    Raises:
        ConfigError: The transplant was made without it.
    """
    if part is None:
        raise ConfigError(f"this transplant was made without {name}, which the method needs", f"give Transplant(..., {name}=...)")
    return part


@dataclass(frozen=True)
class Transplant:
    """What a method is given.

    Attributes:
        source: Vocabulary of the base model.
        target: The new vocabulary.
        E: Input table of the base, (len(source), d), float32; rows of ids without a token are included, padding behind them is not.
        U: Output table, (len(source), d_out); the same object as `E` when the model is tied.
        bias: Bias of the head, (len(source),), or None.
        columns: Numbers of each token in tables beside input and output table (Gemma 3n's embeddings of each layer, a second part of a head),
            (len(source), k), float32; None for most models. What makes the bias of a token makes them as well.
        segmenter: Cuts the bytes of a target token into source ids.
        resources: What the method requires, loaded, by name.
        seed: Seed; draw through `rng`, never from it directly.
        load_model: Gives a fresh copy of the base model, for methods that need forward passes.
        load_target_segmenter: Gives what cuts text into target ids, for methods that look at words in both tokenizers.
        states: What the model reads out of text with new input rows, for refiners of the head.
    """

    source: Vocabulary
    target: Vocabulary
    E: Floats
    U: Floats
    bias: Floats | None = None
    segmenter: Segmenter | None = None
    resources: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    load_model: Callable[[], Any] | None = None
    load_target_segmenter: Callable[[], Segmenter] | None = None
    states: States | None = None
    columns: Floats | None = None

    @property
    def tied(self) -> bool:
        """Whether input and output table are one."""
        return self.U is self.E

    @property
    def tables(self) -> dict[str, Floats]:
        """The tables to fill: "input", and "output" when the model is untied."""
        return {"input": self.E} if self.tied else {"input": self.E, "output": self.U}

    @cached_property
    def overlap(self) -> dict[int, Match]:
        """Target id -> the same source token (`tokgraft.overlap.overlap`)."""
        return overlap(self.source, self.target)

    @cached_property
    def specials(self) -> dict[int, Match]:
        """The part of `overlap` that special tokens make."""
        return {number: match for number, match in self.overlap.items() if self.target[number].kind == "special"}

    @cached_property
    def pieces(self) -> dict[int, tuple[int, ...]]:
        """Target id -> source ids that write its bytes, for every target token that stands for text.

        Raises:
            ConfigError: The transplant was made without a segmenter.
        """
        return self._cut(self.target.text_ids)

    @cached_property
    def new_pieces(self) -> dict[int, tuple[int, ...]]:
        """`pieces` of the tokens that the source lacks.

        Raises:
            ConfigError: The transplant was made without a segmenter.
        """
        new = [number for number in self.target.text_ids if number not in self.overlap]
        if "pieces" in vars(self):
            return {number: self.pieces[number] for number in new}
        return self._cut(new)

    def _cut(self, ids: Sequence[int]) -> dict[int, tuple[int, ...]]:
        found = given(self.segmenter, "segmenter").pieces_many([self.target[number].text for number in ids])
        return dict(zip(ids, map(tuple, found)))

    @cached_property
    def live(self) -> Ints:
        """Source ids that have a token: the only rows that statistics may use."""
        return np.array(self.source.ids, dtype=np.int64)

    def others(self, *known: Iterable[int]) -> list[int]:
        """Target ids that have a token and are in none of `known`, in canonical order."""
        taken = set(chain.from_iterable(known))
        return [number for number in self.target.canonical_order if number not in taken]

    def rng(self, name: str) -> np.random.Generator:
        """A generator of its own for each `name`, so that no draw depends on what else was drawn before."""
        digest = hashlib.sha256(name.encode()).digest()
        return np.random.default_rng([self.seed, *np.frombuffer(digest[:16], dtype=np.uint32).tolist()])


@dataclass(frozen=True)
class Rows:
    """The new rows of every target id.

    Attributes:
        input: New input rows, (len(target), d), float32.
        output: New output rows, (len(target), d_out), or None when the model is tied. A refiner that is declared to may give a tied model
            output rows of its own, which unties it.
        bias: New bias of the head, (len(target),), or None when it has none.
        provenance: For every target id, also those without a token.
        stats: What the method reports about its work; JSON values.
        columns: New rows of `Transplant.columns`, (len(target), k), or None where the model has none.
    """

    input: Floats
    output: Floats | None
    bias: Floats | None
    provenance: tuple[Provenance, ...]
    stats: Mapping[str, Any] = field(default_factory=dict)
    columns: Floats | None = None

    @property
    def made(self) -> Ints:
        """Ids of the rows that were made and not copied, ascending."""
        return np.array([number for number, way in enumerate(self.provenance) if way.how not in ("copied", "role")], dtype=np.int64)
