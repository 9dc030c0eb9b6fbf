from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from tokgraft import artifacts
from tokgraft.cells import load_cells
from tokgraft.cli import main
from tokgraft.config import layout
from tokgraft.tracking.mlflow_store import FINGERPRINT, LIVE, TrackingError, default_uri, publish
from tokgraft.tracking.record import fingerprint, record

CELLS = Path("results/cells.json")
MEAN = "pocket/deu_Latn/bpe8k/mean/pocket-demo/s0"


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory):
    """A store with its tables made, so that each test does not make them again."""
    from mlflow.tracking import MlflowClient

    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    MlflowClient(tracking_uri=f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def store(project, empty_store):
    """A project with an empty store, and a function that lists its runs."""
    from mlflow.tracking import MlflowClient

    shutil.copy(empty_store, project / "mlflow.db")
    client = MlflowClient(tracking_uri=default_uri())

    def runs(live: str | None = "true"):
        experiment = client.get_experiment_by_name("demo")
        query = f"tags.`{LIVE}` = '{live}'" if live else ""
        return list(client.search_runs([experiment.experiment_id], query)) if experiment else []

    return client, runs


def test_every_cell_becomes_one_flat_run_with_all_that_is_known(store):
    client, runs = store
    done = publish(load_cells(CELLS))
    assert "MLFLOW_TRACKING_URI" not in os.environ, "publishing leaves the process's own MLflow settings alone"
    assert len(done.created) == 3 and done.uri == f"sqlite:///{Path('mlflow.db').resolve()}"
    found = {run.info.run_name: run for run in runs()}
    assert set(found) == {"deu_Latn/none", "deu_Latn/random", "deu_Latn/mean"}
    run = found["deu_Latn/mean"]
    assert run.info.status == "FINISHED"
    scores = json.loads(Path(layout.scores("pocket", "deu_Latn", "bpe8k", "mean", 0, "init"), "scores.json").read_text())
    assert run.data.metrics["bits_per_byte/init"] == pytest.approx(scores["tasks"]["bpb"]["metrics"]["bits_per_byte"])
    assert run.data.metrics["trained/heading/acc_bytes"] >= 0 and run.data.metrics["training/bytes"] == 300_000
    assert run.data.params["method"] == "mean" and "score/tasks" in run.data.params
    trained = layout.adapted("pocket", "deu_Latn", "bpe8k", "mean", 0, "pocket-demo")
    assert run.data.tags["artifact.trained"] == trained
    assert run.data.tags["manifest.trained"] == artifacts.fingerprint(Path(trained))
    curve = client.get_metric_history(run.info.run_id, "curve/val_bpb")
    assert [point.step for point in sorted(curve, key=lambda point: point.step)] == [0, 50, 100, 150, 200, 250]
    assert {file.path for file in client.list_artifacts(run.info.run_id, "score_trained")} == {
        "score_trained/scores.json",
        "score_trained/manifest.json",
    }


def test_publishing_again_changes_nothing(store):
    _, runs = store
    publish(load_cells(CELLS))
    before = {run.info.run_id for run in runs(None)}
    done = publish(load_cells(CELLS))
    assert not done.created and not done.superseded and len(done.unchanged) == 3
    assert {run.info.run_id for run in runs(None)} == before


def test_changed_artifacts_supersede_the_run_and_dropped_cells_retire(store):
    from synthetic_cells import write_scores

    _, runs = store
    publish(load_cells(CELLS))
    place = ("pocket", "deu_Latn", "bpe8k", "mean", 0)
    write_scores(
        Path(layout.scores(*place, "init")), Path(layout.adapted(*place, "init")), "pocket/deu_Latn", "mean", "bpe8k", 0, shift=0.1
    )
    done = publish(load_cells(CELLS))
    assert done.created == [MEAN] == done.superseded and len(done.unchanged) == 2
    assert (len(runs()), len(runs("false")), len(runs(None))) == (3, 1, 4)
    listing = json.loads(CELLS.read_text())
    listing["cells"] = listing["cells"][:2]
    CELLS.write_text(json.dumps(listing))
    assert publish(load_cells(CELLS)).retired == [MEAN]
    assert len(runs()) == 2


def test_a_killed_publisher_leaves_nothing_live_and_is_superseded(store, monkeypatch):
    client, runs = store
    cells = load_cells(CELLS)
    content = record(cells, cells.cells[0])
    experiment = client.create_experiment("demo")
    half = client.create_run(experiment, tags={**content.tags, LIVE: "pending"}, run_name=content.name)
    assert half.data.tags[FINGERPRINT] == fingerprint(cells.cells[0]) and not runs()
    done = publish(cells)
    assert len(done.created) == 3 and done.superseded == [cells.cells[0].key]
    assert client.get_run(half.info.run_id).info.status == "KILLED"
    assert len(runs()) == 3 and len(runs("pending")) == 0


def test_an_unfinished_cell_is_skipped_with_its_reason(store):
    _, runs = store
    folder = layout.scores("pocket", "deu_Latn", "bpe8k", "random", 0, "pocket-demo")
    shutil.rmtree(folder)
    done = publish(load_cells(CELLS))
    assert len(done.created) == 2 and len(runs()) == 2
    assert folder in done.skipped["pocket/deu_Latn/bpe8k/random/pocket-demo/s0"]


def test_the_command_prints_what_it_did(store, capsys):
    assert main(["publish", "--cells", str(CELLS)]) == 0
    assert len(json.loads(capsys.readouterr().out)["created"]) == 3


def test_a_server_that_is_down_is_a_clear_error(project, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(TrackingError, match="cannot be used") as error:
        publish(load_cells(CELLS), "http://127.0.0.1:9")
    assert "nothing is lost" in error.value.do


def test_a_store_in_a_folder_that_is_not_there(project):
    with pytest.raises(TrackingError, match="cannot be written"):
        publish(load_cells(CELLS), f"sqlite:///{project}/nowhere/mlflow.db")


def test_only_the_tracking_modules_know_the_stores():
    """Jobs stay free of both: no other module imports mlflow or dvc."""
    package = Path(artifacts.__file__).parent
    knows = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        for line in path.read_text().splitlines()
        if line.strip().startswith(("import mlflow", "from mlflow", "import dvc", "from dvc"))
    }
    assert knows == {"tracking/mlflow_store.py", "tracking/dvc_store.py"}
