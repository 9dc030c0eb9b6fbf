"""An experiment in an MLflow store: runs, and versions in the model registry. The only module that imports MLflow."""

from __future__ import annotations

import json
import os
import random
import re
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import zip_longest
from typing import Any, TypeVar
from urllib.parse import urlsplit

from tokgraft.errors import TokgraftError
from tokgraft.masking import masked
from tokgraft.tracking.address import TrackingError, file_of
from tokgraft.tracking.record import CellRecord

LIVE, KEY, FINGERPRINT = "pipeline.live", "pipeline.key", "pipeline.fingerprint"
GENERATION, BEGUN = "pipeline.generation", "pipeline.begun"
PENDING = "pending"
SETTINGS = "settings.json"  # all resolved settings, among the files of a run: as parameters a hundred would bury the six that matter
OLD = 3600.0  # seconds after which a run that is still pending was left by a publisher that is gone
PAGE = 100  # runs in one answer: each comes with all its metrics and settings, and a busy server is slow
# Limits of one log_batch request, and of names and values, as MLflow states them.
BATCH_METRICS, BATCH_PARAMS = 900, 100
KEY_LENGTH, VALUE_LENGTH, DIGEST_LENGTH, NOTE_LENGTH = 250, 6000, 36, 5000
ENDED = {"FINISHED", "FAILED", "KILLED"}

# The client is quiet and gives up soon: its defaults wait minutes for a server that is not there.
ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_ENABLE_REMOTE_ASSISTANT": "false", "MLFLOW_HTTP_REQUEST_TIMEOUT": "60",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # standard output is for what was done, as JSON
}  # fmt: skip

ATTEMPTS = 4
REACH = 5.0  # seconds to wait for a server to take the connection
PROXIES = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")

T = TypeVar("T")


@dataclass(frozen=True)
class StoredRun:
    """A run as the store tells it."""

    id: str
    key: str
    fingerprint: str
    live: str
    status: str
    generation: int
    begun: float = 0.0

    @property
    def whole(self) -> bool:
        """Whether it is live and was written to its end."""
        return self.live == "true" and self.status == "FINISHED"

    @property
    def old(self) -> bool:
        """Whether nobody can still be writing it."""
        return time.time() - self.begun > OLD

    @property
    def rank(self) -> tuple[int, str]:
        """Of several whole runs of a cell the lowest counts: the newest generation, then the lowest id, so that all publishers agree."""
        return (-self.generation, self.id)


@dataclass(frozen=True)
class Version:
    """A version of a registered model."""

    number: str
    manifest: str
    live: bool
    description: str


@contextmanager
def named_errors(uri: str) -> Iterator[None]:
    """Whatever MLflow raises becomes a TrackingError that says what to do."""
    try:
        yield
    except TokgraftError:
        raise
    except Exception as error:
        first = str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__
        raise TrackingError(
            f"the tracking store {masked(uri)} cannot be used: {masked(first)}",
            "start or name the server (--uri), then publish again; nothing is lost, every run is rebuilt from the artifacts",
        ) from error


def connect(uri: str, name: str) -> Store:
    """Open an experiment; it is made, or brought back from the trash, where that is needed."""
    for variable, value in ENVIRONMENT.items():
        os.environ.setdefault(variable, value)
    try:
        from mlflow.exceptions import MlflowException
        from mlflow.tracking import MlflowClient
    except ImportError as error:
        raise TrackingError(f"mlflow cannot be imported: {error}", "install the locked environment (make setup)") from None
    _reach(uri)
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        file = file_of(uri)
        place = (file.resolve().parent / "mlruns" / name).as_uri() if file else None  # a server has a place of its own
        try:
            return Store(client, client.create_experiment(name, artifact_location=place))
        except MlflowException:  # somebody else has just made it
            experiment = client.get_experiment_by_name(name)
            if experiment is None:
                raise
    if experiment.lifecycle_stage != "active":
        client.restore_experiment(experiment.experiment_id)
    return Store(client, experiment.experiment_id)


