"""MLflow as a view of the artifacts: one flat run per cell, safe to publish again, rebuilt at any time. The only module that imports it."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from tokgraft.cells import CellList
from tokgraft.errors import TokgraftError
from tokgraft.logs import Heartbeat, log
from tokgraft.tracking.record import Record, fingerprint, record, why_not

LIVE, KEY, FINGERPRINT = "pipeline.live", "pipeline.key", "pipeline.fingerprint"
# Limits of one log_batch request, and of names and values, as MLflow states them.
BATCH_METRICS, BATCH_PARAMS, BATCH_TAGS = 900, 100, 100
KEY_LENGTH, VALUE_LENGTH = 250, 6000

# The client is quiet and gives up soon: its defaults wait minutes for a server that is not there.
ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_ENABLE_REMOTE_ASSISTANT": "false", "MLFLOW_HTTP_REQUEST_TIMEOUT": "15",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
}  # fmt: skip

T = TypeVar("T")


class TrackingError(TokgraftError):
    """The tracking store cannot be reached or written."""


@dataclass
class Published:
    """What publishing did, by cell; `page` is where the UI (`make ui`) shows the runs."""

    uri: str
    experiment: str
    page: str = ""
    created: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    superseded: list[str] = field(default_factory=list)
    retired: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)


def default_uri() -> str:
    """The SQLite store of the folder that tokgraft is started in, or what MLFLOW_TRACKING_URI says."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{Path('mlflow.db').resolve()}"


def publish(cells: CellList, uri: str | None = None) -> Published:
    """Bring the store in step with the artifacts.

    A cell whose finished run carries the fingerprint of its artifacts is left alone. Otherwise a new run is written, and only when it is
    whole does it become the live one of its cell; the one before it stays in the store with `pipeline.live = false`.

    Args:
        cells: The cells of the experiment.
        uri: Tracking store (default: `default_uri()`).

    Raises:
        TrackingError: The store cannot be reached or written. Nothing is lost: the artifacts hold everything.
    """
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    uri = uri or default_uri()
    store = _connect(uri, cells.experiment)
    done = Published(_without_password(uri), cells.experiment, f"/#/experiments/{store.experiment}/runs?workflowType=machine_learning")
    heart = Heartbeat("publish", len(cells.cells), "cells")
    try:
        store.describe(cells)
        runs = store.runs()
        for number, cell in enumerate(cells.cells, 1):
            if reason := why_not(cell):
                done.skipped[cell.key] = reason
            else:
                of_cell = runs.get(cell.key, [])
                current = fingerprint(cell)
                if any(_is_current(run, current) for run in of_cell):
                    done.unchanged.append(cell.key)
                else:
                    store.write(record(cells, cell))
                    done.created.append(cell.key)
                done.superseded += store.retire([run for run in of_cell if not _is_current(run, current)])
            heart.beat(number)
        listed = {cell.key for cell in cells.cells}
        for key, old in runs.items():
            if key not in listed:
                done.retired += [key] if store.retire(old) else []
    except TokgraftError:
        raise
    except Exception as error:
        raise _unreachable(uri, error) from error
    log.info("%d runs written, %d unchanged, %d cells skipped in %s", len(done.created), len(done.unchanged), len(done.skipped),
             _without_password(uri))  # fmt: skip
    log.info("to see them: make ui, then open http://127.0.0.1:5000%s", done.page)
    return done


def _is_current(run: Any, current: str) -> bool:
    tags: dict[str, str] = run.data.tags
    return tags.get(FINGERPRINT) == current and tags.get(LIVE) == "true" and str(run.info.status) == "FINISHED"


