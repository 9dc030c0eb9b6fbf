"""Stored artifacts in clones: what Snakemake lists after every kind of pull and edit, over real stores; and their faults."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.conftest import SMOKE, Checkout, copy_run
from tests.integration.stores import Remote, s3, ssh
from tokgraft.cells import CellPaths, load_cells
from tokgraft.config import layout

pytestmark = pytest.mark.timeout(1800)

# Every job of the smoke experiment.
ALL = Counter(
    corpus_build=2, tokenizer_train=3, model_create=1, model_pretrain=1, resource_build=1, transplant_apply=4, train_continue=4,
    score_model=8, speed_measure=1, report_cells=1, report_build=1, report_check=1, publish_mlflow=1,
)  # fmt: skip
# The MLflow store belongs to a folder, so a clone always has to fill its own.
PUBLISH = Counter(publish_mlflow=1)
TABLES = Counter(report_build=1, report_check=1, publish_mlflow=1)
# What an edited method makes run; the list of cells, because what a method requires is decided in its file.
ONE_METHOD = Counter(transplant_apply=1, train_continue=1, score_model=2, report_cells=1) + TABLES
TABLE = "results/experiments/smoke/tables/manifest.json"


def make(checkout: Checkout, *words: str, check: bool = True, env: dict[str, str] | None = None) -> str:
    """A target of the Makefile, in the environment of the tests."""
    done = checkout.run("make", "--no-print-directory", "-o", "setup", *words, check=check, env=env)
    return done.stdout + done.stderr


def result(text: str) -> dict:
    """What `tokgraft pull` or `push` printed as JSON."""
    return json.loads(text[text.index("\n{\n") : text.rindex("\n}") + 2])


def kinds(paths: list[str]) -> Counter[str]:
    """Artifacts by the first folder below results/."""
    return Counter(path.split("/")[1] for path in paths)


class Store:
    """A finished run that was pushed to a remote, and clones of it."""

    def __init__(self, origin: Checkout, remote: Remote, folder: Path) -> None:
        self.origin, self.remote, self.folder, self.count = origin, remote, folder, 0

    def clone(self) -> Checkout:
        """A fresh clone, with this user's own settings for the remote."""
        self.count += 1
        root = self.folder / f"clone{self.count}"
        self.origin.git("clone", "--quiet", str(self.origin.root), str(root))
        self.private(root)
        return Checkout(root)

    @property
    def focus(self) -> CellPaths:
        """Folders of the cell of `focus`; they hold the keys of what the experiment changes."""
        listed = load_cells(self.origin.root / layout.cells("smoke"))
        return next(cell.paths for cell in listed.cells if cell.method == "focus")

    def private(self, root: Path) -> None:
        """Settings of this user's that are not for git."""
        lines = [f"    {name} = {value}" for name, value in self.remote.local.items()]
        if lines:
            (root / ".dvc/config.local").write_text("\n".join(["['remote \"store\"']", *lines, ""]))

    def pull(self, checkout: Checkout, *words: str, check: bool = True) -> dict:
        """`make pull ...`; what it did."""
        return result(make(checkout, "pull", *words, check=check, env=self.remote.env))


def pushed(finished: Checkout, remote: Remote, folder: Path) -> Store:
    store = Store(copy_run(finished, folder / "origin"), remote, folder)
    store.private(store.origin.root)
    make(store.origin, "remote", f"URL={remote.url}", *remote.make, env=remote.env)
    done = result(make(store.origin, "push", env=remote.env))
    assert not done["unknown"] and not done["absent"] and done["files"] > 100
    assert not store.origin.listed()
    store.origin.commit("results: smoke")
    return store


