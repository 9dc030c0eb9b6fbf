"""Addresses of pages of the MLflow UI, to be saved and sent to others."""

from __future__ import annotations

from urllib.parse import quote

PORT = 5000  # where `make ui` shows a store that is no server


def local(port: int = PORT) -> str:
    """Address of the UI that runs on this machine."""
    return f"http://127.0.0.1:{port}"


def home(uri: str) -> str:
    """Address of the UI of a tracking store, without user and password."""
    if not uri.startswith(("http://", "https://")):
        return local()
    scheme, _, rest = uri.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}".rstrip("/")


def runs(experiment: str) -> str:
    """The runs of an experiment; the UI opens them as model training."""
    return f"/#/experiments/{experiment}/runs?workflowType=machine_learning"


def view(experiment: str, key: str) -> str:
    """The table of the runs in a saved view (`tracking.views`)."""
    return f"{runs(experiment)}&viewStateShareKey={quote(key, safe='')}"


def charts(experiment: str, key: str) -> str:
    """Charts of the runs in a saved view."""
    return f"{view(experiment, key)}&compareRunsMode=CHART"
