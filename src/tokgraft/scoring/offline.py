"""No network while scoring: an accidental look-up at the Hub fails with a clear error instead of changing what is measured."""

from __future__ import annotations

import os
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tokgraft.errors import DataError

QUIET = {} if sys.stderr.isatty() else {"TQDM_DISABLE": "1"}  # progress bars only on a terminal
VARIABLES = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_UPDATE_DOWNLOAD_COUNTS": "0"}
# Libraries read the variables once, when they are imported; these are the places where they keep what they read.
REMEMBERED = (("huggingface_hub.constants", "HF_HUB_OFFLINE", True), ("datasets.config", "HF_HUB_OFFLINE", True))
LOCAL = ("127.", "::1", "localhost")


class NetworkUsedError(DataError):
    """Something tried to reach the network while scoring offline."""


@contextmanager
def guard(online: bool = False) -> Iterator[Path]:
    """A job-local cache folder for the harness; unless `online`, connections to other machines raise `NetworkUsedError`.

    Args:
        online: Let the Hub be reached (tasks of the harness by name); caches then live where the user has them.

    Yields:
        A temporary folder, deleted at the end.
    """
    with tempfile.TemporaryDirectory(prefix="tokgraft-score-") as folder:
        if online:
            with _environment(QUIET):
                yield Path(folder)
            return
        cache = str(Path(folder) / "hf")
        variables = {**VARIABLES, **QUIET, "HF_HOME": cache, "HF_DATASETS_CACHE": str(Path(cache) / "datasets")}
        changes: list[tuple[str, str, Any]] = list(REMEMBERED)
        changes += [("datasets.config", "HF_DATASETS_CACHE", Path(cache) / "datasets")]
        with _environment(variables), _attributes(changes), _no_connections():
            yield Path(folder)


def hub_reachable(timeout: float = 3.0) -> bool:
    """Whether the Hub's host answers."""
    from urllib.parse import urlsplit

    from huggingface_hub import constants

    host = urlsplit(constants.ENDPOINT)
    try:
        with socket.create_connection((host.hostname or "", host.port or 443), timeout=timeout):
            return True
    except OSError:
        return False


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _attributes(changes: list[tuple[str, str, Any]]) -> Iterator[None]:
    """Set module attributes of modules that are already imported; the others will read the environment."""
    present = [(sys.modules[module], name, value) for module, name, value in changes if module in sys.modules]
    before = [(module, name, getattr(module, name, None)) for module, name, _ in present]
    for module, name, value in present:
        setattr(module, name, value)
    try:
        yield
    finally:
        for module, name, value in before:
            setattr(module, name, value)


@contextmanager
def _no_connections() -> Iterator[None]:
    connect, lookup = socket.socket.connect, socket.getaddrinfo

    def guarded_connect(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and not _is_local(address[0]):
            raise _refused(address[0])
        connect(self, address)

    def guarded_lookup(host: Any, *args: Any, **kwargs: Any) -> Any:
        if not _is_local(host):
            raise _refused(host)
        return lookup(host, *args, **kwargs)

    socket.socket.connect, socket.getaddrinfo = guarded_connect, guarded_lookup  # type: ignore[assignment, method-assign]
    try:
        yield
    finally:
        socket.socket.connect, socket.getaddrinfo = connect, lookup  # type: ignore[method-assign]


def _is_local(host: Any) -> bool:
    return host is None or str(host).startswith(LOCAL)


def _refused(host: Any) -> NetworkUsedError:
    return NetworkUsedError(
        f"scoring tried to reach {host!r}, but it runs offline", "give a local model and corpus; --online lets harness tasks reach the Hub"
    )