def _reach(uri: str) -> None:
    """Try a store once: MLflow tries a database ten times, and waits as long for a host that swallows packets as for a busy server.

    Raises:
        Exception: Nobody listens there, or the database refuses.
    """
    address = urlsplit(uri)
    if address.scheme in {"http", "https"}:
        if address.hostname and not any(os.environ.get(name) for name in PROXIES):
            socket.create_connection((address.hostname, address.port or (443 if address.scheme == "https" else 80)), timeout=REACH).close()
        return
    from sqlalchemy import NullPool, create_engine

    patience = {"connect_timeout": int(REACH)} if address.scheme.startswith(("postgresql", "mysql")) else {}
    create_engine(uri, poolclass=NullPool, connect_args=patience).connect().close()


@dataclass(frozen=True)
class Store:
    """An experiment of a tracking store."""

    client: Any
    experiment: str

    def describe(self, note: str, tags: dict[str, str]) -> None:
        """Say what the experiment is, and make the UI open it as model training."""
        for name, value in {"mlflow.experimentKind": "custom_model_development", "mlflow.note.content": note, **tags}.items():
            _again(partial(self.client.set_experiment_tag, self.experiment, name, value[:NOTE_LENGTH]))

    def runs(self, key: str | None = None) -> list[StoredRun]:
        """Runs of ours that are live or were left unfinished, of all cells or of one."""
        found: list[StoredRun] = []
        query = f"tags.`{LIVE}` != 'false'" + (f" and tags.`{KEY}` = '{key}'" if key else "")
        token = None
        while True:
            page = self.client.search_runs([self.experiment], query, max_results=PAGE, page_token=token)
            for run in page:
                tags = run.data.tags
                if KEY in tags:
                    found.append(StoredRun(
                        run.info.run_id, tags[KEY], tags.get(FINGERPRINT, ""), tags[LIVE], str(run.info.status), int(tags.get(GENERATION, 0)),
                        float(tags.get(BEGUN, 0)),
                    ))  # fmt: skip
            token = page.token
            if not token:
                return found

    def retire(self, run: StoredRun) -> None:
        """Take a run out of the live view; one that a killed publisher left behind is ended as well."""
        with self._gone():
            self.client.set_tag(run.id, LIVE, "false")
            if run.status not in ENDED:
                self.client.set_terminated(run.id, "KILLED")

    def discard(self, run_id: str) -> None:
        """Put a run into the trash: another publisher wrote the same."""
        with self._gone():
            self.client.delete_run(run_id)

    @contextmanager
    def _gone(self) -> Iterator[None]:
        """A run that another publisher has put into the trash already is no error."""
        from mlflow.exceptions import MlflowException

        try:
            yield
        except MlflowException as error:
            if "active" not in str(error):
                raise

    def begin(self, content: CellRecord, generation: int) -> str:
        """A new run that is not live yet; its id."""
        tags = {**content.tags, LIVE: PENDING, GENERATION: str(generation), BEGUN: f"{time.time():.0f}"}
        start = content.span[0] if content.span else None
        return str(self.client.create_run(self.experiment, start_time=start, tags=tags, run_name=content.name).info.run_id)

    def fill(self, run_id: str, content: CellRecord) -> None:
        """Write a run; it becomes live with the last call."""
        from mlflow.entities import Metric, Param, RunTag

        now = int(time.time() * 1000)
        params = [Param(_key(name), value[:VALUE_LENGTH]) for name, value in content.params.items()]
        metrics = [Metric(_key(name), value, now, 0) for name, value in content.metrics.items()]
        metrics += [Metric(_key(point.name), point.value, point.time or now, point.step) for point in content.curve]
        for some, more in zip_longest(_chunks(params, BATCH_PARAMS), _chunks(metrics, BATCH_METRICS), fillvalue=()):
            self.client.log_batch(run_id, params=some, metrics=more)
        self._texts(run_id, content)
        self.client.log_dict(run_id, content.settings, SETTINGS)
        for file, folder in content.files:
            self.client.log_artifact(run_id, str(file), folder)
        self.client.set_terminated(run_id, "FINISHED", end_time=content.span[1] if content.span else None)
        self.client.log_batch(run_id, tags=[RunTag(LIVE, "true")])

    def _texts(self, run_id: str, content: CellRecord) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        inputs = [
            DatasetInput(
                Dataset(text.name, text.digest[:DIGEST_LENGTH], "local", json.dumps({"uri": text.folder}), profile=json.dumps(text.facts)),
                [InputTag("mlflow.data.context", text.context)],
            )
            for text in content.texts
        ]
        _again(partial(self.client.log_inputs, run_id, inputs))

    def write_text(self, run_id: str, text: str, path: str) -> None:
        """A text among the files of a run."""
        self.client.log_text(run_id, text, path)

    # --- model registry

    def versions(self, model: str) -> list[Version]:
        """Versions of a registered model, oldest first; the model is made where it is not there."""
        from mlflow.exceptions import MlflowException

        try:
            self.client.get_registered_model(model)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            try:
                self.client.create_registered_model(model)
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
        found: list[Version] = []
        token = None
        while True:
            page = self.client.search_model_versions(f"name = '{model}'", max_results=1000, page_token=token)
            found += [
                Version(str(one.version), one.tags.get("manifest", ""), one.tags.get(LIVE) == "true", one.description or "") for one in page
            ]
            token = page.token
            if not token:
                return sorted(found, key=lambda one: int(one.number))

    def add_version(self, model: str, run_id: str, folder: str, tags: dict[str, str], description: str) -> str:
        """A new version that points to a folder of a run; its number."""
        made = self.client.create_model_version(
            model, f"runs:/{run_id}/{folder}", run_id, tags=tags, description=description, await_creation_for=15
        )
        return str(made.version)

    def remove_version(self, model: str, number: str) -> None:
        """Delete a version: another publisher registered the same."""
        self.client.delete_model_version(model, number)

    def mark_version(self, model: str, number: str, live: bool) -> None:
        """Say whether a version belongs to the current artifacts."""
        _again(partial(self.client.set_model_version_tag, model, number, LIVE, str(live).lower()))

    def describe_version(self, model: str, number: str, description: str) -> None:
        """Replace the text of a version."""
        self.client.update_model_version(model, number, description)

    def describe_model(self, model: str, description: str, tags: dict[str, str]) -> None:
        """Text and tags of a registered model."""
        self.client.update_registered_model(model, description)
        for name, value in tags.items():
            _again(partial(self.client.set_registered_model_tag, model, name, value))

    def point(self, model: str, alias: str, number: str) -> None:
        """Let an alias name a version."""
        _again(partial(self.client.set_registered_model_alias, model, alias, number))

    def unpoint(self, model: str, alias: str) -> None:
        """Take an alias away, where it is."""
        if alias in self.client.get_registered_model(model).aliases:
            _again(partial(self.client.delete_registered_model_alias, model, alias))


def _again(write: Callable[[], object]) -> None:
    """Write what publishers share (an experiment's tags, the rows of corpora): a server refuses the second of two that add it at once."""
    from mlflow.exceptions import MlflowException

    for left in reversed(range(ATTEMPTS)):
        try:
            write()
            return
        except MlflowException:
            if not left:
                raise
            time.sleep(random.random())


def _key(name: str) -> str:
    """A name that MLflow accepts: letters, digits and _ - . : / and space."""
    return re.sub(r"[^\w\-. :/]", "_", name)[:KEY_LENGTH]


def _chunks(items: Sequence[T], size: int) -> Iterator[list[T]]:
    for start in range(0, len(items), size):
        yield list(items[start : start + size])
