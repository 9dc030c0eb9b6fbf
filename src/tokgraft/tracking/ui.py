"""The MLflow UI, opened on comparisons of what can be compared: one for each base model and language."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import webbrowser
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from tokgraft.config import layout
from tokgraft.errors import TokgraftError
from tokgraft.intervals import FEWEST
from tokgraft.jsonl import read_json
from tokgraft.masking import masked
from tokgraft.tracking import links
from tokgraft.tracking.mlflow_store import ENVIRONMENT
from tokgraft.tracking.views import METRICS

HOST = "127.0.0.1"
PATIENCE = 180.0  # seconds for the server to answer; a busy machine takes a minute


class UiError(TokgraftError):
    """The UI cannot be started."""


def published(uri: str, root: Path = Path()) -> list[dict[str, Any]]:
    """What was published from this folder into a store, by experiment (`published.json`).

    Raises:
        DataError: Such a file is damaged.
    """
    files = sorted(root.glob(layout.published("*")))
    return [found for found in map(read_json, files) if isinstance(found, dict) and found.get("uri") == masked(uri)]


def comparisons(found: list[dict[str, Any]], home: str) -> Iterator[str]:
    """Lines to print: for each comparison its address and the bits per byte of its runs.

    Args:
        found: What `published` gives.
        home: Address of the UI.
    """
    for experiment in found:
        for one in experiment["comparisons"]:
            pages = one.get("pages", 0)
            few = "" if pages >= FEWEST else f", and no order is claimed on fewer than {FEWEST}"
            yield f"{experiment['experiment']}: {one['model']}, {one['language']} (bits per byte on {one['task']}, {pages} pages{few})"
            yield f"  {_moved(one['table'], home)}"
            yield "  " + "  ".join(f"{name:>26}" for name in METRICS)
            yield from (f"  {_numbers(run)}  {run['cell']}" for run in one["runs"])
            yield ""


def first(found: list[dict[str, Any]], home: str) -> str:
    """The address to open: the first comparison, or the UI itself where nothing was published from here."""
    tables = [one["table"] for experiment in found for one in experiment["comparisons"]]
    return _moved(tables[0], home) if tables else home


def _moved(address: str, home: str) -> str:
    return home + address[address.index("/#/") :]


def _numbers(run: Mapping[str, Any]) -> str:
    return "  ".join(f"{run[name]:>26.4f}" if name in run else f"{'':>26}" for name in METRICS)


def has_display() -> bool:
    """Whether a browser would be seen: a display, and nobody who looks from another machine."""
    if "SSH_CONNECTION" in os.environ:
        return False
    return sys.platform in {"darwin", "win32"} or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))


def start(uri: str, port: int) -> subprocess.Popen[bytes]:
    """Start the UI of a store on this machine, and wait until it answers.

    Raises:
        UiError: The port is taken, or the server ends or is silent.
    """
    with socket.socket() as free:
        free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            free.bind((HOST, port))
        except OSError as error:
            raise UiError(f"port {port} is taken ({error.strerror})", "end the other UI, or choose another: --port N") from None
    quiet = ["--workers", "1", "--uvicorn-opts", "--log-level warning"]  # a line for each request would push the addresses off the screen
    words = [sys.executable, "-m", "mlflow", "ui", "--host", HOST, "--port", str(port), *quiet]
    # The address of the store is no argument: everybody on the machine can read those, and it may hold a password. Without jobs (scorers of
    # traces, which are not used here) the server is one process instead of eight.
    settings = {**ENVIRONMENT, "MLFLOW_BACKEND_STORE_URI": uri, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    server = subprocess.Popen(words, env={**os.environ, **settings}, start_new_session=True)
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until and server.poll() is None:
        try:
            with urllib.request.urlopen(f"{links.local(port)}/health", timeout=5):
                return server
        except OSError:
            time.sleep(0.5)
    stop(server)
    raise UiError(f"the UI of {masked(uri)} does not start", "read what mlflow says above")


def stop(server: subprocess.Popen[bytes]) -> None:
    """End a server with all its processes; `mlflow ui` itself does not end when it is only asked to."""
    with suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGTERM)
        try:
            server.wait(timeout=3.0)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()


def show(address: str) -> None:
    """Open an address in a browser."""
    webbrowser.open(address)