@pytest.fixture(scope="module")
def store(finished: Checkout, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store in a folder."""
    folder = tmp_path_factory.mktemp("store")
    return pushed(finished, Remote(str(folder / "shared")), folder)


@pytest.fixture(scope="module")
def full(store: Store) -> Checkout:
    """A clone with everything; tests undo their edits."""
    checkout = store.clone()
    done = store.pull(checkout)
    assert len(done["fetched"]) == 28 and not done["damaged"] and not done["untrusted"]
    return checkout


# --- (a) job lists ------------------------------------------------------------------------------------------------------


def test_without_a_pull_everything_is_to_be_made(store: Store) -> None:
    assert store.clone().listed() == ALL


def test_after_a_full_pull_only_mlflow_is_to_be_filled(full: Checkout) -> None:
    assert full.listed() == PUBLISH
    assert full.run("tokgraft", "verify", "results").stdout.endswith(" 0 problems\n")


def edit(checkout: Checkout, path: str, old: str, new: str) -> None:
    file = checkout.root / path
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))


@pytest.mark.parametrize(
    ("path", "old", "new", "jobs"),
    [
        ("config/recipes/smoke.yaml", "bytes: 60000", "bytes: 60001", Counter(train_continue=4, score_model=4) + TABLES),
        ("config/tasks/heading-small.yaml", "description:", "# nothing that counts\ndescription:", PUBLISH),
        ("workflow/rules/score.smk", '"tokgraft score {', '"tokgraft  score {', Counter(score_model=8) + TABLES),
        ("src/tokgraft/methods/focus.py", '"""', '"""Edited. ', ONE_METHOD),
    ],
    ids=["parameter", "comment", "rule", "source"],
)
def test_an_edit_makes_exactly_the_affected_cells_run(full: Checkout, path: str, old: str, new: str, jobs: Counter[str]) -> None:
    edit(full, path, old, new)
    try:
        assert full.listed() == jobs
    finally:
        full.git("checkout", "--quiet", path)
    assert not (full.git("status", "--porcelain"))


@pytest.mark.parametrize("stage", ["corpora", "models", "scores"])
def test_after_the_pull_of_a_stage_only_mlflow_is_to_be_filled(store: Store, stage: str) -> None:
    clone = store.clone()
    done = store.pull(clone, f"STAGE={stage}", f"CONFIG={SMOKE[1]}")
    found = kinds(done["fetched"])
    assert set(found) <= {stage, "scores", "tokenizers", "speed", layout.EXPERIMENTS}
    assert found[stage] == {"corpora": 2, "models": 10, "scores": 8}[stage]
    assert clone.listed() == PUBLISH
    if stage == "models":  # an edit below what was pulled: that, and not the models
        edit(clone, "src/tokgraft/scoring/run.py", '"""', '"""Edited. ')
        store.pull(clone, f"STAGE={stage}", f"CONFIG={SMOKE[1]}")
        assert clone.listed() == Counter(score_model=8) + TABLES


def test_a_clone_that_is_changed_and_not_pulled_sees_the_change_of_what_is_absent(store: Store) -> None:
    clone = store.clone()
    store.pull(clone, "ONLY=1", "STAGE=tables lists")
    assert clone.listed(TABLE) == Counter()
    edit(clone, "src/tokgraft/methods/focus.py", '"""', '"""Edited. ')
    assert clone.listed(TABLE)["transplant_apply"] >= 1


def test_the_table_is_rebuilt_from_pulled_scores_without_a_model(store: Store) -> None:
    clone = store.clone()
    done = store.pull(clone, "ONLY=1", "STAGE=scores tokenizers speed lists")
    assert len(done["fetched"]) == 8 + 3 + 1 + 2
    assert clone.listed(TABLE) == Counter(report_build=1)
    clone.smoke(TABLE)
    assert not list((clone.root / "results").glob("models/**/manifest.json"))
    tables, origin = clone.root / "results/experiments/smoke/tables", store.origin.root / "results/experiments/smoke/tables"
    for name in ("leaderboard.csv", "scores.csv", "differences.csv", "tokenizers.csv", "curves.csv"):
        assert (tables / name).read_bytes() == (origin / name).read_bytes(), name
    clone.smoke()
    assert len(json.loads((clone.root / "results/experiments/smoke/published.json").read_text())["created"]) == 4


def test_one_cell(store: Store) -> None:
    clone = store.clone()
    done = store.pull(clone, "ONLY=1", "METHOD=focus", "LANGUAGE=deu_Latn", "MODEL=pocket-smoke")
    assert kinds(done["fetched"]) == {"models": 2, "scores": 2}
    assert clone.listed(f"{store.focus.trained}/manifest.json") == Counter()
    # What is missing above it would be made again, and it with it, if a pull did not bring what a run needs.
    done = store.pull(clone, "METHOD=focus", "LANGUAGE=deu_Latn", "MODEL=pocket-smoke", f"CONFIG={SMOKE[1]}")
    assert len(done["here"]) == 4 and done["fetched"]
    assert not [path for path in done["fetched"] if path.startswith(("results/models", "results/corpora"))]
    assert clone.listed() == PUBLISH
    # Scoring changes: every score is made again, from models and texts that are pulled, and nothing above them is.
    edit(clone, "src/tokgraft/scoring/run.py", '"""', '"""Edited. ')
    done = store.pull(clone, "NEEDED=1", f"CONFIG={SMOKE[1]}")
    assert kinds(done["fetched"]) == {"models": 6, "corpora": 2}
    assert clone.listed() == Counter(score_model=8) + TABLES
    assert not (clone.root / store.focus.base).exists()


def test_needed_is_nothing_when_everything_is_here(store: Store, full: Checkout) -> None:
    assert store.pull(full, "NEEDED=1", f"CONFIG={SMOKE[1]}")["fetched"] == []


# --- (b) other stores ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["s3", "ssh"])
def far(request: pytest.FixtureRequest, finished: Checkout, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    folder = tmp_path_factory.mktemp(request.param)
    (folder / "server").mkdir()
    with {"s3": s3, "ssh": ssh}[request.param](folder / "server") as remote:
        yield pushed(finished, remote, folder)


def test_a_far_store_gives_back_one_cell_and_all(far: Store) -> None:
    clone = far.clone()
    assert len(far.pull(clone, "ONLY=1", "METHOD=focus")["fetched"]) == 4
    done = far.pull(clone)
    assert len(done["fetched"]) == 24 and len(done["here"]) == 4
    assert clone.listed() == PUBLISH
    edit(clone, "src/tokgraft/methods/focus.py", '"""', '"""Edited. ')
    assert clone.listed() == ONE_METHOD


# --- faults -------------------------------------------------------------------------------------------------------------


def test_a_damaged_object_in_the_store_and_one_that_is_lost(finished: Checkout, tmp_path: Path) -> None:
    store = pushed(finished, Remote(str(tmp_path / "shared")), tmp_path)
    model, score = str(store.focus.trained), str(store.focus.score_trained)
    weights, scores = store.origin.root / model / "model.safetensors", store.origin.root / score / "scores.json"
    objects = []
    for file in (weights, scores):
        digest = store.origin.run("md5sum", str(file)).stdout[:32]
        objects.append(tmp_path / "shared/files/md5" / digest[:2] / digest[2:])
    objects[0].chmod(0o644)
    content = objects[0].read_bytes()
    objects[0].write_bytes(content[: len(content) // 2])
    objects[1].unlink()
    clone = store.clone()
    text = make(clone, "pull", check=False)
    done = result(text)
    assert list(done["damaged"]) == [model] and done["missing"] == [score] and len(done["fetched"]) == 26
    assert "damaged in the store" in text and "pull again" in text and objects[0].name in text and not (clone.root / model).exists()
    # The damaged model is absent, not stale: a score is missing, so both are made again, and what hangs on them; nothing else is.
    assert clone.listed() == Counter(train_continue=1, score_model=1) + TABLES


def test_a_store_that_is_not_reached(store: Store) -> None:
    clone = store.clone()
    edit(clone, ".dvc/config", str(store.remote.url), "ssh://127.0.0.1:1/nowhere")
    text = make(clone, "pull", check=False)
    assert "ssh://127.0.0.1:1/nowhere cannot be read" in text and "pull again" in text
    assert not list((clone.root / "results").glob("**/manifest.json"))
    assert clone.listed() == ALL


def test_nothing_moves_while_snakemake_runs(store: Store) -> None:
    clone = store.clone()
    (clone.root / ".snakemake/locks").mkdir(parents=True)
    (clone.root / ".snakemake/locks/0.output.lock").write_text("results/experiments/smoke/cells.json\n")
    assert "a run of snakemake" in make(clone, "pull", check=False)
    assert not (clone.root / "results").exists()


def test_snakemake_waits_outside_while_a_pull_is_at_work(store: Store) -> None:
    clone = store.clone()
    code = (
        "import subprocess, sys; from pathlib import Path\n"
        "from tokgraft.store import stages, turn\n"
        "with turn.turn(Path(), map(stages.output, stages.stored(Path()).values()), 'pull'):\n"
        f"    done = subprocess.run(['snakemake', 'results/experiments/smoke/cells.json', '--configfile', {SMOKE[1]!r}], capture_output=True, text=True)\n"
        "print(done.stdout + done.stderr); sys.exit(done.returncode != 1)\n"
    )
    assert "cannot be locked" in clone.run("python", "-c", code).stdout
    assert not (clone.root / "results/experiments/smoke/cells.json").exists()


# --- what DVC shows -----------------------------------------------------------------------------------------------------


def test_metrics_and_plots_show_the_tables(store: Store) -> None:
    clone = store.clone()
    metrics = json.loads((clone.root / "metrics.json").read_text())
    assert {name.split("/")[3] for name in metrics["smoke"]} == {"none", "random", "mean", "focus"}
    cell = "pocket-smoke/deu_Latn/bpe2k/focus/smoke/0"
    metrics["smoke"][cell]["trained"]["bits_per_byte"] += 0.5
    (clone.root / "metrics.json").write_text(json.dumps(metrics))
    shown = json.loads(clone.run("dvc", "metrics", "diff", "--json").stdout)["metrics.json"]
    assert [round(change["diff"], 6) for change in shown.values()] == [0.5] and cell in next(iter(shown))
    store.pull(clone, "ONLY=1", "STAGE=tables")
    clone.run("dvc", "plots", "show", "--out", "plots")
    page = (clone.root / "plots/index.html").read_text()
    assert "bits per byte (validation)" in page and "focus" in page


def test_a_pull_after_a_rebuild_keeps_the_rebuilt(store: Store) -> None:
    clone = store.clone()
    store.pull(clone)
    shutil.rmtree(clone.root / "results/experiments/smoke/tables")
    clone.smoke(TABLE)
    assert store.pull(clone)["fetched"] == []
    assert clone.listed() == PUBLISH
