"""Logging of a stage: the command and settings first, then a heartbeat while it works."""

from __future__ import annotations

import json
import logging
import os
import resource
import shlex
import sys
import time
from collections.abc import Mapping
from typing import Any

from tokgraft.masking import masked

log = logging.getLogger("tokgraft")


class _StandardError(logging.Handler):
    """Writes, without secrets, to what standard error is at that moment: a program that calls ours may change and close it."""

    def emit(self, record: logging.LogRecord) -> None:
        print(masked(self.format(record)), file=sys.stderr, flush=True)


def setup(verbose: bool = False) -> None:
    """Send the package's log to standard error, one line an event."""
    handler = _StandardError()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname).1s %(message)s", "%H:%M:%S"))
    log.handlers[:] = [handler]
    log.propagate = False
    log.setLevel(logging.DEBUG if verbose else logging.INFO)


def opening(settings: Mapping[str, Any]) -> None:
    """Log the exact command and the fully resolved settings."""
    log.info("command: %s", shlex.join(sys.argv))
    log.info("settings: %s", json.dumps(settings, sort_keys=True, ensure_ascii=False, default=str))


def peak_memory() -> int:
    """Peak resident memory of this process so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def processor_seconds() -> float:
    """Processor time of this process and of those it waited for so far: what work takes whatever else the machine does meanwhile."""
    return sum(os.times()[:4])


class Heartbeat:
    """Logs progress at most every `every` seconds, with rate, memory and ETA.

    Args:
        name: What is going on.
        total: Amount of work, in `unit`; 0 when unknown.
        unit: Unit of the work ("pages", "bytes", ...).
        every: Seconds between two lines.
    """

    def __init__(self, name: str, total: float, unit: str, every: float = 10.0) -> None:
        self.name, self.total, self.unit, self.every = name, total, unit, every
        self.done = 0.0
        self.first = self.done
        self.start = self.last = time.monotonic()

    def resume_at(self, done: float) -> None:
        """Start counting from work that an earlier process did."""
        self.done = self.first = done

    def beat(self, done: float, **more: Any) -> None:
        """Tell that `done` units are finished; `more` is printed as given."""
        self.done = done
        now = time.monotonic()
        if now - self.last < self.every and (not self.total or done < self.total):
            return
        self.last = now
        rate = (done - self.first) / max(now - self.start, 1e-9)
        share = f"{done:,.0f}/{self.total:,.0f}" if self.total else f"{done:,.0f}"
        eta = f" · ETA {max(self.total - done, 0) / rate:,.0f} s" if self.total and rate > 0 else ""
        extra = "".join(f" · {key} {_number(value)}" for key, value in more.items())
        log.info(
            "%s %s %s · %s %s/s%s · %.1f GB%s",
            self.name, share, self.unit, _number(rate), self.unit, extra, peak_memory() / 1e9, eta,
        )  # fmt: skip


def _number(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return str(value)
