"""No network while scoring: an accidental look-up at the Hub fails with a clear error instead of changing what is measured.

The guard holds for Python's sockets in this process. Programs that it starts inherit the variables that keep the Hugging Face libraries
offline, and nothing more. It is a guard against accidents, no sandbox: libraries in C, other programs, and sockets that were connected
before can still reach the network.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tokgraft.errors import DataError

QUIET = {} if sys.stderr.isatty() else {"TQDM_DISABLE": "1"}  # progress bars only on a terminal
VARIABLES = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_UPDATE_DOWNLOAD_COUNTS": "0"}
# Libraries read the variables once, when they are imported; these are the places where they keep what they read.
REMEMBERED = (("huggingface_hub.constants", "HF_HUB_OFFLINE", True), ("datasets.config", "HF_HUB_OFFLINE", True))
INTERNET = (socket.AF_INET, socket.AF_INET6)
# Position of the address among the arguments of a socket's methods, and of the host among those of a look-up.
METHODS = {"connect": 0, "connect_ex": 0, "sendto": -1, "sendmsg": 3}
LOOKUPS = ("getaddrinfo", "gethostbyname", "gethostbyname_ex", "gethostbyaddr", "getnameinfo")


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
    methods = {name: getattr(socket.socket, name) for name in METHODS}
    lookups = {name: getattr(socket, name) for name in LOOKUPS}
    for name, call in methods.items():
        setattr(socket.socket, name, _guarded_method(call, METHODS[name]))
    for name, call in lookups.items():
        setattr(socket, name, _guarded_lookup(call))
    try:
        yield
    finally:
        for name, call in methods.items():
            setattr(socket.socket, name, call)
        for name, call in lookups.items():
            setattr(socket, name, call)


def _guarded_method(call: Callable[..., Any], position: int) -> Callable[..., Any]:
    def guarded(self: socket.socket, *args: Any) -> Any:
        address = args[position] if position < len(args) else None  # None: to whom the socket is connected
        if self.family in INTERNET and address is not None and not _is_local(address[0]):
            raise _refused(address[0])
        return call(self, *args)

    return guarded


def _guarded_lookup(call: Callable[..., Any]) -> Callable[..., Any]:
    def guarded(host: Any, *args: Any, **kwargs: Any) -> Any:
        name = host[0] if isinstance(host, tuple) else host  # getnameinfo takes an address
        if not _is_local(name):
            raise _refused(name)
        return call(host, *args, **kwargs)

    return guarded


def _is_local(host: Any) -> bool:
    """Whether a host is this machine: by its address, not by how its name begins (127.example.org is elsewhere)."""
    name = host.decode(errors="replace") if isinstance(host, bytes) else str(host or "")
    try:
        address = ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return name.lower() in ("", "localhost")
    return address.is_loopback or address.is_unspecified


def _refused(host: Any) -> NetworkUsedError:
    return NetworkUsedError(
        f"scoring tried to reach {host!r}, but it runs offline", "give a local model and corpus; --online lets harness tasks reach the Hub"
    )
