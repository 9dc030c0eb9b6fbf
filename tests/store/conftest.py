"""Finished artifacts as Snakemake would know them: three invented cells, with Snakemake's record of each."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from tokgraft import artifacts
from tokgraft.store import records

sys.path.insert(0, str(Path(__file__).parents[1] / "reporting"))
REPOSITORY = Path(__file__).parents[2]
GIT = ["git", "-c", "user.email=nobody@example.org", "-c", "user.name=nobody", "-c", "init.defaultBranch=main"]


def call(*words: str, cwd: Path) -> str:
    done = subprocess.run(words, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def metadata(root: Path, output: str, inputs: Iterable[str], **changes: object) -> dict[str, object]:
    """A record as Snakemake writes it when a job has ended."""
    ended = (root / output).stat().st_mtime
    return {
        "rule": "made_up", "input": sorted(inputs), "log": [f"logs/{output}.log"], "shellcmd": f"make {output}", "params": [repr(f"--out {output}")],
        "code": "make {output}", "record_format_version": 6, "conda_env": "bG9uZw==", "container_img_url": None,
        "software_stack_hash": records.NO_STACK, "job_hash": hash(output), "starttime": ended - 1, "endtime": ended, "incomplete": False,
        "external_jobid": None, "input_checksums": {name: f"sha256:{artifacts.file_sha256(root / name)}" for name in inputs}, **changes,
    }  # fmt: skip


def know(root: Path) -> list[str]:
    """Give every artifact below `root` Snakemake's record: its inputs are the manifests that its own manifest names."""
    made = [str((folder / artifacts.MANIFEST).relative_to(root)) for folder in artifacts.find(root / "results")]
    found = {artifacts.file_sha256(root / path): path for path in made}
    for path in made:
        inputs = [found[one] for one in artifacts.read((root / path).parent)["inputs"].values()]
        records.write_metadata(root, path, metadata(root, path, ["stage.py", *inputs]))
    records.write_metadata(root, "results/experiments/demo/cells.json", metadata(root, "results/experiments/demo/cells.json", ["stage.py"]))
    return made


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    """Three finished cells, built once."""
    from synthetic_cells import build

    root = tmp_path_factory.mktemp("small")
    build(root, [("pocket", "deu_Latn", ["none", "random", "mean"])], pages=10)
    (root / "stage.py").write_text("# the source of every stage\n")
    return root


def make_checkout(small: Path, root: Path) -> Path:
    """A git repository with the project's own DVC settings and the three cells."""
    shutil.copytree(small, root)
    shutil.copytree(REPOSITORY / ".dvc", root / ".dvc", ignore=lambda folder, names: set(names) - {"config", ".gitignore"})
    for name in (".dvcignore", ".gitignore"):
        shutil.copy(REPOSITORY / name, root / name)
    know(root)
    call(*GIT, "init", "-q", ".", cwd=root)
    return root


@pytest.fixture
def checkout(small, tmp_path, monkeypatch):
    """A git repository with the project's own DVC settings and the three cells; the working directory."""
    root = make_checkout(small, tmp_path / "checkout")
    monkeypatch.chdir(root)
    return root


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """Makes a clone of a checkout with access to its store, and works in it."""

    def make(checkout: Path, name: str = "clone") -> Path:
        call(*GIT, "add", ".", cwd=checkout)
        call(*GIT, "commit", "-q", "--allow-empty", "-m", "results", cwd=checkout)
        root = tmp_path / name
        call(*GIT, "clone", "-q", str(checkout), str(root), cwd=checkout)
        (root / ".dvc/config.local").write_text(f"['remote \"local\"']\n    url = {checkout / '.dvc-store'}\n")
        monkeypatch.chdir(root)
        return root

    return make
