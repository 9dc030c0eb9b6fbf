"""Addresses of pages of the MLflow UI, to be saved and sent to others."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from urllib.parse import quote

LOCAL_UI = "http://127.0.0.1:5000"  # where `make ui` shows a SQLite store


def home(uri: str) -> str:
    """Address of the UI of a tracking store, without user and password."""
    if not uri.startswith(("http://", "https://")):
        return LOCAL_UI
    scheme, _, rest = uri.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}".rstrip("/")


def runs(experiment: str) -> str:
    """The runs of an experiment; the UI opens them as model training."""
    return f"/#/experiments/{experiment}/runs?workflowType=machine_learning"


def charts(experiment: str, *conditions: str) -> str:
    """Charts over the runs that meet the conditions (MLflow's search language); holds whichever runs are current then."""
    return f"{runs(experiment)}&compareRunsMode=CHART&searchFilter={quote(' and '.join(conditions))}"


def compare(experiment: str, run_ids: Iterable[str]) -> str:
    """Runs side by side: parallel coordinates, and a column for each."""
    return f"/#/compare-runs?runs={_quoted(list(run_ids))}&experiments={_quoted([experiment])}"


def _quoted(values: Sequence[str]) -> str:
    return quote(json.dumps(values, separators=(",", ":")))
