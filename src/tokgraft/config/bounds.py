"""The largest numbers that make sense, once for configuration files, flags and Python calls.

They keep a slip of the keyboard (`bytes: 10**30`, `checkpoints: 10**12`, a seed of -1) from a job that never ends, fills the memory, or
fails hours later. They are far above what anybody uses. This module imports no pydantic, so that the command line can read it.
"""

from __future__ import annotations

import math
from typing import Any, Final, Literal, NamedTuple

from tokgraft.errors import ConfigError

BYTES: Final = 10**15  # of text
TOKENS: Final = 10**7  # of a vocabulary
SEED: Final = 2**32 - 1  # numpy's old generators take no more
TIMES: Final = 10_000  # how often something is done in one job: validations, checkpoints
SIZE: Final = 2**20  # of a layer, a context, a batch
ITEMS: Final = 10**8  # pages, words, items of a task
Dtype = Literal["float32", "bfloat16", "float16"]  # floating types that weights are written in
DEPTH: Final = 20  # of nested lists and objects


class Range(NamedTuple):
    """Whole numbers from `low` to `high`, both included."""

    low: int
    high: int

    def check(self, value: int, name: str) -> int:
        """The value.

        Raises:
            ConfigError: It is no whole number or out of range.
        """
        if isinstance(value, bool) or not isinstance(value, int) or not self.low <= value <= self.high:
            raise ConfigError(f"{name} {value!r} is not possible", f"give {self}")
        return value

    def __str__(self) -> str:
        return f"a whole number from {self.low} to {self.high}"


SEEDS: Final = Range(0, SEED)
THREADS: Final = Range(1, 4096)
MULTIPLES: Final = Range(1, 2**16)  # of padded rows
ROWS: Final = Range(1, TOKENS)  # of a table


def checked(value: Any, place: str = "", depth: int = 0) -> Any:
    """A value of a configuration, as it was given, if all its numbers are finite and no larger than any setting takes.

    Raises:
        ValueError: One is not, or lists and objects are nested too deeply; the message names the place.
    """
    if depth > DEPTH:
        raise ValueError(f"{place[:60]}...: nested too deeply (more than {DEPTH} levels)")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{place}: {value} is no finite number")
    if isinstance(value, int | float) and abs(value) > BYTES:
        raise ValueError(f"{place}: a number beyond 10^{round(math.log10(BYTES))} makes no sense here")
    if isinstance(value, dict):
        for key, inner in value.items():
            checked(inner, f"{place}.{key}" if place else str(key), depth + 1)
    elif isinstance(value, list | tuple):
        for number, inner in enumerate(value):
            checked(inner, f"{place}.{number}" if place else str(number), depth + 1)
    return value
