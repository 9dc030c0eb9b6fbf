"""Chains: one initialiser, then any number of refiners, joined by `+` (`mean`, `mean+prior`, `focus+prior+readout`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tokgraft.errors import ConfigError, ModelError, UnsupportedError
from tokgraft.methods._contract import METHODS, REFINERS, Params, Registered, Rows, Transplant
from tokgraft.methods._rows import tables
from tokgraft.methods._standins import ending, stand_in
from tokgraft.numerics.sums import finite


@dataclass(frozen=True)
class Chain:
    """A parsed chain.

    Attributes:
        first: The initialiser.
        refiners: What improves its rows, in order.
    """

    first: Registered
    refiners: tuple[Registered, ...]

    @property
    def parts(self) -> tuple[Registered, ...]:
        """Initialiser and refiners."""
        return (self.first, *self.refiners)


def parse(chain: str) -> Chain:
    """Parse a chain.

    Raises:
        ConfigError: A part is unknown (with near matches), stands in the wrong place, or appears twice.
    """
    first, *rest = chain.split("+")
    if first in REFINERS:
        raise ConfigError(f"{first!r} in method {chain!r} is a refiner: it needs an initialiser before it", f"for example none+{first}")
    for name in rest:
        if name in METHODS:
            raise ConfigError(f"{name!r} in method {chain!r} is an initialiser: a chain has one, at its start", "give refiners after it")
    if len(set(rest)) != len(rest):
        raise ConfigError(f"method {chain!r} names a refiner twice")
    where = "" if not rest else f"chain {chain!r}"
    return Chain(METHODS.get(first, where), tuple(REFINERS.get(name, where) for name in rest))


def requirements(chain: str) -> set[str]:
    """Names of the resources that a chain requires."""
    return {name for part in parse(chain).parts for name in part.requires}


def runs_model(chain: str) -> bool:
    """Whether a part of a chain runs the base model."""
    return any(part.forward for part in parse(chain).parts)


def modules(chain: str) -> list[str]:
    """Dotted names of the modules of a chain's parts."""
    return [part.params.__module__ for part in parse(chain).parts]


def settings(chain: str, params: Mapping[str, Any]) -> dict[str, Params]:
    """Validated parameters of each part.

    Args:
        chain: The chain.
        params: Parameters of the initialiser; for a chain with refiners, part -> its parameters.

    Raises:
        ConfigError: The chain, a key or a value is wrong.
    """
    parsed = parse(chain)
    names = [part.name for part in parsed.parts]
    if len(names) > 1:
        for key in params:
            if key not in names:
                raise ConfigError(
                    f"method {chain!r}: parameters stand under the part they belong to, found {key!r}", f"parts: {', '.join(names)}"
                )
        given = {name: params.get(name, {}) for name in names}
    else:
        given = {names[0]: params}
    found = {}
    for part in parsed.parts:
        try:
            found[part.name] = part.params.parse(given[part.name], f"parameters of {part.name}")
        except ConfigError as error:
            raise ConfigError(error.what, f"see docs/methods/{part.name}.md") from None
    return found