@dataclass(frozen=True)
class Store:
    """An experiment of a tracking store."""

    client: Any
    experiment: str

    def describe(self, cells: CellList) -> None:
        """Say what the experiment is, and make the UI open it as model training."""
        note = f"{cells.description}\n\nOne run a cell. Filter `tags.\"{LIVE}\" = 'true'` for the current ones; `bits_per_byte/init` and "
        note += "`bits_per_byte/trained` are the headline, `curve/...` the learning curves, tags `artifact.*` and `manifest.*` the sources."
        self.client.set_experiment_tag(self.experiment, "mlflow.experimentKind", "custom_model_development")
        self.client.set_experiment_tag(self.experiment, "mlflow.note.content", note)

    def runs(self) -> dict[str, list[Any]]:
        """Runs of ours that are live or were left unfinished, by cell."""
        found: dict[str, list[Any]] = {}
        token = None
        while True:
            page = self.client.search_runs([self.experiment], f"tags.`{LIVE}` != 'false'", max_results=1000, page_token=token)
            for run in page:
                if KEY in run.data.tags:
                    found.setdefault(run.data.tags[KEY], []).append(run)
            token = page.token
            if not token:
                return found

    def retire(self, runs: Sequence[Any]) -> list[str]:
        """Take runs out of the live view; one that a killed publisher left behind is ended as well."""
        for run in runs:
            self.client.set_tag(run.info.run_id, LIVE, "false")
            if run.info.status not in {"FINISHED", "FAILED", "KILLED"}:
                self.client.set_terminated(run.info.run_id, "KILLED")
        return [run.data.tags[KEY] for run in runs]

    def write(self, content: Record) -> None:
        """Write a run; it becomes live with the last call."""
        from mlflow.entities import Metric, Param, RunTag

        run = self.client.create_run(self.experiment, tags={**content.tags, LIVE: "pending"}, run_name=content.name).info.run_id
        params = [Param(_key(name), value[:VALUE_LENGTH]) for name, value in content.params.items()]
        now = int(time.time() * 1000)
        metrics = [Metric(_key(name), value, now, 0) for name, value in content.metrics.items()]
        metrics += [Metric(_key(point.name), point.value, now, point.step) for point in content.curve]
        for part in _chunks(params, BATCH_PARAMS):
            self.client.log_batch(run, params=part)
        for part in _chunks(metrics, BATCH_METRICS):
            self.client.log_batch(run, metrics=part)
        for file, folder in content.files:
            self.client.log_artifact(run, str(file), folder)
        self.client.set_terminated(run, "FINISHED")
        self.client.log_batch(run, tags=[RunTag(LIVE, "true")])


def _connect(uri: str, name: str) -> Store:
    try:
        from mlflow.tracking import MlflowClient
    except ImportError as error:
        raise TrackingError(f"mlflow cannot be imported: {error}", "install the locked environment (make setup)") from None
    _check_local(uri)
    try:
        client = MlflowClient(tracking_uri=uri)
        experiment = client.get_experiment_by_name(name)
        if experiment is None:
            return Store(client, client.create_experiment(name, artifact_location=_artifact_location(uri, name)))
        if experiment.lifecycle_stage != "active":
            client.restore_experiment(experiment.experiment_id)
        return Store(client, experiment.experiment_id)
    except Exception as error:
        raise _unreachable(uri, error) from error


def _check_local(uri: str) -> None:
    """Say plainly that the folder of a SQLite store is missing or read-only; SQLAlchemy would say `unable to open database file`."""
    if not uri.startswith("sqlite:///"):
        return
    path = Path(uri.removeprefix("sqlite:///"))
    target = path if path.exists() else path.parent
    if not os.access(target, os.W_OK):
        raise TrackingError(
            f"the tracking store {path} cannot be written",
            "choose another with --uri sqlite:////path/mlflow.db; the artifacts are untouched",
        )


def _artifact_location(uri: str, name: str) -> str | None:
    """`mlruns/` beside a SQLite store; a server has a place of its own."""
    if not uri.startswith("sqlite:///"):
        return None
    return (Path(uri.removeprefix("sqlite:///")).resolve().parent / "mlruns" / name).as_uri()


def _unreachable(uri: str, error: Exception) -> TrackingError:
    first = str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__
    return TrackingError(
        f"the tracking store {_without_password(uri)} cannot be used: {first}",
        "start or name the server (--uri), then publish again; nothing is lost, every run is rebuilt from the artifacts",
    )


def _without_password(uri: str) -> str:
    return re.sub(r"//([^:/@]+):[^@/]*@", r"//\1:***@", uri)


def _key(name: str) -> str:
    """A name that MLflow accepts: letters, digits and _ - . : / and space."""
    return re.sub(r"[^\w\-. :/]", "_", name)[:KEY_LENGTH]


def _chunks(items: Sequence[T], size: int) -> Iterator[list[T]]:
    for start in range(0, len(items), size):
        yield list(items[start : start + size])
