"""Tables on disk for what does not fit into memory: sorting, grouping, looking up. Plain SQLite, in a scratch folder."""

from __future__ import annotations

import os
import sqlite3
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tokgraft.errors import ArtifactError

CACHE_KB = 64_000


class Tables:
    """A database that lives as long as its scratch folder.

    Args:
        scratch: Where it and its sorting runs are written; needs room for a few times the digests and signatures.
    """

    def __init__(self, scratch: Path) -> None:
        # SQLite sorts big tables in files of its own; without this they land in a system folder that may be small or in memory.
        os.environ["SQLITE_TMPDIR"] = str(scratch)
        self.connection = sqlite3.connect(scratch / "tables.sqlite", isolation_level=None)
        for setting in ("journal_mode=OFF", "synchronous=OFF", "temp_store=FILE", f"cache_size=-{CACHE_KB}", "locking_mode=EXCLUSIVE"):
            self.connection.execute(f"PRAGMA {setting}")

    def run(self, command: str, *values: Any) -> sqlite3.Cursor:
        """One command.

        Raises:
            ArtifactError: The disk is full.
        """
        try:
            return self.connection.execute(command, values)
        except sqlite3.OperationalError as error:
            raise _full(error) from error

    def fill(self, command: str, rows: Iterable[tuple[Any, ...]]) -> None:
        """The command for every row, in one go."""
        try:
            self.connection.execute("BEGIN")
            self.connection.executemany(command, rows)
            self.connection.execute("COMMIT")
        except sqlite3.OperationalError as error:
            raise _full(error) from error

    def groups(self, query: str) -> Iterator[tuple[Any, array[int]]]:
        """(key, numbers) for the rows of a query that share a key: its first column is the key, in order, its second the number."""
        last: Any = None
        numbers: array[int] = array("q")
        for name, number in self.run(query):
            if name != last and numbers:
                yield last, numbers
                numbers = array("q")
            last = name
            numbers.append(number)
        if numbers:
            yield last, numbers

    def close(self) -> None:
        """Close it; its file goes with the scratch folder."""
        self.connection.close()


def _full(error: sqlite3.OperationalError) -> Exception:
    if "full" in str(error):
        return ArtifactError(f"no room for the tables of the merge: {error}", "free space and run again; shards that are done are kept")
    return error