def validate(chain: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """The resolved parameters of a chain as JSON values, part -> parameters, defaults included.

    Raises:
        ConfigError: The chain, a key or a value is wrong.
    """
    return {name: value.canonical() for name, value in settings(chain, params).items()}


def apply(chain: str, task: Transplant, params: Mapping[str, Any]) -> Rows:
    """Run a chain and check what it returns.

    Raises:
        ConfigError: The chain, its parameters or its resources are wrong.
        ModelError: The tables do not fit the source vocabulary or hold NaN, a part cannot treat this model, or returned rows that cannot
            be used.
    """
    parsed, resolved = parse(chain), settings(chain, params)
    _check_tables(task)
    check_support(parsed, task.tied)
    for part in parsed.parts:
        if missing := sorted(part.requires - set(task.resources)):
            raise ConfigError(f"{part.name} requires the resource {missing[0]}", f"make it with: tokgraft resource --name {missing[0]} ...")
    rows = _built(parsed.first, task, resolved[parsed.first.name])
    _check_rows(parsed.first.name, task, rows, task.tied)
    if not parsed.first.keeps_tokenizer:
        rows = stand_in(task, ending(task, rows))
    for part in parsed.refiners:
        # Once untied, always untied: a later part may not merge two tables that differ.
        tied = rows.output is None
        rows = part.function("refine")(task, rows, resolved[part.name])
        _check_rows(part.name, task, rows, tied and not (part.unties and rows.output is not None))
    return rows


def _built(first: Registered, task: Transplant, params: Params) -> Rows:
    """The rows of an initialiser. Columns of further tables are made with the bias of the head, of the same source tokens by the same weights."""
    build = first.function("build")
    if task.columns is None:
        return build(task, params)
    parts = [*([] if task.bias is None else [task.bias[:, None]]), task.columns]
    rows = build(replace(task, bias=np.concatenate(parts, axis=1)), params)
    made = rows.bias
    if made is None or made.shape != (len(task.target), sum(part.shape[1] for part in parts)):
        raise UnsupportedError(
            f"{first.name} makes no rows for the tables that this model has beside input and output table", "choose another method (mean)"
        )
    bias = None if task.bias is None else np.ascontiguousarray(made[:, 0])
    return replace(rows, bias=bias, columns=np.ascontiguousarray(made[:, len(parts) - 1 :]))


def check_support(chain: Chain, tied: bool) -> None:
    """Raise unless every part can treat such a model.

    Raises:
        ModelError: One cannot.
    """
    for part in chain.parts:
        if not (part.tied if tied else part.untied):
            has, other = ("one table for input and output (tied)", "untied") if tied else ("two tables (untied)", "tied")
            raise UnsupportedError(f"{part.name} cannot treat a model with {has}", f"choose another method, or an {other} base model")


def _check_tables(task: Transplant) -> None:
    """Raise unless the source's tables have a row of numbers for every token; rows that no token has are no part of any result."""
    given: list[tuple[str, Any, int]] = [(f"{name} table", table, 2) for name, table in tables(task)]
    if task.bias is not None:
        given.append(("bias", task.bias, 1))
    if task.columns is not None:
        given.append(("further tables", task.columns, 2))
    size = len(task.source)
    for label, array, dimensions in given:
        if array.ndim != dimensions or len(array) != size or array.dtype != np.float32:
            raise ModelError(
                f"the {label} is {array.shape} {array.dtype}, the source vocabulary has {size} ids",
                f"give float32 values with {dimensions} dimensions and one row for each id, padding behind the last token cut off",
            )
        if finite(array):  # the usual case, several times faster than a look at the live rows
            continue
        sound = np.isfinite(array[task.live]).reshape(len(task.live), -1).all(axis=1)
        if len(bad := task.live[~sound].tolist()):
            shown = ", ".join(f"{number} ({task.source[number].shown!r})" for number in bad[:5])
            raise ModelError(
                f"the {label} of the base holds NaN or Inf in {len(bad)} rows: {shown}",
                "the weights are damaged; fetch or train them again",
            )


def _check_rows(name: str, task: Transplant, rows: Rows, tied: bool) -> None:
    size = len(task.target)
    expected: list[tuple[str, Any, tuple[int, ...] | None]] = [
        ("input rows", rows.input, (size, task.E.shape[1])),
        ("output rows", rows.output, None if tied else (size, task.U.shape[1])),
        ("bias", rows.bias, None if task.bias is None else (size,)),
        ("rows of further tables", rows.columns, None if task.columns is None else (size, task.columns.shape[1])),
    ]
    for label, array, shape in expected:
        if (array is None) != (shape is None) or (array is not None and (array.shape != shape or array.dtype != np.float32)):
            found = "none" if array is None else f"{array.shape} {array.dtype}"
            raise ModelError(f"{name} returned {label} {found}, expected {shape or 'none'} float32", "this is a defect of the method")
        if array is not None and not finite(array):
            bad = np.unique(np.argwhere(~np.isfinite(array))[:, 0])[:5]
            shown = ", ".join(f"{number} ({task.target.tokens[number]})" for number in bad.tolist())
            raise ModelError(f"{name} returned NaN or Inf in {label} of {shown}", "this is a defect of the method")
    if len(rows.provenance) != size:
        raise ModelError(f"{name} returned provenance for {len(rows.provenance)} of {size} tokens", "this is a defect of the method")
