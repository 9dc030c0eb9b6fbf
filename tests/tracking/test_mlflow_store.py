from __future__ import annotations

import calendar
import json
import os
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.parse
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path

import pytest

import tokgraft
from tokgraft import artifacts
from tokgraft.cells import load_cells
from tokgraft.cli import main
from tokgraft.config import layout
from tokgraft.errors import ArtifactError
from tokgraft.tracking import mlflow_store, ui
from tokgraft.tracking.address import TrackingError, default_uri
from tokgraft.tracking.card import card
from tokgraft.tracking.lock import LockError, alone
from tokgraft.tracking.mlflow_store import FINGERPRINT, LIVE
from tokgraft.tracking.publishing import Published, Publisher, publish
from tokgraft.tracking.record import fingerprint, record
from tokgraft.tracking.views import METRICS, PARAMETERS, TAG

CELLS = Path("results/experiments/demo/cells.json")
MEAN = "pocket/deu_Latn/bpe8k/mean/pocket-demo/s0"
NAME = "mean/bpe8k/pocket/deu_Latn/pocket-demo/s0"


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
    assert set(found) == {
        f"{method}/{tokenizer}/pocket/deu_Latn/pocket-demo/s0"
        for method, tokenizer in (("none", "original"), ("random", "bpe8k"), ("mean", "bpe8k"))
    }
    run = found[NAME]
    assert run.info.status == "FINISHED"
    scores = json.loads(Path(layout.scores("pocket", "deu_Latn", "bpe8k", "mean", 0, "init"), "scores.json").read_text())
    assert run.data.metrics["init_bits_per_byte"] == pytest.approx(scores["tasks"]["bpb"]["metrics"]["bits_per_byte"])
    assert run.data.metrics["trained/heading/acc_bytes"] >= 0 and run.data.metrics["training/bytes"] == 300_000
    assert run.data.params == dict(zip(PARAMETERS, ("pocket", "deu_Latn", "bpe8k", "mean", "pocket-demo", "0")))
    settings = json.loads(Path(client.download_artifacts(run.info.run_id, "settings.json")).read_text())
    assert settings["score_init"]["tasks"] == sorted(scores["tasks"]) and set(settings) >= {"base", "corpus", "init", "trained"}
    trained = layout.adapted("pocket", "deu_Latn", "bpe8k", "mean", 0, "pocket-demo")
    assert run.data.tags["artifact.trained"] == trained
    assert run.data.tags["manifest.trained"] == artifacts.fingerprint(Path(trained))
    curve = client.get_metric_history(run.info.run_id, "curve/val_bpb")
    assert [point.step for point in sorted(curve, key=lambda point: point.step)] == [0, 50, 100, 150, 200, 250]
    busy = client.get_metric_history(run.info.run_id, "system/cpu_utilization_percentage")
    assert sorted((point.timestamp, point.step, point.value) for point in busy) == [
        (1_790_000_000_000 + 1000 * i, 50 * i, 80.0 + i) for i in range(5)
    ]
    how = json.loads(Path(trained, "run.json").read_text())
    assert run.info.start_time == calendar.timegm(time.strptime(how["started"], "%Y-%m-%dT%H:%M:%SZ")) * 1000
    assert run.info.end_time >= run.info.start_time
    texts = {text.dataset.name: (text.dataset.digest, json.loads(text.dataset.source)["uri"]) for text in run.inputs.dataset_inputs}
    assert texts == {
        slug: (artifacts.fingerprint(Path(layout.corpus(slug)))[:36], layout.corpus(slug)) for slug in ("deu_Latn", layout.ENGLISH)
    }
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


def test_scores_alone_are_published_as_the_same_runs(store):
    _, runs = store
    publish(load_cells(CELLS))
    whole = {run.info.run_name: run.data for run in runs()}
    for kind in ("models", "corpora", "tokenizers"):
        shutil.rmtree(Path("results") / kind)
    assert len(publish(load_cells(CELLS)).unchanged) == 3
    done = publish(load_cells(CELLS), f"sqlite:///{Path('other.db').resolve()}")
    assert len(done.created) == 3 and not done.skipped
    again = record(load_cells(CELLS), load_cells(CELLS).cells[2])
    assert again.metrics.items() <= whole[NAME].metrics.items() and again.metrics["training/bytes"] == 300_000
    assert again.tags.items() <= whole[NAME].tags.items()
    assert len([point for point in again.curve if point.name == "curve/val_bpb"]) == 6


