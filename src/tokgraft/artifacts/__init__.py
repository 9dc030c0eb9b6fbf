"""An artifact is a folder that appears whole: written to a temporary sibling, hashed, synced to the disk, put in its place in one step.

    <artifact>/manifest.json   deterministic: the same inputs give the same bytes (the edge between two stages)
    <artifact>/run.json        how it was made here: command, wall time, peak memory, machine (never hashed)
    <artifact>/...             the files, each with SHA-256 and size in the manifest

Files that depend on time (throughput, timings) are *volatile*: `VOLATILE` names them for each kind, and their hashes stand in run.json.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import shlex
import shutil
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokgraft import __version__
from tokgraft.artifacts import _manifest, _writing
from tokgraft.artifacts._manifest import (
    DAMAGED,
    MANIFEST,
    RUN,
    SCHEMA,
    SKIPPED,
    VOLATILE,
    canonical_json,
    contents,
    file_sha256,
    find,
    fingerprint,
    in_order,
    is_artifact,
    put_aside,
    read,
    run,
)
from tokgraft.artifacts._place import check_files, check_place, check_scratch, forced, move_aside, refuse_inside_artifact, write_files
from tokgraft.artifacts._verify import demand_whole, expect, outdated, verify
from tokgraft.artifacts._writing import refused_by_disk
from tokgraft.errors import ArtifactError, TokgraftError, remedy
from tokgraft.logs import log, peak_memory, processor_seconds
from tokgraft.masking import masked
from tokgraft.processor import processor

__all__ = [
    "DAMAGED", "MANIFEST", "RUN", "SCHEMA", "SKIPPED", "VOLATILE", "Begun", "begin", "canonical_json", "check_files", "check_place", "check_scratch", "create",
    "demand_whole", "expect", "file_sha256", "find", "fingerprint", "forced", "in_order", "is_artifact", "move_aside", "outdated", "put_aside", "read",
    "refuse_inside_artifact", "refused_by_disk", "run", "skip", "skipped", "verify", "write_files",
]  # fmt: skip


@dataclass(frozen=True)
class Begun:
    """What a stage is about to read, as it was when the stage began.

    Attributes:
        folders: Role -> folder of each input.
        fingerprints: Role -> its fingerprint at the beginning.
    """

    folders: dict[str, Path]
    fingerprints: dict[str, str]


def begin(out: Path, kind: str, inputs: Mapping[str, Path], reads: Mapping[str, Path] | None = None) -> Begun:
    """The first line of a stage that reads before it enters `create`: refuse a bad place or input, remember what the inputs are.

    Args:
        out: Folder of the artifact to be.
        kind: What it will be.
        inputs: Role -> folder of each artifact (or plain model folder) it is made from.
        reads: Role -> what else the stage reads or writes; `out` may not overlap it.

    Returns:
        What `create` takes as its inputs.

    Raises:
        ArtifactError: As `check_place`; or an input is missing, damaged, or holds files that its manifest does not list.
    """
    folders = {role: Path(folder) for role, folder in sorted(inputs.items())}
    check_place(out, kind, {**folders, **(reads or {})})
    return Begun(folders, {role: _trusted(role, folder) for role, folder in folders.items()})


def _trusted(role: str, folder: Path) -> str:
    """Fingerprint of an input that is what its manifest says."""
    demand_whole(folder, role)
    return fingerprint(folder)


def _demand_unchanged(begun: Begun) -> None:
    """Compare the inputs with what they were; only what has another time stamp or size is read again."""
    for role, folder in begun.folders.items():
        if _trusted(role, folder) != begun.fingerprints[role]:
            raise ArtifactError(f"the {role} ({folder}) was changed while it was in use", "run again; nothing was written")


def skip(out: Path, reason: str, inputs: Mapping[str, Path]) -> None:
    """Write in the place of an artifact why it cannot be made, so that the reason travels down the graph and into the table.

    Raises:
        ArtifactError: As `create`.
    """
    with create(out, SKIPPED, {"reason": reason}, inputs) as folder:
        (folder / "skipped.txt").write_text(f"{reason}\n", encoding="utf-8")


def skipped(folder: Path) -> str | None:
    """Why there is no such artifact; None when `folder` is anything else than such a note, or damaged (who reads it says so)."""
    try:
        manifest = read(folder) if is_artifact(folder) else {}
    except ArtifactError:
        return None
    return str(manifest["settings"].get("reason", "no reason given")) if manifest.get("kind") == SKIPPED else None


@contextmanager
def create(
    out: Path,
    kind: str,
    settings: Mapping[str, Any],
    inputs: Mapping[str, Path] | Begun | None = None,
    libraries: Iterable[str] = (),
    run_facts: Mapping[str, Any] | None = None,
) -> Iterator[Path]:
    """Give a temporary folder to fill; when the block ends without an error it becomes the artifact `out`.

    Args:
        out: Folder of the artifact. An artifact of the same kind that is there is replaced in the end.
        kind: What the artifact is ("corpus", "tokenizer", "model", "scores", ...).
        settings: The resolved settings that decide its content; JSON values, no paths of this machine.
        inputs: Role -> folder of each artifact it is made from; or what `begin` gave, for a stage that has read them before.
        libraries: Distribution names whose versions the content depends on.
        run_facts: More facts about how it was made here (threads, device), for run.json; never hashed.

    Raises:
        ArtifactError: As `begin`; or the disk is full, or an input was changed meanwhile.
    """
    out = Path(out)
    begun = inputs if isinstance(inputs, Begun) else begin(out, kind, inputs or {})
    started, worked = time.time(), processor_seconds()
    try:
        temporary, alive = _writing.temporary(out)
    except OSError as error:
        raise ArtifactError(f"cannot write to {out.parent}: {error.strerror}", remedy(error.errno)) from error
    try:
        yield temporary
        _demand_unchanged(begun)
        _finish(temporary, out, kind, settings, begun, libraries, (started, worked), run_facts or {})
        made = fingerprint(temporary)
        _writing.put(temporary, out, kind)
    except TokgraftError:
        raise  # it says itself what is wrong
    except Exception as error:
        if number := refused_by_disk(error, temporary):
            place = getattr(error, "filename", None) or out
            raise ArtifactError(
                f"cannot finish {out}: {place}: {os.strerror(number)}", f"{remedy(number)}, and run again; nothing half-written is left"
            ) from error
        raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        os.close(alive)
    log.info("wrote %s (%s)", out, made[:12])


def _finish(
    folder: Path, out: Path, kind: str, settings: Mapping[str, Any], begun: Begun, libraries: Iterable[str],
    since: tuple[float, float], run_facts: Mapping[str, Any],
) -> None:  # fmt: skip
    """Hash and sync the files, and write manifest and run.json. Empty folders go: no manifest can list them, and not every copy keeps them."""
    _writing.remove_empty(folder)
    volatile = VOLATILE.get(kind, frozenset())
    facts = _writing.hash_and_sync(folder, contents(folder))
    files = {name: value for name, value in facts.items() if name not in volatile}
    if not files:
        raise ArtifactError(f"nothing was written for this {kind}", "this is a defect of the stage; please report it")
    manifest = {
        "schema": SCHEMA,
        "kind": kind,
        "tokgraft": __version__,
        "settings": settings,
        "libraries": {name: importlib.metadata.version(name) for name in sorted(libraries)},
        "inputs": begun.fingerprints,
        "files": files,
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
    run = {
        "command": masked(shlex.join(sys.argv)),
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(since[0])),
        "wall_seconds": round(time.time() - since[0], 3),
        "processor_seconds": round(processor_seconds() - since[1], 3),
        "peak_memory_bytes": peak_memory(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": processor(),
        **run_facts,
        "record": {
            "kind": kind,
            "manifest": file_sha256(folder / MANIFEST),
            "files": sorted(files),
            "volatile": {name: value for name, value in facts.items() if name in volatile},
            "inputs": _manifest.places(begun.folders, out),
        },
    }
    (folder / RUN).write_text(json.dumps(run, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    _writing.hash_and_sync(folder, [MANIFEST, RUN])
    _writing.sync_folders(folder)
