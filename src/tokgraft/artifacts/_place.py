"""Whether something may be written in a place: asked before any work, and again when the work is put there.

Only what is empty or was made by this program is replaced. Anything else is refused, or, with `--force`, moved aside to a name beside it;
nothing that is not ours is ever deleted. The working folder, links, and what overlaps an input are refused with `--force` too.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from tokgraft.artifacts._manifest import SKIPPED, foreign, in_order, is_artifact, listed
from tokgraft.errors import ArtifactError, remedy
from tokgraft.logs import log

_FORCE = ContextVar("force", default=False)


@contextmanager
def forced(yes: bool) -> Iterator[None]:
    """Within the block, what is in the way of an output is moved aside instead of refused (the flag `--force`)."""
    token = _FORCE.set(yes)
    try:
        yield
    finally:
        _FORCE.reset(token)


def check_place(out: Path, kind: str, reads: Mapping[str, Path] | None = None) -> None:
    """See that an artifact may be written to `out`; cheap, and to be called before anything is read.

    Args:
        out: Folder of the artifact.
        kind: What it will be.
        reads: Role -> file or folder that the stage reads.

    Raises:
        ArtifactError: `out` holds something that is not an artifact of this kind, overlaps an input, or cannot be written.
    """
    out = Path(out)
    _refuse_impossible(out, reads or {})
    if os.path.exists(out) and not os.path.isdir(out):
        raise ArtifactError(f"--out {out} is a file", "give the name of a folder")
    if (reason := obstacle(out, kind)) and not _FORCE.get():
        raise ArtifactError(
            f"--out {out} is not replaced: {reason}", "choose another folder, or --force to move it aside (nothing is deleted)"
        )
    _probe(out)


def check_files(files: list[Path], reads: Mapping[str, Path] | None = None) -> None:
    """See that files may be written; cheap, and to be called before anything is read.

    Raises:
        ArtifactError: One is there already, is a folder or a link, overlaps an input, or cannot be written.
    """
    for path in files:
        _refuse_impossible(path, reads or {})
        if os.path.isdir(path):
            raise ArtifactError(f"--out {path} is a folder", "give the name of a file")
        if os.path.exists(path) and not _FORCE.get():
            raise ArtifactError(f"{path} is there already", "choose another name, or --force to move it aside (nothing is deleted)")
        _probe(path)
    if len(set(files)) < len(files):
        raise ArtifactError(f"{files[0]} would be written twice", "choose a name with another ending")


def check_scratch(folder: Path, flag: str, reads: Mapping[str, Path]) -> None:
    """See that a stage may keep scratch files of its own in a folder (which may be there, and hold other things).

    Raises:
        ArtifactError: It is a file, lies inside an input or another artifact, or cannot be written.
    """
    where = Path(os.path.realpath(folder))
    if os.path.exists(where) and not os.path.isdir(where):
        raise ArtifactError(f"{flag} {folder} is a file", "give the name of a folder")
    for role, path in reads.items():
        if Path(os.path.realpath(path)) in (where, *where.parents):
            raise ArtifactError(f"{flag} {folder} lies inside the {role} ({path})", "choose another folder")
    refuse_inside_artifact(where / "scratch", flag, folder)
    _probe(folder / "scratch")


def write_files(files: Mapping[Path, str]) -> None:
    """Write texts, each whole or not at all; what is there is moved aside (`check_files` said that it may be).

    Raises:
        ArtifactError: The disk is full, or a place cannot be written.
    """
    for path, text in files.items():
        temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("x", encoding="utf-8") as handle:
                handle.write(text)
                handle.flush()
                os.fsync(handle.fileno())
            if os.path.lexists(path):
                move_aside(path)
            os.rename(temporary, path)
        except OSError as error:
            raise ArtifactError(f"cannot write {path}: {error.strerror}", remedy(error.errno)) from error
        finally:
            temporary.unlink(missing_ok=True)


def obstacle(out: Path, kind: str) -> str | None:
    """Why what is at `out` must not be replaced by an artifact of this kind; None when it may, or when nothing is there."""
    if not os.path.lexists(out):
        return None
    if os.path.islink(out) or not os.path.isdir(out):
        return "it is not a folder"
    try:
        names = foreign(out)
    except OSError as error:
        return f"{error.filename} cannot be read ({error.strerror})"
    ours = listed(out)
    if ours is None:
        return f"no manifest.json or run.json says what it is, and it holds {in_order(names)}" if names else None
    if names:
        return f"it is a {ours[0]} that also holds {in_order(names)}"
    if SKIPPED not in {ours[0], kind} and ours[0] != kind:
        return f"it is a {ours[0]}, not a {kind}"
    return None


def move_aside(path: Path, to: Path | None = None) -> Path:
    """Rename to `to` (default: `<name>.old` beside it), or to `<to>-2`, `<to>-3`, ... where that is taken; the new name."""
    first = aside = to or path.with_name(f"{path.name}.old")
    number = 1
    while os.path.lexists(aside):
        number += 1
        aside = first.with_name(f"{first.name}-{number}")
    os.rename(path, aside)
    log.warning("%s is kept as %s", path, aside)
    return aside


def _refuse_impossible(out: Path, reads: Mapping[str, Path]) -> None:
    """What not even `--force` allows."""
    where = Path(os.path.realpath(out))
    if os.path.islink(out):
        raise ArtifactError(f"--out {out} is a symbolic link (to {os.readlink(out)})", "give the place itself")
    if where == Path.cwd() or where in Path.cwd().parents:
        raise ArtifactError(f"--out {out} is the folder you are in, or holds it", "give the name of a new folder")
    for role, path in reads.items():
        read = Path(os.path.realpath(path))
        if where == read:
            raise ArtifactError(f"--out {out} would replace an input (the {role})", "choose another place")
        if where in read.parents:
            raise ArtifactError(f"--out {out} holds an input (the {role}, {path})", "choose another place")
        if read in where.parents:
            raise ArtifactError(
                f"--out {out} lies inside an input (the {role}, {path}), which would be read with it the next time", "choose another place"
            )
    refuse_inside_artifact(where, "--out", out)


def refuse_inside_artifact(where: Path, flag: str, given: Path) -> None:
    """See that a place (all links resolved) lies in no artifact.

    Args:
        where: The place.
        flag: What the user gave it as, for the message.
        given: The place as the user gave it.

    Raises:
        ArtifactError: It lies inside an artifact.
    """
    for above in where.parents:
        if is_artifact(above) and (ours := listed(above)):
            raise ArtifactError(f"{flag} {given} lies inside {above}, a {ours[0]}, which it would damage", "choose another place")


def _probe(out: Path) -> None:
    """Try to make a folder where `out` will be, and leave nothing behind."""
    above = out.absolute().parent
    try:
        while not os.path.exists(above):
            above = above.parent
        with tempfile.TemporaryDirectory(prefix=f".{out.name}.", suffix=".part", dir=above):
            pass
    except OSError as error:
        raise ArtifactError(f"cannot write to {out.parent}: {error.strerror}", remedy(error.errno)) from error
