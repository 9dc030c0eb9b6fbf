"""One publisher at a time in a file store: a lock that the operating system frees when its holder dies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from tokgraft.errors import TokgraftError
from tokgraft.logs import log

WAIT = 600.0


class LockError(TokgraftError):
    """Another publisher has held the lock for too long."""


@contextmanager
def alone(path: Path, wait: float = WAIT) -> Iterator[None]:
    """Hold the lock file `path`; whoever comes second waits.

    Args:
        path: The lock file; it is made where it is not there.
        wait: Seconds to wait for the holder.

    Raises:
        LockError: Another process still holds it then.
    """
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        log.info("another process is publishing here (it holds %s); waiting for it", path)
        try:
            lock.acquire(timeout=wait)
        except Timeout:
            raise LockError(
                f"{path} is held by another process for more than {wait:.0f} s", "end that process, then publish again"
            ) from None
    try:
        yield
    finally:
        lock.release()