def test_zero_shot_cells_are_published_and_registered(store):
    from synthetic_cells import build

    _, runs = store
    shutil.rmtree("results")
    build(Path(), [("pocket", "deu_Latn", ["none", "mean"])], pages=10, zero_shot=True)
    done = publish(load_cells(CELLS), which="best")
    assert len(done.created) == 2
    run = next(run for run in runs() if run.data.tags["method"] == "mean")
    assert run.data.metrics["init_bits_per_byte"] == run.data.metrics["bits_per_byte"]
    assert list(done.registered["demo-deu_Latn"].versions) == ["pocket/deu_Latn/bpe8k/mean/init/s0"]


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


def pass_over(sleep=None, patience=0.0):
    """One pass of a publisher that has to reckon with others, as on a server."""
    cells = load_cells(CELLS)
    done = Published("", "demo")
    Publisher(mlflow_store.connect(default_uri(), "demo"), cells, done, True, patience, sleep or (lambda seconds: None)).work()
    return done


def test_what_another_publisher_has_begun_is_left_to_it(store):
    _, runs = store
    cells = load_cells(CELLS)
    other = mlflow_store.connect(default_uri(), "demo")
    content = record(cells, cells.cells[0])
    begun = other.begin(content, 1)
    done = pass_over(sleep=lambda seconds: other.fill(begun, content), patience=3.0)
    assert cells.cells[0].key in done.unchanged and len(done.created) == 2 and not done.superseded
    assert len(runs()) == 3 and begun in {run.info.run_id for run in runs()}


def test_what_another_publisher_has_left_is_taken_over(store):
    client, runs = store
    cells = load_cells(CELLS)
    begun = mlflow_store.connect(default_uri(), "demo").begin(record(cells, cells.cells[0]), 1)
    waited = []
    done = pass_over(sleep=waited.append, patience=3.0)
    assert len(waited) == 3 and len(done.created) == 3 and done.superseded == [cells.cells[0].key]
    assert len(runs()) == 3 and client.get_run(begun).info.status == "KILLED" and begun not in {run.info.run_id for run in runs()}


@pytest.mark.parametrize("first_to_begin", [True, False])
def test_two_that_begin_a_cell_in_the_same_moment_leave_one_run(store, monkeypatch, first_to_begin):
    """The other one begins between this one's look and its own run, and writes to the end whatever happens."""
    _, runs = store
    cells = load_cells(CELLS)
    other = mlflow_store.connect(default_uri(), "demo")
    content, begin = record(cells, cells.cells[0]), mlflow_store.Store.begin
    theirs: list[str] = []

    def both(self, mine, generation):
        if mine.key != content.key or theirs:
            return begin(self, mine, generation)
        ids = sorted(begin(other, content, 1) for _ in range(2))  # ids are random: decide who has the lower one
        theirs.append(ids[not first_to_begin])
        other.fill(theirs[0], content)
        return ids[first_to_begin]

    monkeypatch.setattr(mlflow_store.Store, "begin", both)
    done = pass_over(patience=3.0)
    live = [run.info.run_id for run in runs() if run.data.tags["pipeline.key"] == content.key]
    assert len(live) == 1 and len(runs()) == 3 and not runs("pending") and not runs("false")
    assert (live == theirs) == first_to_begin
    assert sorted(done.created + done.unchanged) == sorted(cell.key for cell in cells.cells)


def test_of_two_live_runs_with_other_content_the_newer_generation_stays(store, monkeypatch):
    """Two publishers with different artifacts at once must not hide each other's run."""
    from synthetic_cells import write_scores

    _, runs = store
    publish(load_cells(CELLS))
    place = ("pocket", "deu_Latn", "bpe8k", "mean", 0)
    write_scores(
        Path(layout.scores(*place, "init")), Path(layout.adapted(*place, "init")), "pocket/deu_Latn", "mean", "bpe8k", 0, shift=0.1
    )
    cells = load_cells(CELLS)
    newer, fill = mlflow_store.connect(default_uri(), "demo"), mlflow_store.Store.fill

    def meanwhile(self, run, content):
        monkeypatch.setattr(mlflow_store.Store, "fill", fill)
        later = newer.begin(replace(content, fingerprint="other", tags={**content.tags, FINGERPRINT: "other"}), 9)
        newer.fill(later, content)
        fill(self, run, content)

    monkeypatch.setattr(mlflow_store.Store, "fill", meanwhile)
    pass_over()
    (left,) = [run for run in runs() if run.data.tags["pipeline.key"] == MEAN]
    assert left.data.tags[FINGERPRINT] == "other"
    publish(cells)
    (left,) = [run for run in runs() if run.data.tags["pipeline.key"] == MEAN]
    assert left.data.tags[FINGERPRINT] == fingerprint(next(cell for cell in cells.cells if cell.key == MEAN)), "the next one settles it"


