"""Rows of single tokens that the user sets: how an override is written, once for flags, experiments and Python calls.

This module imports no pydantic, so that the command line can read it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal, NamedTuple, cast

from tokgraft.errors import ConfigError

FORMS = "like:TOKEN, zero or text:SOME TEXT"
_FORM = r"like:.+|zero|text:.+"
_HOW = re.compile(_FORM, re.DOTALL)
_FLAG = re.compile(rf"(.+?)=({_FORM})", re.DOTALL)


class Override(NamedTuple):
    """How the row of one token is made.

    Attributes:
        way: "like" (copied from a token of the base), "zero" or "text" (mean of the base's rows of a text's tokens).
        of: The base's token, or the text; empty for "zero".
    """

    way: Literal["like", "zero", "text"]
    of: str


def parse(how: object, token: str) -> Override:
    """What `how` ("like:X", "zero", "text:X") says about `token`.

    Raises:
        ConfigError: It is written in another way.
    """
    if not isinstance(how, str) or not _HOW.fullmatch(how):
        raise ConfigError(f"the override of {token[:60]!r} is {str(how)[:60]!r}", f"give {FORMS}")
    way, _, of = how.partition(":")
    return Override(cast("Literal['like', 'zero', 'text']", way), of)


def parse_all(overrides: Mapping[str, str]) -> dict[str, Override]:
    """Token -> its override.

    Raises:
        ConfigError: One is written in another way, or its token is empty or cannot be written in front of a "=".
    """
    found = {token: parse(how, token) for token, how in overrides.items()}
    for token, how in overrides.items():
        if not token or split(f"{token}={how}") != (token, how):
            raise ConfigError(f"an override cannot name a token {token[:60]!r}", "give the string of a token of the new vocabulary")
    return found


def split(text: str) -> tuple[str, str]:
    """TOKEN=HOW as token and how; a token may hold "=" itself.

    Raises:
        ConfigError: It is written in another way.
    """
    if (found := _FLAG.fullmatch(text)) is None:
        raise ConfigError(f"{text[:60]!r} is no token and how its row is made, with = between", f"how: {FORMS}")
    return found[1], found[2]
