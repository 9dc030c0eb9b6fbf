from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tokgraft import artifacts
from tokgraft.cells import load_cells
from tokgraft.cli import main
from tokgraft.config import layout
from tokgraft.tracking.dvc_store import StoreError, artifact_folders, dvc_yaml, store

REPOSITORY = Path(__file__).parents[2]
CELLS = Path("results/cells.json")
DVC = [str(Path(sys.executable).with_name("dvc"))]
GIT = ["git", "-c", "user.email=nobody@example.org", "-c", "user.name=nobody", "-c", "init.defaultBranch=main"]


def call(*words: str, cwd: Path) -> str:
    done = subprocess.run(words, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def checkout(project):
    """A git repository with the project's own DVC settings and three finished cells."""
    shutil.copytree(REPOSITORY / ".dvc", ".dvc", ignore=lambda folder, names: set(names) - {"config", ".gitignore"})
    for name in (".dvcignore", ".gitignore"):
        shutil.copy(REPOSITORY / name, name)
    call(*GIT, "init", "-q", ".", cwd=project)
    return project


def test_what_is_pushed_comes_back_whole_in_a_fresh_clone(checkout, tmp_path_factory):
    done = store(load_cells(CELLS), push=True)
    folders = artifact_folders(load_cells(CELLS))
    assert done.pushed and done.stages == len(folders) == len(done.recorded) + 1 and done.absent == ["tables@all"]
    call(*GIT, "add", ".", cwd=checkout)
    tracked = call(*GIT, "ls-files", cwd=checkout).split()
    assert {"dvc.yaml", "dvc.lock", ".dvc/config"} <= set(tracked) and not [name for name in tracked if name.startswith("results/")]
    call(*GIT, "commit", "-qm", "results", cwd=checkout)

    clone = tmp_path_factory.mktemp("clones") / "clone"
    call(*GIT, "clone", "-q", str(checkout), str(clone), cwd=checkout)
    (clone / ".dvc/config.local").write_text(f"['remote \"local\"']\n    url = {checkout / '.dvc-store'}\n")
    one = layout.scores("pocket", "deu_Latn", "bpe8k", "mean", 0, "init")
    call(*DVC, "pull", "-q", one, cwd=clone)
    assert [path.parent for path in (clone / "results").rglob("manifest.json")] == [clone / one]
    call(*DVC, "pull", "-q", "corpora", "models", "scores", "tokenizers", cwd=clone)
    found = sorted(path.parent for path in (clone / "results").rglob("manifest.json"))
    assert len(found) == len(done.recorded)
    assert [problem for folder in found for problem in artifacts.verify(folder)] == []
    for folder in found:
        assert artifacts.fingerprint(folder) == artifacts.fingerprint(checkout / folder.relative_to(clone))


def test_an_artifact_that_is_not_here_keeps_its_entry(checkout):
    store(load_cells(CELLS))
    before = yaml.safe_load(Path("dvc.lock").read_text())
    shutil.rmtree(layout.base("pocket"))
    done = store(load_cells(CELLS))
    assert "models@pocket.base" in done.absent
    assert yaml.safe_load(Path("dvc.lock").read_text()) == before


def test_half_an_artifact_is_refused(checkout):
    (Path(layout.corpus("deu_Latn")) / "card.json").unlink()
    with pytest.raises(StoreError, match=r"card\.json is missing"):
        store(load_cells(CELLS))
    (Path(layout.corpus("deu_Latn")) / "manifest.json").unlink()
    with pytest.raises(StoreError, match="not a whole artifact"):
        store(load_cells(CELLS))
    assert not Path("dvc.lock").exists()


def test_outside_a_checkout_and_push_alone(project, capsys):
    assert main(["publish", "--cells", str(CELLS), "--dvc"]) == 2
    assert "no .dvc folder" in capsys.readouterr().err
    assert main(["publish", "--cells", str(CELLS), "--push"]) == 2


def test_stages_name_outputs_only_and_may_hold_chains(project):
    from synthetic_cells import LEVELS, build

    LEVELS["mean+prior"] = (3.0, 2.0)
    try:
        build(Path(), [("pocket", "deu_Latn", ["mean+prior"])], pages=5)
    finally:
        del LEVELS["mean+prior"]
    stages = yaml.safe_load(dvc_yaml(load_cells(CELLS)))["stages"]
    assert list(stages) == ["corpora", "models", "scores", "tables", "tokenizers"]
    for group, stage in stages.items():
        assert stage["do"] == {"cmd": "snakemake ${item}/manifest.json", "outs": [{"${item}": {"persist": True}}]}
        assert all(folder.startswith(f"results/{group}") for folder in stage["foreach"].values())
    assert (
        stages["models"]["foreach"]["pocket.deu_Latn.bpe8k.mean+prior.s0.init"] == "results/models/pocket/deu_Latn/bpe8k/mean+prior/s0/init"
    )


def test_a_newcomer_finds_no_pointer_that_cannot_be_pulled(checkout):
    assert "dvc.lock" not in call("git", "ls-files", cwd=REPOSITORY).split()
    shutil.copy(REPOSITORY / "dvc.yaml", "dvc.yaml")
    assert "up to date" in call(*DVC, "pull", cwd=checkout)