def test_publishers_of_one_file_wait_for_each_other(store):
    """Real processes: what one has written the others find."""
    _, runs = store
    command = [sys.executable, "-m", "tokgraft", "publish", "--cells", str(CELLS)]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    told = [one.communicate(timeout=120) for one in started]
    assert all(one.returncode == 0 for one in started), told
    done = [json.loads(out) for out, _ in told]
    assert sorted(len(one["created"]) for one in done) == [0, 0, 3]
    assert len(runs(None)) == 3


def test_a_lock_that_is_never_free_is_an_error_and_a_dead_holder_frees_it(tmp_path):
    path = tmp_path / "lock"
    code = f"from pathlib import Path; from tokgraft.tracking.lock import alone\nwith alone(Path({str(path)!r})): print('held', flush=True); input()"
    holder = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout and holder.stdout.readline() == "held\n"
    with pytest.raises(LockError, match="held by another process"), alone(path, wait=0.3):
        pass
    holder.kill()
    holder.wait()
    with alone(path, wait=5.0):
        pass


@pytest.mark.parametrize(("name", "times"), [("log_inputs", 3), ("set_experiment_tag", 5), ("set_registered_model_alias", 2)])
def test_what_somebody_else_is_just_adding_is_tried_again(store, monkeypatch, name, times):
    """As a server answers that two publishers ask for the same new row."""
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

    _, runs = store
    write, refused = getattr(MlflowClient, name), []

    def once(self, place, what, *more):
        key = place if name == "log_inputs" else what
        if key not in refused:
            refused.append(key)
            raise MlflowException("UniqueViolation")
        write(self, place, what, *more)

    monkeypatch.setattr(MlflowClient, name, once)
    assert len(publish(load_cells(CELLS), which="best").created) == 3 and len(refused) == times
    assert all(len(run.inputs.dataset_inputs) == 2 for run in runs())


def shown(client, address):
    """(the view that an address opens, the runs that it finds, in order)."""
    query = urllib.parse.parse_qs(urllib.parse.urlparse(address.replace("/#", "")).query)
    number = re.search(r"/experiments/(\d+)/", address)[1]
    view = json.loads(client.get_experiment(number).tags[f"{TAG}{query['viewStateShareKey'][0]}"])
    order = f"{view['orderByKey']} {'ASC' if view['orderByAsc'] else 'DESC'}"
    return view, list(client.search_runs([number], view["searchFilter"], order_by=[order]))


def test_a_comparison_shows_what_can_be_compared_with_its_bits_per_byte(project, empty_store):
    """Two languages, two base models, two of whose runs were scored on another task: four tables, each with all its runs."""
    from mlflow.tracking import MlflowClient
    from synthetic_cells import DEMO, build

    shutil.copy(empty_store, project / "mlflow.db")
    shutil.rmtree("results")
    build(project, DEMO, pages=5)
    other = layout.scores("pocket", "ell_Grek", "bpe8k", "focus", 0, "")
    for stage in (layout.INIT, "pocket-demo"):
        rename_task(Path(other) / stage, "bpb", "bpb-small")
    done = publish(load_cells(CELLS))
    client = MlflowClient(tracking_uri=default_uri())
    assert [(one.model, one.language, one.task, len(one.runs)) for one in done.comparisons] == [
        ("pocket", "deu_Latn", "bpb", 5), ("pocket", "ell_Grek", "bpb", 4), ("pocket", "ell_Grek", "bpb-small", 1),
        ("smollm2-135m", "deu_Latn", "bpb", 3),
    ]  # fmt: skip
    for one in done.comparisons:
        view, runs = shown(client, one.table)
        assert [run.data.tags["pipeline.key"] for run in runs] == [run["cell"] for run in one.runs]
        assert {(run.data.params["model"], run.data.params["language"]) for run in runs} == {(one.model, one.language)}
        assert {run.data.tags["task.bits_per_byte"] for run in runs} == {one.task}
        bits = [run.data.metrics["bits_per_byte"] for run in runs]
        assert bits == sorted(bits) == [run["bits_per_byte"] for run in one.runs]
        assert {f"metrics.`{name}`" for name in METRICS} <= set(view["selectedColumns"]) and "params.`method`" in view["selectedColumns"]
        assert view["runsHiddenMode"] == "SHOW_ALL", "the UI draws ten runs and hides the rest, if it is not told"
        assert shown(client, one.charts)[0] == view and one.charts.endswith("compareRunsMode=CHART")
    view, runs = shown(client, done.page)
    assert len(runs) == 13 and {"params.`model`", "params.`language`"} <= set(view["selectedColumns"])
    tags = client.get_experiment_by_name("demo").tags
    assert tags["pipeline.comparison"] == done.page and done.comparisons[0].table[22:] in tags["mlflow.note.content"]
    assert max(map(len, tags.values())) < 5000, "a tag that is cut is no JSON"


