"""Chains: one initialiser, then any number of refiners, joined by `+` (`mean`, `mean+prior`, `focus+prior+readout`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from tokgraft.errors import ConfigError, ModelError, UnsupportedError
from tokgraft.numerics.sums import finite
from tokgraft.rows.composition import Composition, compose
from tokgraft.rows.contract import Params, Rows, Transplant
from tokgraft.rows.registration import METHODS, REFINERS, RegisteredMethod
from tokgraft.rows.standins import ending, stand_in


@dataclass(frozen=True)
class Chain:
    """A chain, its parts and their parameters.

    Attributes:
        name: How it is written.
        first: The initialiser.
        refiners: What improves its rows, in order.
        params: Parameters of each part, by its name; defaults where none were given.
    """

    name: str
    first: RegisteredMethod
    refiners: tuple[RegisteredMethod, ...]
    params: Mapping[str, Params]

    @property
    def parts(self) -> tuple[RegisteredMethod, ...]:
        """Initialiser and refiners."""
        return (self.first, *self.refiners)

    @property
    def requires(self) -> set[str]:
        """Names of the resources that its parts require."""
        return {name for part in self.parts for name in part.requires}

    @property
    def runs_model(self) -> bool:
        """Whether a part runs the base model."""
        return any(part.forward for part in self.parts)

    @property
    def modules(self) -> list[str]:
        """Dotted names of the modules of its parts."""
        return [part.params.__module__ for part in self.parts]

    @property
    def settings(self) -> dict[str, Any]:
        """The parameters as JSON values, part -> parameters, defaults included."""
        return {name: value.canonical() for name, value in self.params.items()}

    def apply(self, task: Transplant) -> Rows:
        """Run the parts, and check the rows of each.

        Raises:
            ConfigError: A resource is missing.
            ModelError: The tables do not fit the source vocabulary or hold NaN, a part cannot treat this model, or returned rows that cannot
                be used.
        """
        _check_tables(task)
        check_support(self, task.tied)
        for part in self.parts:
            if missing := sorted(part.requires - set(task.resources)):
                hint = f"make it with: tokgraft resource --name {missing[0]} ..."
                raise ConfigError(f"{part.name} requires the resource {missing[0]}", hint)
        made: Rows | Composition = self.first.run(task, self.params[self.first.name])
        rows = compose(task, made, self.first.name) if isinstance(made, Composition) else made
        _check_rows(self.first.name, task, rows, task.tied)
        if not self.first.keeps_tokenizer:
            rows = stand_in(task, ending(task, rows))
        for part in self.refiners:
            # Once untied, always untied: a later part may not merge two tables that differ.
            tied = rows.output is None
            rows = part.run(task, rows, self.params[part.name])
            _check_rows(part.name, task, rows, tied and not (part.unties and rows.output is not None))
        return rows


def parse(chain: str, params: Mapping[str, Any] | None = None) -> Chain:
    """Parse a chain, and resolve its parameters.

    Args:
        chain: The chain.
        params: Parameters of the initialiser; for a chain with refiners, part -> its parameters. None: the defaults.

    Raises:
        ConfigError: A part is unknown (with near matches), stands in the wrong place, or appears twice; a key or a value is wrong.
    """
    parts = _parts(chain)
    return Chain(chain, parts[0], parts[1:], _params(chain, parts, params)) if params else _with_defaults(chain, parts)


@cache
def _with_defaults(chain: str, parts: tuple[RegisteredMethod, ...]) -> Chain:
    return Chain(chain, parts[0], parts[1:], _params(chain, parts, {}))


def _parts(chain: str) -> tuple[RegisteredMethod, ...]:
    first, *rest = chain.split("+")
    if first in REFINERS:
        raise ConfigError(f"{first!r} in method {chain!r} is a refiner: it needs an initialiser before it", f"for example none+{first}")
    for name in rest:
        if name in METHODS:
            raise ConfigError(f"{name!r} in method {chain!r} is an initialiser: a chain has one, at its start", "give refiners after it")
    if len(set(rest)) != len(rest):
        raise ConfigError(f"method {chain!r} names a refiner twice")
    where = "" if not rest else f"chain {chain!r}"
    return (METHODS.get(first, where), *(REFINERS.get(name, where) for name in rest))


def _params(chain: str, parts: Sequence[RegisteredMethod], params: Mapping[str, Any]) -> dict[str, Params]:
    names = [part.name for part in parts]
    if len(names) == 1:
        params = {names[0]: params}
    for key in params:
        if key not in names:
            raise ConfigError(
                f"method {chain!r}: parameters stand under the part they belong to, found {key!r}", f"parts: {', '.join(names)}"
            )
    found = {}
    for part in parts:
        try:
            found[part.name] = part.params.parse(params.get(part.name, {}), f"parameters of {part.name}")
        except ConfigError as error:
            raise ConfigError(error.what, f"see docs/methods/{part.name}.md") from None
    return found


def apply(chain: str, task: Transplant, params: Mapping[str, Any] | None = None) -> Rows:
    """`parse(chain, params).apply(task)`."""
    return parse(chain, params).apply(task)


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
    given: list[tuple[str, Any, int]] = [(f"{name} table", table, 2) for name, table in task.tables.items()]
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
        if label == "rows of further tables" and array is None and shape is not None:
            raise UnsupportedError(
                f"{name} makes no rows for the tables that this model has beside input and output table", "choose another method (mean)"
            )
        if (array is None) != (shape is None) or (array is not None and (array.shape != shape or array.dtype != np.float32)):
            found = "none" if array is None else f"{array.shape} {array.dtype}"
            raise ModelError(f"{name} returned {label} {found}, expected {shape or 'none'} float32", "this is a defect of the method")
        if array is not None and not finite(array):
            bad = np.unique(np.argwhere(~np.isfinite(array))[:, 0])[:5]
            shown = ", ".join(f"{number} ({task.target.tokens[number]})" for number in bad.tolist())
            raise ModelError(f"{name} returned NaN or Inf in {label} of {shown}", "this is a defect of the method")
    if len(rows.provenance) != size:
        raise ModelError(f"{name} returned provenance for {len(rows.provenance)} of {size} tokens", "this is a defect of the method")
