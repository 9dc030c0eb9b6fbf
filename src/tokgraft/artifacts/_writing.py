"""How a folder appears whole: a temporary sibling, synced to the disk, takes its place in one step.

.<name>.<8 signs>.part   being written; locked by the process that writes it
.<name>.<8 signs>.old    the version before, on file systems that cannot exchange two folders in one step
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import re
import secrets
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from tokgraft.artifacts._manifest import file_sha256
from tokgraft.artifacts._place import move_aside, obstacle
from tokgraft.logs import log

_EXCHANGE, _HERE = 2, -100  # RENAME_EXCHANGE and AT_FDCWD of renameat2(2)
_NO_EXCHANGE = {errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EXDEV, errno.EPERM}


def temporary(out: Path) -> tuple[Path, int]:
    """A new folder beside `out` with the modes that the umask leaves, and the descriptor that holds it; leftovers of killed jobs go.

    Raises:
        OSError: The place cannot be written.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    _clear_leftovers(out)
    while True:
        folder = out.with_name(f".{out.name}.{secrets.token_hex(4)}.part")
        folder.mkdir()
        with suppress(OSError):  # another process took it for a leftover before it was held
            held = _hold(folder)
            if folder.is_dir():
                return folder, held
            os.close(held)


def _hold(folder: Path) -> int:
    """Lock a folder until the descriptor is closed or the process ends, however it ends."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _clear_leftovers(out: Path) -> None:
    """Put an older version back that a killed job moved away last; delete temporary folders that no living process holds."""
    for left in _leftovers(out, "old"):
        if os.path.lexists(out):
            shutil.rmtree(left, ignore_errors=True)
        else:
            with suppress(OSError):
                os.rename(left, out)
                log.warning("%s is back: a job was killed while it replaced it", out)
    for left in _leftovers(out, "part"):
        try:
            descriptor = _hold(left)
        except OSError:
            continue  # another process is at work there
        shutil.rmtree(left, ignore_errors=True)
        os.close(descriptor)


def _leftovers(out: Path, suffix: str) -> list[Path]:
    form = re.compile(rf"\.{re.escape(out.name)}\.[a-z0-9_]{{8}}\.{suffix}")
    return sorted(out.parent / entry.name for entry in os.scandir(out.parent) if form.fullmatch(entry.name))


def hash_and_sync(folder: Path, names: list[str]) -> dict[str, dict[str, Any]]:
    """Name -> SHA-256 and size of files that were just written; their bytes are on the disk afterwards, with the modes of the umask."""
    mode = folder.stat().st_mode & 0o666

    def seal(name: str) -> dict[str, Any]:
        path = folder / name
        if path.stat().st_mode & 0o777 != mode:
            path.chmod(mode)
        facts = {"sha256": file_sha256(path), "bytes": path.stat().st_size}
        sync(path)
        return facts

    with ThreadPoolExecutor(max_workers=4) as pool:  # hashing and waiting for the disk leave the interpreter's lock
        return dict(zip(names, pool.map(seal, names)))


def sync(path: Path) -> None:
    """Wait until a file's bytes, or a folder's names, are on the disk; file systems that cannot say are not asked again.

    Raises:
        OSError: The disk is full or broken: some say so only now.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.EOPNOTSUPP}:
            raise
    finally:
        os.close(descriptor)


def sync_folders(folder: Path) -> None:
    """`sync` of a folder and those in it."""
    for place, _, _ in os.walk(folder, topdown=False):
        sync(Path(place))


def remove_empty(folder: Path) -> None:
    """Remove the folders in a folder that hold no file."""
    for place, _, _ in os.walk(folder, topdown=False):
        if Path(place) != folder and not os.listdir(place):
            os.rmdir(place)


def put(made: Path, out: Path, kind: str) -> None:
    """Put the folder `made` in the place of `out`; afterwards `made` is gone or holds the version before.

    At no moment is there neither the old nor the new. Another process may do the same at the same moment. What is at `out` and is not ours
    (`--force`, or it came during the work) is moved aside.

    Raises:
        OSError: The place cannot be written.
    """
    for attempt in range(10):
        try:
            if obstacle(out, kind):
                move_aside(out)
            if not os.path.lexists(out):
                os.rename(made, out)
            elif not _exchange(made, out):
                _replace(made, out)
            break
        except OSError as error:
            if attempt == 9 or error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT) or not made.exists():
                raise
    sync(out.parent)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two folders in one step; False where the system cannot.

    Raises:
        OSError: One of them is not there, or the place cannot be written.
    """
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    if rename(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in _NO_EXCHANGE:
        return False
    raise OSError(number, os.strerror(number), str(other))


def _replace(made: Path, out: Path) -> None:
    """In two steps; a job killed between them leaves the old version, which the next one puts back."""
    old = made.with_suffix(".old")
    os.rename(out, old)
    try:
        os.rename(made, out)
    except OSError:
        if not os.path.lexists(out):
            os.rename(old, out)
        raise
    shutil.rmtree(old, ignore_errors=True)


def refused_by_disk(error: Exception, folder: Path) -> int | None:
    """The error number (`errno`) by which a full or read-only disk refuses to write to a folder; None when the error is of another kind.

    Libraries written in Rust and C++ raise errors of their own with the number in the text, numpy an OSError without one.
    """
    for number in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
        text = os.strerror(number)
        if getattr(error, "errno", None) == number or text in str(error) or f"code: {number}," in str(error):
            return number
    if isinstance(error, OSError) and error.errno is None and shutil.disk_usage(folder).free < 2**20:
        return errno.ENOSPC
    return None