def rename_task(folder, old, new):
    """Scores on another task."""
    manifest, data = artifacts.read(folder), json.loads((folder / "scores.json").read_text())
    data["tasks"][new] = data["tasks"].pop(old)
    copy = folder.with_name(f"{folder.name}-copy")
    shutil.copytree(folder, copy)
    (copy / "scores.json").write_text(json.dumps(data))
    files = {path.relative_to(copy): path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    shutil.rmtree(copy)
    shutil.rmtree(folder)
    with artifacts.create(folder, manifest["kind"], manifest["settings"], {}) as out:
        for path, content in files.items():
            if path.name not in {"manifest.json", "run.json"} or path.parent != Path():
                (out / path).parent.mkdir(parents=True, exist_ok=True)
                (out / path).write_bytes(content)


def test_two_experiments_in_one_store_at_once_and_in_any_order(store):
    """They share artifacts; each has its own runs, views and record, whoever came first."""
    client, _ = store
    listing = json.loads(CELLS.read_text())
    files = []
    for name, cells in (("one", listing["cells"]), ("two", listing["cells"][1:])):
        path = Path(layout.cells(name))
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps({**listing, "experiment": name, "cells": cells}))
        files.append(path)
    command = [sys.executable, "-m", "tokgraft", "publish", "--cells"]
    started = [subprocess.Popen([*command, str(file)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for file in files]
    told = [one.communicate(timeout=300) for one in started]
    assert all(one.returncode == 0 for one in started), told
    done = {found["experiment"]: found for found in (json.loads(out) for out, _ in told)}
    counts = {name: len(found["created"]) for name, found in done.items()}
    assert counts == {"one": 3, "two": 2}
    for file in files[::-1]:
        again = publish(load_cells(file))
        assert not (again.created or again.retired or again.superseded), "the other one's runs are none of its own"
    for name, count in counts.items():
        _, runs = shown(client, done[name]["comparisons"][0]["table"])
        assert len(runs) == count and {run.info.experiment_id for run in runs} == {client.get_experiment_by_name(name).experiment_id}


def test_the_ui_prints_each_comparison_with_its_bits_per_byte(store):
    done = publish(load_cells(CELLS))
    Path(layout.published("demo")).write_text(json.dumps(asdict(done)))
    found = ui.published(default_uri())
    text = "\n".join(ui.comparisons(found, "http://127.0.0.1:7"))
    assert "demo: pocket, deu_Latn (bits per byte on bpb, 10 pages)" in text and "http://127.0.0.1:7/#/experiments/" in text
    rows = [line.split() for line in text.splitlines() if line.endswith("/s0")]
    assert [row[-1].split("/")[3] for row in rows] == ["none", "mean", "random"] and rows == sorted(rows)
    assert ui.first(found, "http://127.0.0.1:7") == done.comparisons[0].table.replace(":5000", ":7")
    assert ui.published("sqlite:////another.db") == [] and ui.first([], "http://127.0.0.1:7") == "http://127.0.0.1:7"


def test_nothing_is_called_the_best_on_few_pages(store):
    from synthetic_cells import write_scores

    client, _ = store
    publish(load_cells(CELLS), which="best")
    assert set(client.get_registered_model("demo-deu_Latn").aliases) == {"best", "best-pocket"}
    for method in ("mean", "random"):
        place = ("pocket", "deu_Latn", "bpe8k", method, 0, "pocket-demo")
        write_scores(Path(layout.scores(*place)), Path(layout.adapted(*place)), "pocket/deu_Latn", method, "bpe8k", 1, pages=9)
    done = publish(load_cells(CELLS), which="best")
    assert not client.get_registered_model("demo-deu_Latn").aliases and not done.registered["demo-deu_Latn"].aliases
    assert "fewer than 10 pages" in client.get_registered_model("demo-deu_Latn").description
    found = [asdict(done)]
    found[0]["comparisons"][0]["pages"] = 9
    assert "9 pages, and no order is claimed on fewer than 10)" in "\n".join(ui.comparisons(found, "http://127.0.0.1:7"))


def test_the_ui_says_what_is_wrong_before_it_starts(project, empty_store, capsys):
    assert main(["ui"]) == 2 and "there is no tracking store" in capsys.readouterr().err
    shutil.copy(empty_store, project / "mlflow.db")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert main(["ui", "--port", str(taken.getsockname()[1])]) == 2
    assert "is taken" in capsys.readouterr().err


def test_models_are_registered_once_with_their_card_and_the_best_has_a_name(store):
    from synthetic_cells import write_scores

    client, _ = store
    held = publish(load_cells(CELLS), which="all").registered
    assert set(held) == {"demo-deu_Latn"} and held["demo-deu_Latn"].added == [MEAN.replace("mean", "random"), MEAN][::-1]
    best = client.get_model_version_by_alias("demo-deu_Latn", "best")
    assert best.tags["method"] == "mean" and client.get_model_version_by_alias("demo-deu_Latn", "best-pocket").version == best.version
    trained = layout.adapted("pocket", "deu_Latn", "bpe8k", "mean", 0, "pocket-demo")
    assert best.tags["artifact"] == trained and best.tags["manifest"] == artifacts.fingerprint(Path(trained))
    assert f'from_pretrained("{trained}")' in best.description and "bits_per_byte" in best.description
    run = client.get_run(best.run_id)
    assert run.data.tags["pipeline.key"] == MEAN and best.source == f"runs:/{run.info.run_id}/trained"
    assert {file.path for file in client.list_artifacts(best.run_id, "trained")} >= {"trained/card.md", "trained/manifest.json"}
    again = publish(load_cells(CELLS), which="best").registered["demo-deu_Latn"]
    assert not again.added and len(client.search_model_versions("name = 'demo-deu_Latn'")) == 2
    # Other scores of the same model: the same version with another card, and another one is the best now.
    place = ("pocket", "deu_Latn", "bpe8k", "mean", 0, "pocket-demo")
    write_scores(Path(layout.scores(*place)), Path(layout.adapted(*place)), "pocket/deu_Latn", "mean", "bpe8k", 1, shift=2.0)
    publish(load_cells(CELLS), which="all")
    assert len(client.search_model_versions("name = 'demo-deu_Latn'")) == 2
    assert client.get_model_version_by_alias("demo-deu_Latn", "best").tags["method"] == "random"
    assert client.get_model_version("demo-deu_Latn", best.version).description != best.description


def test_a_card_stands_beside_an_original_that_was_scored_after_training_alone(project):
    cells = load_cells(CELLS)
    (control,) = [cell for cell in cells.cells if cell.method == "none"]
    mean = next(cell for cell in cells.cells if cell.method == "mean")
    whole = card(cells, mean)
    shutil.rmtree(control.paths.score_init)
    assert "own vocabulary, trained alike" in whole and card(cells, mean) == whole


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


def test_what_is_no_store_is_said_at_once(project, capsys):
    """MLflow tries again for a minute, makes a folder of that name, or keeps nothing."""
    Path("folder").mkdir()
    Path("text").write_text("no database")
    os.mkfifo("pipe")
    Path("link").symlink_to("folder")
    for uri, reason in {
        f"sqlite:///{project}/nowhere/mlflow.db": "cannot be written",
        f"sqlite:///{project}/folder": "is no file",
        f"sqlite:///{project}/link": "is no file",
        f"sqlite:///{project}/pipe": "is no file",
        "sqlite:////dev/null": "is no file",
        f"sqlite:///{project}/text": "is no SQLite file",
        "sqlite://": "names no file",
        "sqlite:///": "names no file",
        "sqlite:///:memory:": "names no file",
        "mlflow.db": "is no address",
        f"file://{project}/mlruns": "is no address",
        "postgres://me:s3cr3t@host/x": "is no address",
        "postgresql://me:s3cr3t@127.0.0.1:1/x": "cannot be used",
        "postgresql+nodriver://me:s3cr3t@127.0.0.1:1/x": "cannot be used",
        "http://127.0.0.1:port": "cannot be used",
        "http://me:s3cr3t@127.0.0.1:1": "cannot be used",
        "http://s3cr3t@127.0.0.1:1": "cannot be used",
    }.items():
        assert main(["publish", "--cells", str(CELLS), "--uri", uri]) == 2, uri
        said = capsys.readouterr()
        assert (reason in said.err or "is no address" in said.err) and "s3cr3t" not in said.out + said.err, (uri, said.err)
    assert {path.name for path in project.iterdir()} == {"results", "folder", "text", "pipe", "link"}


def test_a_store_that_is_a_folder_is_said_before_anything_is_locked(project):
    Path("mlflow.db").mkdir()
    with pytest.raises(TrackingError, match=r"mlflow\.db is no file"):
        publish(load_cells(CELLS))
    assert not Path("mlflow.db.lock").exists()


def test_a_store_is_made_in_no_artifact_and_in_no_file_of_the_users(project, capsys):
    """The database, its lock and mlruns/ would lie in the artifact, or MLflow's tables among the user's own."""
    score = Path(layout.scores("pocket", "deu_Latn", "bpe8k", "mean", 0, "pocket-demo"))
    Path("outside").mkdir()
    Path("outside/inside").symlink_to(project / score)
    shutil.copytree(score, "copied")
    Path("empty.txt").touch()
    with closing(sqlite3.connect("mine.db")) as mine:
        mine.execute("CREATE TABLE experiments (id INTEGER)")
        mine.commit()

    def everything() -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in sorted(project.rglob("*")) if path.is_file()}

    before = everything()
    for uri, reason in {
        f"sqlite:///{layout.base('pocket')}/m.db": "lies inside",
        f"sqlite:///{project}/{score}/samples/m.db": "lies inside",
        "sqlite:///outside/inside/m.db": "lies inside",
        "sqlite:///copied/m.db": "lies inside",
        "sqlite:///results/m.db": "lies in results/",
        f"sqlite:///{project}/results/experiments/demo/m.db": "lies in results/",
        "sqlite:///empty.txt": "is empty",
        "sqlite:///mine.db": "no tracking store",
        "sqlite:///file:results/m.db?uri=true": "names no file",
    }.items():
        assert main(["publish", "--cells", str(CELLS), "--uri", uri]) == 2, uri
        assert reason in capsys.readouterr().err, uri
        assert everything() == before, uri
    assert main(["ui", "--no-browser", "--uri", "sqlite:///mine.db"]) == 2 and everything() == before


def test_what_a_killed_publisher_has_begun_to_make_becomes_a_store(project):
    Path("mlflow.db").touch()
    Path("mlflow.db.lock").touch()
    assert len(publish(load_cells(CELLS)).created) == 3


def test_with_a_lock_beside_it_a_database_of_the_users_still_gets_no_table(project):
    with closing(sqlite3.connect("mine.db")) as mine:
        mine.execute("CREATE TABLE experiments (id INTEGER)")
        mine.commit()
    Path("mine.db.lock").touch()
    before = Path("mine.db").read_bytes()
    with pytest.raises(TrackingError, match="no tracking store"):
        publish(load_cells(CELLS), "sqlite:///mine.db")
    assert Path("mine.db").read_bytes() == before


@pytest.mark.parametrize("kind", ["model", "scores", "speed"])
def test_what_is_not_the_cells_own_is_not_published(store, kind, capsys):
    """A model made again since it was scored; the scores of another cell; a speed of a tokenizer made again since."""
    from synthetic_cells import write_speed

    _, runs = store
    place = ("pocket", "deu_Latn", "bpe8k", "mean", 0)
    if kind == "model":
        with artifacts.create(Path(layout.adapted(*place, "pocket-demo")), "model", {"seed": 0}) as folder:
            (folder / "model.safetensors").write_text("other")
    elif kind == "scores":
        shutil.rmtree(layout.scores(*place, "pocket-demo"))
        shutil.copytree(layout.scores(*place[:3], "random", 0, "pocket-demo"), layout.scores(*place, "pocket-demo"))
    else:
        other = Path(layout.tokenizer("pocket", "deu_Latn", "original"))
        write_speed(Path(layout.speed(*place[:3])), "bpe8k", None, {"tokenizer": other})
    with pytest.raises(ArtifactError, match=rf"nothing is published: {MEAN if kind != 'speed' else 'pocket'}.* was made from another"):
        publish(load_cells(CELLS))
    assert runs(None) == []
    assert main(["publish", "--cells", str(CELLS)]) == 2
    assert "nothing is published" in capsys.readouterr().err


def test_a_cell_whose_speed_alone_was_measured_again_is_published_again(store):
    _, runs = store
    publish(load_cells(CELLS))
    folder = Path(layout.speed("pocket", "deu_Latn", "bpe8k"))
    manifest, told = artifacts.read(folder), json.loads((folder / "speed.json").read_text())
    for repeat in told["repeats"]:
        repeat["after"]["generation"]["seconds"] /= 2
    with artifacts.create(folder, "speed", manifest["settings"]) as temporary:
        shutil.copyfile(folder / "passages.jsonl", temporary / "passages.jsonl")
        (temporary / "speed.json").write_text(json.dumps(told))
    # The manifest does not change when a real one is measured again: put the same one back.
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n")
    (folder / "run.json").unlink()
    done = publish(load_cells(CELLS))
    assert len(done.created) == 2 and len(done.unchanged) == 1, "the original has no speed"
    name = next(run for run in runs() if run.data.tags["pipeline.key"] == MEAN).data.metrics
    assert name["speed/generation/factor/mean"] == pytest.approx(2 * 52 / 31, rel=0.02)


def test_an_altered_artifact_is_not_published(store):
    """Whatever a run shows was hashed: scores, totals, curves, settings."""
    _, runs = store
    score = layout.scores("pocket", "deu_Latn", "bpe8k", "mean", 0, "pocket-demo")
    for file in (
        Path(score, "scores.json"),
        Path(score, layout.RECORDS, "metrics.jsonl"),
        Path(score, layout.RECORDS, "training.json"),
        Path(layout.tokenizer("pocket", "deu_Latn", "bpe8k"), "metrics.json"),
    ):
        content = file.read_bytes()
        file.write_bytes(content.replace(b"1", b"2"))
        with pytest.raises(ArtifactError, match=re.escape(file.name)):
            publish(load_cells(CELLS))
        file.write_bytes(content)
        assert not [run for run in runs() if run.data.tags["method"] == "mean"]


@pytest.mark.parametrize(
    "path",
    [layout.speed("pocket", "deu_Latn", "bpe8k") + "/speed.json", layout.corpus("deu_Latn") + "/card.json", layout.tokenizer("pocket", "deu_Latn", "bpe8k") + "/metrics.json"],
)  # fmt: skip
def test_what_publishing_refuses_the_check_names_and_no_store_is_made(project, path, capsys):
    file = Path(path)
    file.write_text(file.read_text() + " ")
    assert main(["report", "--cells", str(CELLS), "--check"]) == 1
    said = capsys.readouterr()
    assert path in said.err and " 0 problems" not in said.out
    with pytest.raises(ArtifactError, match="nothing is published"):
        publish(load_cells(CELLS))
    assert sorted(one.name for one in project.iterdir()) == ["results"]


@pytest.mark.parametrize("which", ["best", "all"])
def test_an_altered_model_is_not_registered(project, which, capsys):
    """Of those that would be: with `best` another method's model may be whatever it is."""
    place = ("pocket", "deu_Latn", "bpe8k")
    altered = Path(layout.adapted(*place, "mean" if which == "best" else "random", 0, "pocket-demo"), "model.safetensors")
    altered.write_text(altered.read_text()[:-1] + "!")
    assert main(["publish", "--cells", str(CELLS), "--register", which]) == 2
    said = capsys.readouterr().err
    assert "the model to be registered for pocket/deu_Latn/bpe8k/" in said and f"{altered}: content altered" in said
    assert sorted(one.name for one in project.iterdir()) == ["results"]


def test_only_the_tracking_modules_know_the_stores():
    """Jobs stay free of both: no other module imports mlflow or dvc."""
    package = Path(tokgraft.__file__).parent
    knows = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        for line in path.read_text().splitlines()
        if line.strip().startswith(("import mlflow", "from mlflow", "import dvc", "from dvc"))
    }
    assert knows == {"tracking/mlflow_store.py", "store/cache.py"}
