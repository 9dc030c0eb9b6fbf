"""One publisher at a time in a file store: a lock that the operating system frees when its holder dies."""

from __future__ import annotations

import fcntl
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tokgraft.errors import TokgraftError
from tokgraft.logs import log

WAIT = 600.0


class LockError(TokgraftError):
    """Another publisher has held the lock for too long."""


@contextmanager
def alone(path: Path, wait: float = WAIT) -> Iterator[None]:
    """Hold the lock file `path`; whoever comes second waits.

    Args:
        path: The lock file; it is made where it is not there, and stays.
        wait: Seconds to wait for the holder.

    Raises:
        LockError: Another process still holds it then.
    """
    with path.open("a+", encoding="utf-8") as file:
        until, told = time.monotonic() + wait, False
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                file.seek(0)
                holder = file.read().strip() or "another process"
                if not told:
                    log.info("%s is publishing here; waiting for it", holder)
                    told = True
                if time.monotonic() > until:
                    raise LockError(
                        f"{path} is held by {holder} for more than {wait:.0f} s", "end that process, then publish again"
                    ) from None
                time.sleep(0.2)
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
        yield
