"""A GPU of its own for each job: jobs that run at once on one machine agree by a lock file per device.

The system frees a lock when its holder ends, however it ends, so a killed job never keeps a device. On a cluster the batch system has already
given the job its devices (CUDA_VISIBLE_DEVICES); then only processes of that job share them.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from pathlib import Path

from tokgraft.errors import ConfigError
from tokgraft.logs import log

VISIBLE = "CUDA_VISIBLE_DEVICES"
FOLDER = "TOKGRAFT_GPU_LOCKS"  # where the lock files lie, for tests and for machines without a shared temporary folder
_QUEUE = "queue"


def visible(environment: Mapping[str, str] = os.environ) -> list[str]:
    """Names of the devices this process may use: those of CUDA_VISIBLE_DEVICES where it is set, else all that the driver lists."""
    if VISIBLE in environment:
        names: list[str] = []
        for name in map(str.strip, environment[VISIBLE].split(",")):
            if name in {"", "-1", "NoDevFiles"}:  # CUDA stops at the first name that is none
                break
            names.append(name)
        return names
    if shutil.which("nvidia-smi") is None:
        return []
    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False).stdout.splitlines()
    return [str(number) for number in range(sum(line.startswith("GPU ") for line in listed))]


def lock_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Folder of the lock files, shared by all users of a machine; each job of a cluster has its own, since it has its own devices."""
    if given := environment.get(FOLDER):
        return Path(given)
    shared = Path(tempfile.gettempdir()) / "tokgraft-gpus"
    job = environment.get("SLURM_JOB_ID")
    return shared / f"slurm-{job}" if job else shared


def claim(count: int, environment: MutableMapping[str, str] = os.environ, *, poll: float = 1.0, remind: float = 60.0) -> list[str]:
    """Take free devices for the rest of this process's life, waiting until there are enough, and make CUDA see only them.

    To be called before anything initialises CUDA. The locks pass on to a program that this process becomes by `exec`.

    Args:
        count: Number of devices; 0 takes none and changes nothing.
        environment: CUDA_VISIBLE_DEVICES is read and set here.
        poll: Seconds between two looks while none is free.
        remind: Seconds between two messages while waiting.

    Returns:
        Names of the devices taken.

    Raises:
        ConfigError: The machine shows fewer devices than asked for, or the lock files cannot be written.
    """
    if count == 0:
        return []
    names = visible(environment)
    if len(names) < count:
        raise ConfigError(
            f"the job asks for {count} GPUs, this machine shows {len(names)} ({VISIBLE}={environment.get(VISIBLE, 'unset')})",
            "lower the resource gpu in the profile, or send the job to a machine that has them (docs/cluster.md)",
        )
    folder = lock_folder(environment)
    waiting = _Waiting(count, names, folder, poll, remind)
    # One that needs several keeps what it has got while it waits for the rest; the queue lets only one at a time do so, or two would
    # each hold half for ever.
    with _queue(folder, waiting) if count > 1 else contextlib.nullcontext():
        taken: dict[str, int] = {}
        while True:
            for name in names:
                if len(taken) < count and name not in taken and (lock := _lock(folder, name)) is not None:
                    taken[name] = lock
            if len(taken) == count:
                break
            waiting.step(len(taken))
    for lock in taken.values():
        os.set_inheritable(lock, True)
    mine = [name for name in names if name in taken]
    environment[VISIBLE] = ",".join(mine)
    log.info("GPUs of this job: %s (of %s)", ", ".join(mine), ", ".join(names))
    return mine


class _Waiting:
    """Sleeps between two looks, and says now and then why."""

    def __init__(self, count: int, names: Sequence[str], folder: Path, poll: float, remind: float) -> None:
        self.text = f"waiting for {count} free GPUs of {', '.join(names)}: other jobs hold the locks in {folder}"
        self.poll, self.remind = poll, remind
        self.said: float | None = None

    def step(self, held: int = 0) -> None:
        now = time.monotonic()
        if self.said is None or now - self.said >= self.remind:
            log.info("%s%s", self.text, f" (holding {held} so far)" if held else "")
            self.said = now
        time.sleep(self.poll)


@contextlib.contextmanager
def _queue(folder: Path, waiting: _Waiting) -> Iterator[None]:
    while (lock := _lock(folder, _QUEUE)) is None:
        waiting.step()
    try:
        yield
    finally:
        os.close(lock)


def _lock(folder: Path, name: str) -> int | None:
    """Descriptor of the locked file, or None when another process holds it."""
    path = folder / (name.replace("/", "_") + ".lock")
    try:
        file = _open(path)
    except OSError as error:
        raise ConfigError(
            f"the GPU lock file {path} cannot be opened: {error.strerror}", f"name a folder that can be written: {FOLDER}=/path"
        ) from None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        return None
    return file


def _open(path: Path) -> int:
    """Open the file, or make it so that every user can: a lock needs no right to write."""
    try:
        return os.open(path, os.O_RDONLY | os.O_NOFOLLOW)  # the folder is shared: a link could lead anywhere
    except FileNotFoundError:
        if not path.parent.is_dir():
            path.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(OSError):
                path.parent.chmod(0o1777)
        file = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        with contextlib.suppress(OSError):
            os.fchmod(file, 0o644)
        return file
