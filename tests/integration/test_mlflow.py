"""MLflow for real: a server on PostgreSQL, publishers at once, the UI in a browser, a server that goes away."""

from __future__ import annotations

import json
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import SMOKE, Checkout, copy_run
from tokgraft.config import layout

sys.path.insert(0, str(Path(__file__).parents[1] / "reporting"))

pytestmark = pytest.mark.timeout(1800)

LANGUAGES = ("deu_Latn", "ell_Grek", "fin_Latn", "tur_Latn")
SEEDS = range(10)
PAGES = 12  # fewer would let nobody be the best
SHOWN = Path(os.environ.get("TOKGRAFT_SHOWN", "logs/integration"))  # what people may want to look at afterwards


def installed(program: str, package: str) -> str:
    """Path of a program; installed by apt as root, else the test is skipped."""
    places = [Path(found)] if (found := shutil.which(program)) else sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{program}"))
    if not places and os.geteuid() == 0 and shutil.which("apt-get"):
        words = ["apt-get", "install", "--yes", "--no-install-recommends", package]
        done = subprocess.run(words, capture_output=True, text=True, check=False, env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"})
        if done.returncode == 0:
            return installed(program, package)
    if not places:
        pytest.skip(f"{program} (package {package}) is not here and cannot be installed by apt")
    return str(places[-1])


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    """Address of an empty PostgreSQL database of its own: no port, a socket in its own folder."""
    programs = Path(installed("initdb", "postgresql")).resolve().parent
    folder = Path(tempfile.mkdtemp(prefix="tokgraft-pg-"))
    who = []
    if os.geteuid() == 0:  # the server refuses to run as root
        owner = pwd.getpwnam("postgres")
        os.chown(folder, owner.pw_uid, owner.pw_gid)
        who = ["runuser", "-u", "postgres", "--"]

    def call(program: str, *words: str) -> None:
        done = subprocess.run([*who, programs / program, *words], capture_output=True, text=True, check=False, cwd=folder)
        assert done.returncode == 0, done.stderr

    options = f"-c listen_addresses='' -c unix_socket_directories={folder} -c fsync=off"
    call("initdb", "-D", str(folder / "data"), "-A", "trust", "-U", "postgres", "--no-sync")
    with (folder / "start.log").open("w") as said:  # the daemon keeps what it is given: a pipe would never end
        subprocess.run([*who, programs / "pg_ctl", "-D", folder / "data", "-w", "-l", folder / "log", "-o", options, "start"],
                       stdout=said, stderr=said, check=True, cwd=folder)  # fmt: skip
    try:
        call("createdb", "-h", str(folder), "-U", "postgres", "mlflow")
        yield f"postgresql://postgres@/mlflow?host={folder}"
    finally:
        call("pg_ctl", "-D", str(folder / "data"), "-m", "immediate", "-w", "stop")
        shutil.rmtree(folder)


@dataclass
class Server:
    """An MLflow server that can be killed and started again."""

    database: str
    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = field(default=None)

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        words = [
            sys.executable, "-m", "mlflow", "server", "--backend-store-uri", self.database, "--artifacts-destination", self.folder / "files",
            "--host", "127.0.0.1", "--port", str(self.port), "--workers", "1",
        ]  # fmt: skip
        with (self.folder / "server.log").open("ab") as said:
            self.process = subprocess.Popen(
                words,
                stdout=said,
                stderr=said,
                cwd=self.folder,
                start_new_session=True,
                env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"},
            )
        until = time.monotonic() + 600  # seconds; a busy machine takes minutes to make the tables
        while time.monotonic() < until:
            assert self.process.poll() is None, (self.folder / "server.log").read_text()[-3000:]
            try:
                with urllib.request.urlopen(f"{self.uri}/health", timeout=5):
                    return
            except OSError:
                time.sleep(1)
        pytest.fail("the MLflow server does not answer: " + (self.folder / "server.log").read_text()[-3000:])

    def kill(self) -> None:
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    def runs(self, experiment: str) -> list[Any]:
        """All runs of an experiment that are not in the trash."""
        from mlflow.tracking import MlflowClient

        client = MlflowClient(tracking_uri=self.uri)
        found, token = [], None
        while True:
            page = client.search_runs([client.get_experiment_by_name(experiment).experiment_id], max_results=100, page_token=token)
            found += page
            token = page.token
            if not token:
                return found

    def states(self, experiment: str) -> Counter[tuple[str, str]]:
        """(status, live) of the runs."""
        return Counter((run.info.status, run.data.tags["pipeline.live"]) for run in self.runs(experiment))


@pytest.fixture(scope="module")
def running(database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    pytest.importorskip("psycopg2", reason="psycopg2-binary is in envs/integration.txt")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        server = Server(database, tmp_path_factory.mktemp("server"), free.getsockname()[1])
    try:
        server.start()
        yield server
    finally:
        server.kill()


@pytest.fixture
def server(running: Server) -> Server:
    """The server, up."""
    if running.process is None:
        running.start()
    return running


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with 200 finished cells: five methods, four languages, ten seeds."""
    from synthetic_cells import LEVELS, build

    root = tmp_path_factory.mktemp("many")
    build(root, [("pocket", language, list(LEVELS)) for language in LANGUAGES], seeds=SEEDS, pages=PAGES)
    return root


def cells(root: Path, experiment: str, keep: slice = slice(None)) -> Path:
    """A cell list of its own name."""
    listing = json.loads((root / layout.cells("demo")).read_text())
    path = root / f"results/{experiment}.json"
    path.write_text(json.dumps({**listing, "experiment": experiment, "cells": listing["cells"][keep]}))
    return path


def publisher(root: Path, listing: Path, server: Server, *flags: str) -> subprocess.Popen[str]:
    words = [sys.executable, "-m", "tokgraft", "publish", "--cells", str(listing), "--uri", server.uri, *flags]
    return subprocess.Popen(words, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def told(process: subprocess.Popen[str]) -> dict[str, Any]:
    out, error = process.communicate(timeout=900)
    assert process.returncode == 0, error
    done: dict[str, Any] = json.loads(out)
    return done


def test_four_publishers_of_200_cells_lose_and_double_nothing(server: Server, many: Path) -> None:
    listing = cells(many, "many")
    started = [publisher(many, listing, server) for _ in range(4)]
    done = [told(one) for one in started]
    found = server.runs("many")
    assert Counter((run.info.status, run.data.tags["pipeline.live"]) for run in found) == {("FINISHED", "true"): 200}
    assert len({run.data.tags["pipeline.key"] for run in found}) == 200
    assert all(len(one["created"]) + len(one["unchanged"]) == 200 for one in done)
    assert sum(len(one["created"]) for one in done) < 220, "they share the work"
    assert sum(bool(one["created"]) for one in done) > 1
    # Each run is whole: curve, system metrics, inputs, files.
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=server.uri)
    for run in found[::40]:
        assert len(client.get_metric_history(run.info.run_id, "curve/val_bpb")) == 6
        assert len(client.get_metric_history(run.info.run_id, "system/cpu_utilization_percentage")) == 5
        assert len(run.inputs.dataset_inputs) == 2
        assert {file.path for file in client.list_artifacts(run.info.run_id)} >= {"trained", "score_trained"}


def test_publishing_again_adds_none_and_changed_cells_supersede(server: Server, many: Path) -> None:
    from synthetic_cells import write_scores

    listing = cells(many, "many")
    before = {run.info.run_id for run in server.runs("many")}
    done = told(publisher(many, listing, server))
    assert not done["created"] and len(done["unchanged"]) == 200
    assert {run.info.run_id for run in server.runs("many")} == before
    for seed in range(3):
        place = ("pocket", "fin_Latn", "bpe8k", "focus", seed, "pocket-demo")
        scores, model = many / layout.scores(*place), many / layout.adapted(*place)
        write_scores(scores, model, "pocket/fin_Latn", "focus", "bpe8k", 1, seed, pages=PAGES, shift=-0.5)
    started = [publisher(many, listing, server) for _ in range(2)]
    both = [told(one) for one in started]
    changed = [f"pocket/fin_Latn/bpe8k/focus/pocket-demo/s{seed}" for seed in range(3)]
    assert sorted({key for one in both for key in one["created"]}) == changed
    assert sorted({key for one in both for key in one["superseded"]}) == changed
    assert server.states("many") == {("FINISHED", "true"): 200, ("FINISHED", "false"): 3}
    assert before <= {run.info.run_id for run in server.runs("many")}, "superseded runs are kept"


def test_the_comparison_in_a_browser_shows_the_runs_of_a_language_by_their_bits_per_byte(
    server: Server, many: Path, tmp_path: Path
) -> None:
    chromium = installed("chromium", "chromium")
    done = told(publisher(many, cells(many, "many"), server))
    SHOWN.mkdir(parents=True, exist_ok=True)
    flags = (
        "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update"
        f" --disable-sync --user-data-dir={tmp_path}/profile --window-size=1600,1400 --virtual-time-budget=60000"
    ).split()

    def look(address: str, name: str) -> str:
        shot = SHOWN / f"mlflow-{name}.png"
        shot.unlink(missing_ok=True)
        page = subprocess.run([chromium, *flags, f"--screenshot={shot.resolve()}", "--dump-dom", address],
                              capture_output=True, text=True, timeout=300, check=True).stdout  # fmt: skip
        assert shot.stat().st_size > 50_000
        return page

    assert [(one["language"], len(one["runs"])) for one in done["comparisons"]] == [(language, 50) for language in LANGUAGES]
    german = done["comparisons"][0]
    page = look(german["table"], "table")
    names = re.findall(rf"\b(\w+)/\w+/pocket/({'|'.join(LANGUAGES)})/pocket-demo/s\d", page)
    assert {language for _, language in names} == {"deu_Latn"} and "none" in {method for method, _ in names}
    text = re.sub(r"<[^>]+>", "", page)
    assert "Sort: bits_per_byte" in text and "init_bits_per_byte" in page and f"{german['runs'][0]['bits_per_byte']:.4f}" in page
    page = look(german["charts"], "charts")
    # Plotly's text of the bars: the charts are drawn, with every run and not the ten that the UI would choose.
    bars = re.findall(r'class="bartext[^>]*>(?:<[^>]*>)*([\d.]+)<', page)
    assert f"{german['runs'][0]['bits_per_byte']:.2f}" in bars and f"{german['runs'][-1]['bits_per_byte']:.2f}" in bars


def test_two_that_register_at_once_make_one_version_of_each_model(server: Server, many: Path) -> None:
    from mlflow.tracking import MlflowClient

    listing = cells(many, "registered", slice(0, 50, 10))  # one seed of each method, German
    told(publisher(many, listing, server))
    started = [publisher(many, listing, server, "--register", "all") for _ in range(2)]
    held = [told(one)["registered"]["registered-deu_Latn"] for one in started]
    client = MlflowClient(tracking_uri=server.uri)
    versions = client.search_model_versions("name = 'registered-deu_Latn'")
    assert len(versions) == 4 == len({version.tags["manifest"] for version in versions}), "all methods but the control"
    assert held[0]["versions"] == held[1]["versions"]
    best = client.get_model_version_by_alias("registered-deu_Latn", "best")
    assert best.tags["bits_per_byte"] == min((version.tags["bits_per_byte"] for version in versions), key=float)
    assert best.description.startswith("# ") and best.tags["artifact"] in best.description
    assert best.source == f"runs:/{best.run_id}/trained"


def wait_for(server: Server, experiment: str, count: int) -> None:
    until = time.monotonic() + 600
    while time.monotonic() < until:
        try:
            if server.states(experiment)[("FINISHED", "true")] >= count:
                return
        except AttributeError:  # the experiment is not there yet
            pass
        time.sleep(0.5)
    pytest.fail(f"{experiment} never had {count} runs")


def test_a_server_killed_while_publishing_costs_nothing(server: Server, many: Path) -> None:
    listing = cells(many, "killed", slice(0, 40))
    process = publisher(many, listing, server)
    wait_for(server, "killed", 3)
    server.kill()
    died = time.monotonic()
    _, error = process.communicate(timeout=120)
    assert process.returncode != 0 and time.monotonic() - died < 30
    assert "Traceback" not in error
    assert f"the tracking store {server.uri} cannot be used" in error and "publish again; nothing is lost" in error
    server.start()
    before = server.states("killed")
    assert 3 <= before[("FINISHED", "true")] < 40
    done = told(publisher(many, listing, server))
    assert len(done["created"]) == 40 - before[("FINISHED", "true")] and len(done["unchanged"]) == before[("FINISHED", "true")]
    after = server.states("killed")
    assert after[("FINISHED", "true")] == 40
    assert set(after) <= {("FINISHED", "true"), ("KILLED", "false"), ("FINISHED", "false")}, "no run is left half-written and live"


def test_a_killed_publisher_is_taken_over_by_one_that_works_beside_it(server: Server, many: Path) -> None:
    listing = cells(many, "orphaned", slice(0, 40))
    first, second = publisher(many, listing, server), publisher(many, listing, server)
    wait_for(server, "orphaned", 4)
    first.kill()
    first.communicate()
    done = told(second)
    assert len(done["created"]) + len(done["unchanged"]) == 40
    live = [run.data.tags["pipeline.key"] for run in server.runs("orphaned") if run.data.tags["pipeline.live"] == "true"]
    assert len(live) == 40 == len(set(live))


def test_a_run_whose_server_is_down_finishes_all_else_and_the_next_one_publishes(
    finished: Checkout, tmp_path: Path, server: Server
) -> None:
    run = copy_run(finished, tmp_path / "run")
    for path in ("published.json", "checked.txt"):
        (run.root / "results/experiments/smoke" / path).unlink()
    shutil.rmtree(run.root / "results/experiments/smoke/tables")
    server.kill()
    where = {"MLFLOW_TRACKING_URI": server.uri}
    done = run.run("snakemake", *SMOKE, check=False, env=where)
    assert done.returncode != 0
    said = done.stdout + done.stderr
    assert f"the tracking store {server.uri} cannot be used" in said and "publish again; nothing is lost" in said
    assert (run.root / "results/experiments/smoke/tables/report.html").is_file() and (
        run.root / "results/experiments/smoke/checked.txt"
    ).is_file()
    assert not (run.root / "results/experiments/smoke/published.json").exists()
    server.start()
    run.run("snakemake", *SMOKE, env=where)
    published = json.loads((run.root / "results/experiments/smoke/published.json").read_text())
    assert published["created"] and server.states("smoke")[("FINISHED", "true")] == len(published["created"])
    assert published["uri"] == server.uri and published["comparisons"][0]["table"].startswith(server.uri)
