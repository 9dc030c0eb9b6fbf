"""JSON and JSON Lines as they come from anywhere: every flaw is one TokgraftError that names the file and the line.

Only a line feed ends a record. `str.splitlines` also splits at U+2028, U+0085 and other characters that may stand inside a JSON string
(in a token or a page id), so that whole files would seem damaged.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tokgraft.errors import DataError, TokgraftError

AGAIN = "run the stage that writes it again, or pull it with dvc"


def parse(text: str | bytes, where: str, do: str = AGAIN, *, error: type[TokgraftError] = DataError, unique: bool = False) -> Any:
    """The value of a JSON text.

    Args:
        text: UTF-8 when it is bytes.
        where: What the error names, such as "file.jsonl, line 3".
        do: What the error advises.
        error: Class of the error.
        unique: Refuse a key that stands twice in one object, of which json would keep the last.

    Raises:
        TokgraftError: Not UTF-8, not JSON, nested too deeply, a number of too many digits, or half of a surrogate pair in a string
            (such a string cannot be written as UTF-8, so it would fail later).
    """
    try:
        decoded = text.decode("utf-8") if isinstance(text, bytes) else text
        value = json.loads(decoded, object_pairs_hook=_without_repeats if unique else None)
        if "\\ud" in decoded or "\\uD" in decoded:  # the escapes that can make half a pair
            json.dumps(value, ensure_ascii=False).encode("utf-8")
        return value
    except json.JSONDecodeError as flaw:
        raise error(f"{where} is not JSON: {flaw}", do) from None
    except UnicodeDecodeError as flaw:
        raise error(f"{where} is not UTF-8: {flaw.reason} at byte {flaw.start}", do) from None
    except UnicodeEncodeError:
        raise error(f"{where} holds half of a surrogate pair, which is no character", do) from None
    except RecursionError:
        raise error(f"{where} is nested too deeply", do) from None
    except ValueError as flaw:
        raise error(f"{where} cannot be read: {flaw}", do) from None


def read_json(path: Path, do: str = AGAIN, *, error: type[TokgraftError] = DataError) -> Any:
    """The value of a JSON file.

    Raises:
        TokgraftError: It is missing or unreadable, or `parse` refuses it.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as flaw:
        raise _unreadable(path, flaw, do, error) from None
    return parse(content, str(path), do, error=error)


def read_object(path: Path, do: str = AGAIN, *, error: type[TokgraftError] = DataError) -> dict[str, Any]:
    """The value of a JSON file that must be an object.

    Raises:
        TokgraftError: As `read_json`, or it is a list, a number, null, ...
    """
    value = read_json(path, do, error=error)
    if not isinstance(value, dict):
        raise error(f"{path} holds {_named(value)} where an object is expected", do)
    return value


def records(path: Path, do: str = AGAIN, *, error: type[TokgraftError] = DataError) -> Iterator[dict[str, Any]]:
    """The objects of a JSON Lines file, one after the other without holding the file; empty lines are passed over.

    Raises:
        TokgraftError: The file is missing or unreadable, or a line is not a JSON object.
    """
    for line, value in values(path, do, error=error):
        if not isinstance(value, dict):
            raise error(f"{path}, line {line} holds {_named(value)} where an object is expected", do)
        yield value


def values(path: Path, do: str = AGAIN, *, error: type[TokgraftError] = DataError) -> Iterator[tuple[int, Any]]:
    """(line number from 1, value) of a JSON Lines file; empty lines are passed over.

    Raises:
        TokgraftError: The file is missing or unreadable, or a line is not JSON.
    """
    try:
        with Path(path).open("rb") as handle:
            for number, line in enumerate(handle, 1):
                if line.strip():
                    yield number, parse(line, f"{path}, line {number}", do, error=error)
    except OSError as flaw:
        raise _unreadable(path, flaw, do, error) from None


def _unreadable(path: Path, flaw: OSError, do: str, error: type[TokgraftError]) -> TokgraftError:
    if isinstance(flaw, FileNotFoundError):
        return error(f"{path} does not exist", do)
    return error(f"{path} cannot be read: {flaw.strerror or flaw}", do)


def _named(value: Any) -> str:
    return "null" if value is None else f"a {type(value).__name__}"


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {next(key for key in keys if keys.count(key) > 1)!r} stands twice")
    return found
