"""Whether an artifact is still what its manifest says."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tokgraft.artifacts import _manifest
from tokgraft.artifacts._manifest import MANIFEST, RUN, contents, is_artifact, lost, read, record, volatile_files
from tokgraft.errors import ArtifactError


def expect(folder: Path, kind: str) -> dict[str, Any]:
    """The manifest of a whole artifact that must be of one kind: all its files are hashed, each once in a process.

    Raises:
        ArtifactError: It is of another kind, is damaged, or holds files that its manifest does not list.
    """
    manifest = read(folder)
    if manifest["kind"] != kind:
        raise ArtifactError(f"{folder} is a {manifest['kind']}, not a {kind}", f"give the folder of a {kind}")
    demand_whole(folder, kind)
    return manifest


def demand_whole(folder: Path, role: str, only: Collection[str] | None = None) -> None:
    """Refuse an artifact that is not what its manifest says; a plain folder passes.

    Args:
        folder: Folder of the artifact.
        role: What it is for who reads it, for the message.
        only: Names of the files that will be read (default: all).

    Raises:
        ArtifactError: A file is missing, altered or not listed, or the manifest was edited or is lost.
    """
    if (is_artifact(folder) or lost(folder)) and (problems := verify(folder, only)):
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise ArtifactError(
            f"the {role} is damaged: {problems[0]}{more}",
            f"delete {folder} and make or pull it again; move files of your own out of it first",
        )


def verify(folder: Path, only: Collection[str] | None = None) -> list[str]:
    """Recompute every hash (or those of some files); one sentence for each thing that does not match (none: the artifact is whole)."""
    folder = Path(folder)
    try:
        if kind := lost(folder):
            return [f"{folder}: {MANIFEST} is missing ({RUN} says that this is a {kind})"]
        manifest, kept = read(folder), record(folder)
        present = contents(folder) if only is None else [name for name in {*only} - {MANIFEST, RUN} if os.path.lexists(folder / name)]
    except ArtifactError as error:
        return [error.what]
    except OSError as error:
        return [f"{error.filename or folder}: cannot be read ({error.strerror})"]
    volatile = volatile_files(manifest["kind"], kept)
    problems = _altered(folder, _some(manifest["files"], only), MANIFEST)
    problems.extend(
        f"{folder / name}{'/' if name.endswith('/') else ''}: not in the manifest"
        for name in present
        if name not in manifest["files"] and name not in volatile
    )
    if kept:
        problems.extend(_altered(folder, _some(kept.get("volatile", {}), only), RUN))
        if kept["manifest"] != _manifest.file_sha256(folder / MANIFEST):
            problems.append(f"{folder / MANIFEST}: edited since {RUN} was written with it")
    return problems


def _some(files: Mapping[str, Any], only: Collection[str] | None) -> Mapping[str, Any]:
    return files if only is None else {name: facts for name, facts in files.items() if name in only}


def _altered(folder: Path, files: Mapping[str, Mapping[str, Any]], source: str) -> list[str]:
    """One sentence for each listed file that is missing or has other bytes."""

    def problem(item: tuple[str, Mapping[str, Any]]) -> str | None:
        path, facts = folder / item[0], item[1]
        try:
            if not path.is_file():
                return f"{path}: missing"
            if (size := path.stat().st_size) != facts["bytes"]:
                return f"{path}: {size} bytes, {'the manifest' if source == MANIFEST else source} says {facts['bytes']}"
            return None if _manifest.sha256(path) == facts["sha256"] else f"{path}: content altered (sha256 differs)"
        except OSError as error:
            return f"{path}: cannot be read ({error.strerror})"

    with ThreadPoolExecutor(max_workers=4) as pool:  # hashing leaves the interpreter's lock
        return [found for found in pool.map(problem, files.items()) if found]


def outdated(folder: Path) -> list[str]:
    """One sentence for each input that lies where it was when the artifact was made, and is another one now.

    What cannot be read is `verify`'s matter; an input that is not here (a partly pulled tree) is none of either's.
    """
    try:
        manifest, lay = read(folder), record(folder).get("inputs", {})
    except ArtifactError:
        return []
    found = []
    for role, want in manifest["inputs"].items():
        place = Path(os.path.normpath(os.path.join(os.path.realpath(folder), lay[role]))) if role in lay else None
        if place is None or not place.is_dir():
            continue
        try:
            same = _manifest.fingerprint(place) == want
        except ArtifactError:
            continue
        if not same:
            found.append(f"{folder}: its {role} is no longer what it was: {_shown(place)} changed since")
    return found


def _shown(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
