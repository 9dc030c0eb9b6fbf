"""What a method is given, what it returns, and how it is registered.

A method is one module of this package: a class of parameters under `@method(...)`, and `build(task, params) -> Rows` beside it. A refiner
is the same with `@refiner(...)` and `refine(task, rows, params) -> Rows`. Methods work on numpy arrays in float32; what needs torch or
transformers imports them inside `build`, because the registry is imported whenever the workflow's graph is built.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from tokgraft.config.base import ConfigFile
from tokgraft.errors import ConfigError
from tokgraft.overlap import Match, overlap
from tokgraft.registry import Registry
from tokgraft.segmenter import Segmenter
from tokgraft.vocab import Vocabulary

Floats = npt.NDArray[np.float32]
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
        bias: Bias of the head, (len(source),), or None. `build` of a method is given (len(source), k), where the model has `columns`: what
            makes the bias of a token makes them as well.
        columns: Numbers of each token in tables beside input and output table (Gemma 3n's embeddings of each layer, a second part of a head),
            (len(source), k), float32; None for most models.
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

    @cached_property
    def overlap(self) -> dict[int, Match]:
        """Target id -> the same source token (`tokgraft.overlap.overlap`)."""
        return overlap(self.source, self.target)

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
    def live(self) -> npt.NDArray[np.int64]:
        """Source ids that have a token: the only rows that statistics may use."""
        return np.array(self.source.ids, dtype=np.int64)

    def rng(self, name: str) -> np.random.Generator:
        """A generator of its own for each `name`, so that no draw depends on what else was drawn before."""
        digest = hashlib.sha256(name.encode()).digest()
        return np.random.default_rng([self.seed, *np.frombuffer(digest[:16], dtype=np.uint32).tolist()])


@dataclass(frozen=True)
class Rows:
    """What a method returns.

    Attributes:
        input: New input rows, (len(target), d), float32.
        output: New output rows, (len(target), d_out), or None when the model is tied. A refiner that is declared to may give a tied model
            output rows of its own, which unties it.
        bias: New bias of the head, (len(target),), or None when it has none.
        provenance: For every target id, also those without a token.
        stats: What the method wants to tell about its work; JSON values.
        columns: New rows of `Transplant.columns`, (len(target), k), or None; the chain sets them.
    """

    input: Floats
    output: Floats | None
    bias: Floats | None
    provenance: tuple[Provenance, ...]
    stats: Mapping[str, Any] = field(default_factory=dict)
    columns: Floats | None = None


@dataclass(frozen=True)
class Registered:
    """A registered method or refiner.

    Attributes:
        name: Its name in chains.
        version: Raised when its results change.
        paper: Where it was published.
        params: Class of its parameters.
        requires: Names of the resources it needs.
        tied: Whether it can treat a model whose input and output table are one.
        untied: Whether it can treat a model with two tables.
        forward: Whether it runs the base model.
        keeps_tokenizer: Whether it works with the base's own tokenizer only.
        copies_overlap: Whether tokens of both vocabularies keep their rows bit by bit.
        convex: Whether every row that is neither random nor a fallback is a convex combination of source rows.
        bpe_target: Whether the new tokenizer must be a BPE tokenizer.
        shares_rows: Whether many tokens may get one and the same source row.
        unties: Whether it may give a tied model an output table of its own (refiners).
    """

    name: str
    version: int
    paper: str
    params: type[Params]
    requires: frozenset[str]
    tied: bool = True
    untied: bool = True
    forward: bool = False
    keeps_tokenizer: bool = False
    copies_overlap: bool = False
    convex: bool = False
    bpe_target: bool = False
    shares_rows: bool = False
    unties: bool = False

    def function(self, name: str) -> Callable[..., Rows]:
        """`build` or `refine` beside its parameters."""
        found: Callable[..., Rows] | None = getattr(sys.modules[self.params.__module__], name, None)
        if found is None:
            raise TypeError(f"{self.params.__module__} registers {self.name!r} but has no function {name}")
        return found


METHODS: Registry[Registered] = Registry("method", "tokgraft.methods")
REFINERS: Registry[Registered] = Registry("refiner", "tokgraft.methods")

P = TypeVar("P", bound=type[Params])


def method(
    name: str, *, version: int, paper: str = "", requires: Iterable[str] = (), tied: bool = True, untied: bool = True,
    forward: bool = False, keeps_tokenizer: bool = False, copies_overlap: bool = False, convex: bool = False, bpe_target: bool = False,
    shares_rows: bool = False,
) -> Callable[[P], P]:  # fmt: skip
    """Register the decorated `Params` class as an initialiser; its module's `build(task, params)` makes the rows.

    The arguments are the attributes of `Registered`.
    """

    def register(params: P) -> P:
        flags = {"copies_overlap": copies_overlap, "convex": convex, "bpe_target": bpe_target, "shares_rows": shares_rows}
        METHODS.add(name, Registered(name, version, paper, params, frozenset(requires), tied, untied, forward, keeps_tokenizer, **flags))
        return params

    return register


def refiner(
    name: str, *, version: int, paper: str = "", requires: Iterable[str] = (), tied: bool = True, untied: bool = True,
    forward: bool = False, unties: bool = False,
) -> Callable[[P], P]:  # fmt: skip
    """Register the decorated `Params` class as a refiner; its module's `refine(task, rows, params)` returns better rows.

    The arguments are the attributes of `Registered`.
    """

    def register(params: P) -> P:
        REFINERS.add(name, Registered(name, version, paper, params, frozenset(requires), tied, untied, forward, unties=unties))
        return params

    return register
