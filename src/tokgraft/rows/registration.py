"""How a method or a refiner is registered: its module in `tokgraft.methods` is imported when somebody asks for it by name.

That happens whenever the workflow's graph is built, so what needs torch or transformers imports them inside its function.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from tokgraft.registry import Registry
from tokgraft.rows.contract import Params


@dataclass(frozen=True)
class RegisteredMethod:
    """A registered method or refiner.

    Attributes:
        name: Its name in chains.
        version: Raised when its results change.
        paper: Where it was published.
        params: Class of its parameters.
        run: The decorated function: build(task, params) of a method, refine(task, rows, params) of a refiner.
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
    run: Callable[..., Any]
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


METHODS: Registry[RegisteredMethod] = Registry("method", "tokgraft.methods")
REFINERS: Registry[RegisteredMethod] = Registry("refiner", "tokgraft.methods")

F = TypeVar("F", bound=Callable[..., Any])


def method(
    name: str, params: type[Params], *, version: int, paper: str = "", requires: Iterable[str] = (), **flags: bool
) -> Callable[[F], F]:
    """Register the decorated `build(task, params)`, which says how the rows are made (a `Composition`, or finished `Rows`).

    The arguments are the attributes of `RegisteredMethod`.
    """
    return _register(METHODS, name, params, version, paper, requires, flags)


def refiner(
    name: str, params: type[Params], *, version: int, paper: str = "", requires: Iterable[str] = (), **flags: bool
) -> Callable[[F], F]:
    """Register the decorated `refine(task, rows, params)`, which returns better `Rows`.

    The arguments are the attributes of `RegisteredMethod`.
    """
    return _register(REFINERS, name, params, version, paper, requires, flags)


def _register(
    registry: Registry[RegisteredMethod],
    name: str,
    params: type[Params],
    version: int,
    paper: str,
    requires: Iterable[str],
    flags: dict[str, bool],
) -> Callable[[F], F]:
    def register(run: F) -> F:
        registry.add(name, RegisteredMethod(name, version, paper, params, run, frozenset(requires), **flags))
        return run

    return register
