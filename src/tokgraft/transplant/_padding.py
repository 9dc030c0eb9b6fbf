"""How many rows a written table has, and what the rows hold that no token has."""

from __future__ import annotations

from typing import Literal

import numpy as np

from tokgraft.config.bounds import MULTIPLES, ROWS
from tokgraft.errors import ConfigError
from tokgraft.methods import Floats

MASKED = -1e4  # bias of a row that may not be predicted: small enough for that, finite in every float type
BASE: Literal["base"] = "base"

Wanted = int | Literal["base"] | None


def check(wanted: Wanted, multiple: int | None, keeps: bool) -> None:
    """Raise unless the number of rows is given in one way, and by a number that makes sense.

    Args:
        wanted: Number of rows, or `BASE`.
        multiple: What the number of rows is to be a multiple of.
        keeps: Whether the method keeps the base's tokenizer, and its tables as they are.

    Raises:
        ConfigError: It is not.
    """
    if multiple is not None:
        MULTIPLES.check(multiple, "pad_to_multiple")
    if wanted not in (None, BASE):
        ROWS.check(wanted, "rows")
    if wanted is not None and multiple is not None:
        raise ConfigError("rows and pad_to_multiple both say how many rows the tables have", "give one of them")
    if keeps and (multiple is not None or wanted not in (None, BASE)):
        raise ConfigError(
            "the method none keeps the base's tables and their number of rows",
            "leave out rows and pad_to_multiple, or take mean with the base's own tokenizer, which copies every row",
        )


def total(wanted: Wanted, multiple: int | None, tokens: int, base: int) -> int:
    """Rows of the written table.

    Args:
        wanted: Number of rows, or `BASE`; None: as many as tokens.
        multiple: Round up to a multiple of this.
        tokens: Rows that the new vocabulary needs: its highest id + 1.
        base: Rows of the base, padded ones included.

    Raises:
        ConfigError: More rows are needed than wanted.
    """
    rows = base if wanted == BASE else wanted
    if rows is None:
        return tokens + (-tokens % multiple if multiple else 0)
    if rows < tokens:
        whose = "the base has" if wanted == BASE else "rows are"
        raise ConfigError(f"{whose} {rows}, and the new vocabulary needs {tokens}", f"give {tokens} or more, or leave rows out")
    return rows


def padded(table: Floats, rows: int) -> Floats:
    """A table with rows behind it that no token has: the mean of the others.

    The mean and not zeros: a zero row of the head has logit 0, which beats the real tokens of many models.
    """
    filling = np.tile(table.mean(axis=0, dtype=np.float64).astype(np.float32), (rows - len(table), 1))
    return np.concatenate([table, filling]) if len(filling) else table
