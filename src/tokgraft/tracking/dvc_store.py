"""DVC stores the bytes of finished artifacts: one stage per artifact, outputs only. What depends on what is Snakemake's to know."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import yaml

from tokgraft import artifacts
from tokgraft.cells import CellList
from tokgraft.config import layout
from tokgraft.errors import TokgraftError
from tokgraft.logs import log

DVC_YAML = Path("dvc.yaml")
HEADER = """# Written by `tokgraft publish --dvc` from the cells of the experiment {experiment}; change the experiment, not this file.
# Stages store outputs and name no dependencies: Snakemake owns the graph, DVC owns the bytes (docs/artifacts.md).
"""


class StoreError(TokgraftError):
    """DVC is missing, is not set up here, or has failed."""


@dataclass
class Stored:
    """What was handed to DVC."""

    stages: int
    recorded: list[str] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    pushed: bool = False


def store(cells: CellList, push: bool = False, root: Path = Path()) -> Stored:
    """Write dvc.yaml, record every whole artifact in dvc.lock, and push when asked to.

    An artifact that is not here (skipped, not built, not pulled) keeps the entry that dvc.lock has for it.

    Args:
        cells: The cells of the experiment.
        push: Push to the default remote.
        root: Root of the project, a git repository with a `.dvc` folder.

    Raises:
        StoreError: DVC is not installed or not set up here, or a call of it failed.
    """
    if not (root / ".dvc").is_dir():
        raise StoreError(f"{root.resolve()} has no .dvc folder", "run in the root of a checkout, or type: dvc init")
    folders = artifact_folders(cells)
    done = Stored(len(folders))
    for name, folder in folders.items():
        (done.recorded if _whole(root / folder) else done.absent).append(name)
    (root / DVC_YAML).write_text(dvc_yaml(cells), encoding="utf-8")
    _commit(root, push)
    done.pushed = push
    log.info("recorded %d artifacts in dvc.lock; %d are not here", len(done.recorded), len(done.absent))
    return done


def _whole(folder: Path) -> bool:
    """Whether an artifact is here; False when nothing is.

    Raises:
        StoreError: A part of it is here (a path inside it was pulled alone, a file was deleted): to record that would lose the rest.
    """
    if not folder.exists():
        return False
    if not artifacts.is_artifact(folder):
        raise StoreError(f"{folder} is not a whole artifact", f"pull or build it whole, or delete it: rm -r {folder}")
    for name, facts in artifacts.read(folder)["files"].items():
        path = folder / name
        if not path.is_file() or path.stat().st_size != facts["bytes"]:
            raise StoreError(f"{path} is missing or has another size than the manifest says", "pull or build its artifact again")
    return True


def _commit(root: Path, push: bool) -> None:
    try:
        from dvc.exceptions import DvcException
        from dvc.repo import Repo
    except ImportError as error:
        raise StoreError(f"dvc cannot be imported: {error}", "install the locked environment (make setup)") from None
    try:
        # One call for all stages: the command line takes a second for each stage that it is given by name.
        with Repo(str(root)) as repo:
            repo.commit(force=True, allow_missing=True)
            if push:
                log.info("pushed %d files", repo.push())
    except (DvcException, OSError) as error:
        raise StoreError(f"dvc: {error}", "mend what it says and run again; the artifacts are untouched") from error


def dvc_yaml(cells: CellList) -> str:
    """The text of dvc.yaml: a group of stages per kind of artifact, in each a stage per artifact with its folder as only output."""
    groups: dict[str, dict[str, str]] = {}
    for name, folder in artifact_folders(cells).items():
        group, _, item = name.partition("@")
        groups.setdefault(group, {})[item] = folder
    stages = {
        group: {
            "foreach": items,
            "do": {"cmd": "snakemake ${item}/manifest.json", "outs": [{"${item}": {"persist": True}}]},
        }
        for group, items in groups.items()
    }
    return HEADER.format(experiment=cells.experiment) + yaml.safe_dump({"stages": stages}, sort_keys=False, allow_unicode=True, width=200)


def artifact_folders(cells: CellList) -> dict[str, str]:
    """Stage -> folder of every artifact of the cells that are run, and of the tables."""
    found: dict[str, str] = {}
    for cell in cells.cells:
        if cell.reason is None:
            for folder in cell.paths.__dict__.values():
                found[stage_name(folder)] = folder.as_posix()
    found[stage_name(Path(layout.tables()))] = layout.tables()
    return dict(sorted(found.items()))


def stage_name(folder: Path) -> str:
    """Stage of an artifact: `corpora@deu_Latn`, `models@pocket.deu_Latn.bpe8k.focus.s0.init`, `tables@all`."""
    parts = folder.as_posix().split("/")[1:]
    return f"{parts[0]}@{'.'.join(parts[1:]) or 'all'}"
