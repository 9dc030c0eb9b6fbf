"""Rows of single tokens that the user sets, after the method has made all rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tokgraft.config.overrides import Override
from tokgraft.errors import ConfigError, UnsupportedError, near_matches
from tokgraft.methods import Floats, Mixtures, Provenance, Rows, Transplant
from tokgraft.numerics.sums import mean_row
from tokgraft.transplant._padding import MASKED
from tokgraft.vocab import Vocabulary

NEAR = 2  # how much longer or shorter a string may be that is looked at as a near match


@dataclass(frozen=True)
class Chosen:
    """The overrides of a transplant.

    Attributes:
        sources: Target id -> the base's tokens whose mean row it gets (one: a copy); none: the zero row.
    """

    sources: Mapping[int, tuple[int, ...]]

    @property
    def zeros(self) -> list[int]:
        """Ids of the zero rows."""
        return [number for number, sources in self.sources.items() if not sources]

    def facts(self, target: Vocabulary) -> list[dict[str, Any]]:
        """As it stands in transplant.json."""
        return [{"id": number, "token": target[number].shown, "from": list(sources)} for number, sources in sorted(self.sources.items())]


def choose(overrides: Mapping[str, Override], task: Transplant, unties: bool) -> Chosen:
    """Find the tokens that overrides name.

    Args:
        overrides: Token of the new vocabulary -> how its row is made.
        task: The transplant, with a segmenter.
        unties: Whether a refiner may give a tied model output rows of its own.

    Raises:
        ConfigError: A vocabulary has no such token, two overrides name one token, or the base has no tokens for a text.
        UnsupportedError: A zero row is asked for that could be predicted.
    """
    found: dict[int, tuple[int, ...]] = {}
    for token, override in overrides.items():
        number = _find(token, task.target, "the new vocabulary")
        if number in found:
            raise ConfigError(f"two overrides name the token {task.target[number].shown!r} (id {number})", "leave one of them out")
        found[number] = _sources(token, override, task)
    chosen = Chosen(found)
    if task.tied and not unties:
        _check_zeros(chosen, task)
    return chosen


def _sources(token: str, override: Override, task: Transplant) -> tuple[int, ...]:
    if override.way == "zero":
        return ()
    if override.way == "like":
        return (_find(override.of, task.source, "the base's vocabulary"),)
    assert task.segmenter is not None
    pieces = tuple(task.segmenter.pieces(override.of.encode()))
    if not pieces:
        raise ConfigError(f"the override of {token!r}: the base has no tokens for the text {override.of!r}", "give another text")
    return pieces


def _find(token: str, vocabulary: Vocabulary, where: str) -> int:
    """Id of a token by its string in the vocabulary ("Ġthe", "<|end|>"), else by the text that it alone stands for (" the").

    Raises:
        ConfigError: There is none, or several stand for the text.
    """
    strings = {found.surface: number for number in vocabulary.ids for found in [vocabulary[number]]}
    if token in strings:
        return strings[token]
    same = [number for number in vocabulary.ids if vocabulary[number].text == token.encode()]
    if len(same) == 1:
        return same[0]
    if same:
        shown = ", ".join(repr(vocabulary[number].surface) for number in same[:5])
        raise ConfigError(f"{len(same)} tokens of {where} stand for {token!r}", f"give the string of one: {shown}")
    alike = [string for string in strings if abs(len(string) - len(token)) <= NEAR]
    near = " or ".join(map(repr, near_matches(token, alike)))
    raise ConfigError(f"{where} has no token {token!r}", f"did you mean {near}?" if near else "look for it in its tokenizer.json")


def _check_zeros(chosen: Chosen, task: Transplant) -> None:
    if chosen.zeros and task.bias is None:
        raise UnsupportedError(
            f"the row of {task.target[chosen.zeros[0]].shown!r} cannot be zero: in this model it is input and output row at once, and a zero "
            "output row has logit 0, which wins wherever all other logits are negative",
            "give it like:TOKEN or text:SOME TEXT, or untie the model by a refiner",
        )


def override(rows: Rows, task: Transplant, chosen: Chosen) -> Rows:
    """The rows with the chosen ones set.

    `like` and `text`: input row, output row, bias and further tables are the mean of the base's (of one token: a copy, bit by bit). `zero`: the input row (and
    that of further tables) is zero; the output row is the mean of the other tokens' output rows, whose logit is the mean of their logits and so never the largest, and
    a bias is -1e4.

    Raises:
        UnsupportedError: A zero row would be an output row as well, in a head without a bias.
    """
    if not chosen.sources:
        return rows
    means, zeros = Mixtures.means(chosen.sources), chosen.zeros
    if rows.output is None:
        _check_zeros(chosen, task)
    others = np.array([number for number in task.target.ids if number not in set(zeros)], dtype=np.int64)
    inputs = _combined(rows.input, task.E, means)
    inputs[zeros] = 0
    output, bias = rows.output, rows.bias
    if output is not None:
        output = _combined(output, task.U, means)
        if zeros:
            output[zeros] = mean_row(output[others])
    if bias is not None and task.bias is not None:
        bias = _combined(bias[:, None], task.bias[:, None], means)[:, 0]
        bias[zeros] = MASKED
    columns = rows.columns
    if columns is not None and task.columns is not None:
        columns = _combined(columns, task.columns, means)
        columns[zeros] = 0
    made = list(rows.provenance)
    for number, sources in chosen.sources.items():
        made[number] = Provenance("override", sources)
    return replace(rows, input=inputs, output=output, bias=bias, columns=columns, provenance=tuple(made))


def _combined(new: Floats, table: Floats, means: Mixtures) -> Floats:
    new = new.copy()
    new[means.ids] = means.rows(table)
    return new
