"""Errors that a user can act on: what is wrong, where, and what to do."""

from __future__ import annotations

import difflib
import errno
import re
from collections.abc import Iterable, Mapping, Sequence


class TokgraftError(Exception):
    """A problem the user can mend. The command line prints it without a traceback and exits with status 2.

    Args:
        what: What is wrong and where, in one sentence.
        do: What to do about it; printed on a line of its own.
    """

    def __init__(self, what: str, do: str = "") -> None:
        self.what = what
        self.do = do
        super().__init__(f"{what}\n  -> {do}" if do else what)


class ConfigError(TokgraftError):
    """The configuration is wrong."""


class MissingError(TokgraftError):
    """A Python package that a command needs is not installed."""


class DataError(TokgraftError):
    """A corpus, a download or another input is missing, damaged or too small."""


class ModelError(TokgraftError):
    """A model folder or its weights cannot be used."""


class TokenizerError(TokgraftError):
    """A tokenizer cannot be built or breaks one of the hard gates."""


class ProcessError(TokgraftError):
    """One of several processes that train together is gone or has stopped answering."""


class ArtifactError(TokgraftError):
    """An artifact is missing, incomplete or altered."""


class ImpossibleError(TokgraftError):
    """What was asked for cannot be had from these inputs, however often it is tried.

    Alone a command fails with it; the workflow (`--or-skip`) writes the reason down, and the cells that need it are skipped.
    """


class UnavailableError(ImpossibleError, DataError):
    """The data cannot give a resource: no parallel text, no words, too little of it."""


class UnsupportedError(ImpossibleError, ModelError, TokenizerError):
    """A method cannot treat such a model or such a tokenizer."""


_FULL, _CLOSED, _NO_FOLDER = (errno.ENOSPC, errno.EDQUOT), (errno.EACCES, errno.EPERM), (errno.ENOTDIR, errno.EEXIST, errno.EISDIR)


def remedy(number: int | None, elsewhere: str = "choose another folder") -> str:
    """What to do when the system refuses to write.

    Args:
        number: The `errno` of its error; None where it gave none.
        elsewhere: How another place is named.
    """
    if number in _FULL:
        return f"free space, or {elsewhere}"
    if number in _CLOSED:
        return f"change the permissions, or {elsewhere}"
    if number == errno.EROFS:
        return f"{elsewhere}: this file system is read-only"
    if number in _NO_FOLDER:
        return f"{elsewhere}: a part of this path is a file"
    if number == errno.ENAMETOOLONG:
        return "choose a shorter name"
    return elsewhere


def near_matches(name: str, choices: Iterable[str]) -> list[str]:
    """Up to three of `choices` that `name` may have been meant to be."""
    return difflib.get_close_matches(name, list(choices), n=3, cutoff=0.5)


def hint(name: str, choices: Iterable[str], aliases: Mapping[str, Sequence[str]] | None = None) -> str:
    """What a name that is not among `choices` may have been meant to be; where nothing is near, all that there is.

    Args:
        name: The name.
        choices: The names that there are.
        aliases: Other words for them, in small letters -> the names they stand for.
    """
    known, other = sorted(choices), aliases or {}
    folded = name.casefold()
    near = list(other.get(folded) or other.get(re.split("[-_]", folded)[0]) or [])
    if not near and len(name) > 2:  # two codes of two letters are always alike
        near = near_matches(name, known)
    if not near and len(name) > 3:
        near = list(dict.fromkeys(meant for alias in near_matches(folded, other) for meant in other[alias]))
    return f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(known) or 'none'}"


def unknown(
    kind: str, name: str, choices: Iterable[str], where: str = "", aliases: Mapping[str, Sequence[str]] | None = None
) -> ConfigError:  # fmt: skip
    """A ConfigError for a name that is not among `choices`, with its near matches (arguments as for `hint`)."""
    return ConfigError(f"unknown {kind} {name!r}{f' in {where}' if where else ''}", hint(name, choices, aliases))
