"""Where runs are kept: the address of a tracking store, and what must be true of its file."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from tokgraft import artifacts
from tokgraft.config import layout
from tokgraft.errors import TokgraftError
from tokgraft.masking import masked

SCHEMES = ("http", "https", "sqlite", "postgresql", "mysql", "mssql")
WHERE = "give a file (--uri sqlite:////path/mlflow.db), a server (http://host:5000) or a database (postgresql://user:password@host/name)"
TABLES = {"alembic_version", "experiments", "runs", "metrics", "params", "tags"}  # of every MLflow store, whatever its version
UNTOUCHED = "nothing is lost, every run is rebuilt from the artifacts"


class TrackingError(TokgraftError):
    """The tracking store cannot be reached or written."""


def default_uri() -> str:
    """The SQLite store of the folder that tokgraft is started in, or what MLFLOW_TRACKING_URI says."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{Path('mlflow.db').resolve()}"


def file_of(uri: str) -> Path | None:
    """The file of a SQLite store; None for a server or a database.

    Raises:
        TrackingError: The address is of another kind, or the file cannot be such a store: MLflow would try again for a minute and then say
            `unable to open database file`, or put its tables into a file of the user's.
        ArtifactError: The file lies inside an artifact.
    """
    scheme = uri.partition(":")[0].partition("+")[0]
    if "://" not in uri or scheme not in SCHEMES:
        raise TrackingError(f"{masked(uri)!r} is no address of a tracking store", WHERE)
    if scheme != "sqlite":
        return None
    name = uri.partition("://")[2].partition("?")[0]
    path = Path(name.removeprefix("/"))
    if not name.startswith("/") or str(path) in {".", ":memory:"} or str(path).startswith("file:"):
        raise TrackingError(f"{uri!r} names no file, so nothing would be kept", WHERE)
    _refuse_results(path)
    if path.exists() and not path.is_file():
        raise TrackingError(f"the tracking store {path} is no file", f"{WHERE}; {UNTOUCHED}")
    if not os.access(path if path.exists() else path.parent, os.W_OK) or not os.access(path.parent, os.W_OK):
        raise TrackingError(f"the tracking store {path} cannot be written", f"{WHERE}; {UNTOUCHED}")
    # Where a lock lies a publisher works, or was killed, and the tables may not all be there yet: `demand_store` asks again under the lock.
    if path.exists() and not lock_of(path).exists():
        demand_store(path, begun=False)
    return path


def lock_of(file: Path) -> Path:
    """The lock of a SQLite store."""
    return file.with_name(f"{file.name}.lock")


def _refuse_results(path: Path) -> None:
    """See that neither the store nor its lock and `mlruns/` beside it would lie in an artifact or below `results/`."""
    results = Path(os.path.realpath(layout.RESULTS))
    for where in (Path(os.path.realpath(path)), Path(os.path.realpath(path.parent), path.name)):
        artifacts.refuse_inside_artifact(where, "the tracking store", path)
        if results in where.parents:
            raise TrackingError(
                f"the tracking store {path} lies in {layout.RESULTS}/, which holds artifacts alone", f"{WHERE}; {UNTOUCHED}"
            )


def demand_store(path: Path, begun: bool = True) -> None:
    """See that an existing file is a store of MLflow's; nothing is written.

    Args:
        path: The file.
        begun: Whether it may still be without any table, as a publisher leaves it that is killed at once.

    Raises:
        TrackingError: It is empty, no SQLite file, or a database of something else.
    """
    with path.open("rb") as file:
        head = file.read(16)
    if not head and not begun:
        raise TrackingError(
            f"{path} is empty: a file of that name is there, and is no tracking store", f"delete it, or {WHERE}; {UNTOUCHED}"
        )
    if head and not head.startswith(b"SQLite format 3"):
        raise TrackingError(f"{path} is no SQLite file", f"{WHERE}; {UNTOUCHED}")
    # A database whose journal is not here is whole in its file; `immutable` then keeps SQLite from making any file beside it.
    quiet = not any(path.with_name(path.name + end).exists() for end in ("-wal", "-journal"))
    address = f"file:{quote(str(path.absolute()))}?mode=ro{'&immutable=1' if quiet else ''}"
    try:
        with closing(sqlite3.connect(address, uri=True)) as database:
            tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    except sqlite3.Error as error:
        raise TrackingError(f"the tracking store {path} cannot be read: {error}", f"{WHERE}; {UNTOUCHED}") from None
    if not tables >= TABLES and (tables or not begun):
        raise TrackingError(
            f"{path} is a database, but no tracking store: it lacks MLflow's tables ({', '.join(sorted(TABLES - tables))})",
            f"{WHERE}; {UNTOUCHED}",
        )
