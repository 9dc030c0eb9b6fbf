"""Was the machine doing anything else? A timing is only worth showing when it was not.

What other processes use is the difference between two counters of the operating system: the processor time that the whole machine has spent
(time taken by other guests of the same host included), and that of this process and its children.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from tokgraft.logs import log
from tokgraft.scoring.speed import Alone

T = TypeVar("T")

SAMPLE = 1.0  # seconds of idling over which the load of other processes is taken
PATIENCE = 60.0  # seconds to wait, in all, until other processes are quiet
TRIES = 3
GPU_LIMIT = 0.05  # share of the time that the GPU may be busy while this process does not use it
_BUSY = ("user", "nice", "system", "irq", "softirq", "steal")


@dataclass(frozen=True)
class Reading:
    """The counters at one moment, in seconds that only rise.

    Attributes:
        clock: Wall time.
        busy: Processor time that the machine has spent, over all cores.
        own: Processor time of this process and its children.
        gpu: Share of the last moments that the GPU was busy; 0 where none is used, None where it does not say.
    """

    clock: float
    busy: float
    own: float
    gpu: float | None = 0.0


def counters(gpu: int | None = None) -> Reading:
    """Read the counters of this machine.

    Args:
        gpu: Index of the GPU that is used, if any.
    """
    import psutil

    machine = psutil.cpu_times()
    own = psutil.Process().cpu_times()
    busy = sum(getattr(machine, name, 0.0) for name in _BUSY)
    return Reading(
        time.monotonic(), busy, own.user + own.system + own.children_user + own.children_system, 0.0 if gpu is None else _gpu(gpu)
    )


def _gpu(index: int) -> float | None:
    import torch

    try:
        return float(torch.cuda.utilization(index)) / 100
    except Exception as error:  # the driver's library fails in many ways; without it nothing can be claimed
        log.warning("the use of the GPU cannot be read: %s", error)
        return None


def others(start: Reading, end: Reading) -> float | None:
    """Cores that other processes used between two readings; None where the system's counters do not move."""
    own, busy = end.own - start.own, end.busy - start.busy
    if busy < 0.5 * own - 0.05 or (busy == 0 and end.busy == 0):
        return None
    return max(0.0, busy - own) / max(end.clock - start.clock, 1e-9)


def limit(cores: int) -> float:
    """Cores that other processes may use: 5 % of the machine, at most half a core. Its own housekeeping needs less."""
    return min(0.05 * cores, 0.5)


class Watch:
    """Runs work when the machine is quiet, and says whether it stayed so.

    Args:
        cores: Cores of the machine.
        read: Reads the counters.
        sleep: Waits for some seconds.
        patience: Seconds to wait, in all, for other processes to become quiet.
        tries: Most measurements made.
    """

    def __init__(
        self, cores: int, read: Callable[[], Reading] = counters, sleep: Callable[[float], None] = time.sleep, *,
        patience: float = PATIENCE, tries: int = TRIES,
    ) -> None:  # fmt: skip
        self.cores, self.limit, self.read, self.sleep = cores, limit(cores), read, sleep
        self.patience, self.tries = patience, tries

    def run(self, work: Callable[[], T]) -> tuple[T | None, Alone]:
        """Do `work` when nothing else runs, and again when something came between.

        Returns:
            What the last `work` gave, or None when the machine never became quiet (a busy machine can make it a hundred times as slow, and
            the result would be worth nothing); and whether it was alone.
        """
        for number in range(1, self.tries + 1):
            before, reason = self._quiet()
            if reason:
                return None, self._said(f"{reason}, before it began", number - 1, before)
            start = self.read()
            result = work()
            during = others(start, self.read())
            after, late = self._sample()
            reasons = [self._reason(during), late and f"{late}, right after"]
            told = "; ".join(one for one in reasons if one)
            if not told:
                break
            log.warning("measurement %d of %d: %s", number, self.tries, told)
        return result, self._said(told, number, before, during, after)

    def _said(self, reason: str, tries: int, *found: float | None) -> Alone:
        if reason:
            log.warning("not measured alone: %s", reason)
        figures = dict(zip(("before", "during", "after"), map(_round, found), strict=False))
        return Alone(alone=not reason, reason=reason, limit=self.limit, tries=tries, **figures)

    def _quiet(self) -> tuple[float | None, str]:
        """Wait until other processes are quiet or the patience is used up; what they used last, and what is wrong with it."""
        found, wrong = self._sample()
        if wrong and self.patience > 0:
            log.info("waiting for at most %.0f s: %s", self.patience, wrong)
        while wrong and self.patience > 0:
            self.patience -= SAMPLE
            found, wrong = self._sample()
        return found, wrong

    def _sample(self) -> tuple[float | None, str]:
        start = self.read()
        self.sleep(SAMPLE)
        end = self.read()
        found = others(start, end)
        if end.gpu is None:
            return found, "the GPU does not say what else it does"
        if end.gpu > GPU_LIMIT:
            return found, f"other processes use the GPU ({end.gpu:.0%} of the time)"
        return found, self._reason(found)

    def _reason(self, found: float | None) -> str:
        if found is None:
            return "the system does not say what other processes use"
        if found <= self.limit:
            return ""
        return f"other processes used {found:.2f} of {self.cores} cores"


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


@contextlib.contextmanager
def only_one(timeout: float = 600.0) -> Iterator[None]:
    """Let one measurement of this user run on this machine at a time; one that waits too long goes on, and will not find itself alone."""
    from filelock import FileLock, Timeout

    path = Path(tempfile.gettempdir()) / f"tokgraft-speed-{os.getuid()}.lock"
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        log.info("waiting for another measurement of speed on this machine (%s)", path)
        with contextlib.suppress(Timeout):
            lock.acquire(timeout=timeout)
    except OSError as error:
        log.warning("%s cannot be locked: %s", path, error)
    try:
        yield
    finally:
        lock.release()
