"""An artifact is a folder that appears whole: written to a temporary sibling, hashed, renamed.

    <artifact>/manifest.json   deterministic: the same inputs give the same bytes (the edge between two stages)
    <artifact>/run.json        how it was made here: command, wall time, peak memory, machine (never hashed)
    <artifact>/...             the files, each with sha256 and size in the manifest

Files that depend on time (throughput, timings) are named as *volatile*: the manifest lists their names, not their hashes.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import importlib.metadata
import json
import os
import platform
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tokgraft import __version__
from tokgraft.errors import ArtifactError
from tokgraft.logs import log, peak_memory, processor_seconds
from tokgraft.masking import masked
from tokgraft.processor import processor

SCHEMA = 1
MANIFEST = "manifest.json"
RUN = "run.json"
SKIPPED = "skipped"
IGNORED = {MANIFEST, RUN, ".snakemake_timestamp", ".gitignore"}


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def file_sha256(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def skip(out: Path, reason: str, inputs: Mapping[str, Path]) -> None:
    """Write in the place of an artifact why it cannot be made, so that the reason travels down the graph and into the table.

    Raises:
        ArtifactError: As `create`.
    """
    with create(out, SKIPPED, {"reason": reason}, inputs) as folder:
        (folder / "skipped.txt").write_text(f"{reason}\n", encoding="utf-8")


def skipped(folder: Path) -> str | None:
    """Why there is no such artifact; None when `folder` is anything else than such a note."""
    manifest = read(folder) if is_artifact(folder) else {}
    return str(manifest["settings"]["reason"]) if manifest.get("kind") == SKIPPED else None


@contextmanager
def create(
    out: Path,
    kind: str,
    settings: Mapping[str, Any],
    inputs: Mapping[str, Path] | None = None,
    libraries: Iterable[str] = (),
    volatile: Iterable[str] = (),
    run_facts: Mapping[str, Any] | None = None,
) -> Iterator[Path]:
    """Give a temporary folder to fill; when the block ends without an error it becomes the artifact `out`.

    Args:
        out: Folder of the artifact. What is there is replaced in the end.
        kind: What the artifact is ("corpus", "tokenizer", "model", "scores", ...).
        settings: The resolved settings that decide its content; JSON values, no paths of this machine.
        inputs: Role -> folder of each artifact it is made from; its files are compared with its manifest first.
        libraries: Distribution names whose versions the content depends on.
        volatile: Names of files (relative to `out`) that differ from run to run.
        run_facts: More facts about how it was made here (threads, device), for run.json; never hashed.

    Raises:
        ArtifactError: The place cannot be written, the disk is full, or an input is not a whole artifact or was altered.
    """
    out = Path(out)
    fingerprints = {role: _trusted(role, Path(path)) for role, path in sorted((inputs or {}).items())}
    started, worked = time.time(), processor_seconds()
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        _clear_leftovers(out)
        temporary, alive = _temporary(out)
    except OSError as error:
        raise ArtifactError(f"cannot write to {out.parent}: {error.strerror}", "free space or choose another folder") from error
    try:
        yield temporary
        _finish(temporary, kind, settings, fingerprints, libraries, set(volatile), (started, worked), run_facts or {})
        made = fingerprint(temporary)
        _swap(temporary, out)
    except Exception as error:
        if reason := _refused_by_disk(error, temporary):
            raise ArtifactError(f"cannot finish {out}: {reason}", "free space and run again; nothing half-written is left") from error
        raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        os.close(alive)
    log.info("wrote %s (%s)", out, made[:12])


def _finish(
    folder: Path, kind: str, settings: Mapping[str, Any], inputs: Mapping[str, str],
    libraries: Iterable[str], volatile: set[str], begun: tuple[float, float], run_facts: Mapping[str, Any],
) -> None:  # fmt: skip
    os.chmod(folder, 0o755)
    files = {}
    for path in _files(folder):
        name = path.relative_to(folder).as_posix()
        if name not in volatile:
            files[name] = {"sha256": file_sha256(path), "bytes": path.stat().st_size}
    if not files:
        raise ArtifactError(f"nothing was written for this {kind}", "this is a defect of the stage; please report it")
    manifest = {
        "schema": SCHEMA,
        "kind": kind,
        "tokgraft": __version__,
        "settings": settings,
        "libraries": {name: importlib.metadata.version(name) for name in sorted(libraries)},
        "inputs": inputs,
        "files": files,
        "volatile": sorted(volatile),
    }
    run = {
        "command": masked(shlex.join(sys.argv)),
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(begun[0])),
        "wall_seconds": round(time.time() - begun[0], 3),
        "processor_seconds": round(processor_seconds() - begun[1], 3),
        "peak_memory_bytes": peak_memory(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": processor(),
        **run_facts,
    }
    (folder / RUN).write_text(json.dumps(run, indent=1, sort_keys=True) + "\n")
    text = json.dumps(manifest, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    (folder / MANIFEST).write_text(text, encoding="utf-8")


def _refused_by_disk(error: Exception, folder: Path) -> str | None:
    """What a full or read-only disk says.

    Libraries written in Rust and C++ raise errors of their own with the number in the text, numpy an OSError without one.
    """
    for number in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
        text = os.strerror(number)
        if getattr(error, "errno", None) == number or text in str(error) or f"code: {number}," in str(error):
            return text
    if isinstance(error, OSError) and error.errno is None and shutil.disk_usage(folder).free < 2**20:
        return os.strerror(errno.ENOSPC)
    return None


def _swap(temporary: Path, out: Path) -> None:
    """Put `temporary` in the place of `out`, which may exist, and which another process may put there at the same moment."""
    old = temporary.with_name(f"{temporary.name.removesuffix('.part')}.old.part")
    for attempt in range(10):
        shutil.rmtree(old, ignore_errors=True)
        try:
            if out.exists():
                os.rename(out, old)
            os.rename(temporary, out)
            break
        except OSError as error:
            if attempt == 9 or error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT) or not temporary.exists():
                raise
    shutil.rmtree(old, ignore_errors=True)


def _temporary(out: Path) -> tuple[Path, int]:
    """A new folder beside `out`, and the descriptor that holds it."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".part", dir=out.parent))
        with suppress(OSError):  # another process took it for a leftover before it was held
            held = _hold(folder)
            if folder.is_dir():
                return folder, held
            os.close(held)


def _hold(folder: Path) -> int:
    """Lock a folder until the descriptor is closed or the process ends, however it ends."""
    descriptor = os.open(folder, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return descriptor


def _clear_leftovers(out: Path) -> None:
    """Delete what killed jobs left of this artifact: temporary folders that no living process holds."""
    for left in out.parent.glob(f".{out.name}.*.part"):
        try:
            descriptor = _hold(left)
        except OSError:
            continue  # another process is at work there
        shutil.rmtree(left, ignore_errors=True)
        os.close(descriptor)


def _trusted(role: str, folder: Path) -> str:
    """Fingerprint of an input whose files are those of its manifest."""
    if is_artifact(folder) and (problems := _altered(folder, read(folder))):
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise ArtifactError(f"the {role} is damaged: {problems[0]}{more}", f"delete {folder} and make or pull it again")
    return fingerprint(folder)


def _altered(folder: Path, manifest: Mapping[str, Any]) -> list[str]:
    """One sentence for each file of the manifest that is missing or has other bytes."""

    def problem(item: tuple[str, Mapping[str, Any]]) -> str | None:
        path, facts = folder / item[0], item[1]
        if not path.is_file():
            return f"{path}: missing"
        if (size := path.stat().st_size) != facts["bytes"]:
            return f"{path}: {size} bytes, the manifest says {facts['bytes']}"
        return None if file_sha256(path) == facts["sha256"] else f"{path}: content altered (sha256 differs)"

    with ThreadPoolExecutor(max_workers=4) as pool:  # hashing leaves the interpreter's lock
        return [found for found in pool.map(problem, manifest["files"].items()) if found]


def _files(folder: Path) -> list[Path]:
    found = [path for path in folder.rglob("*") if path.is_file() and path.relative_to(folder).as_posix() not in IGNORED]
    return sorted(path for path in found if path.name not in {".snakemake_timestamp", ".gitignore"})


def read(folder: Path) -> dict[str, Any]:
    """The manifest of an artifact.

    Raises:
        ArtifactError: The folder is missing or has no whole manifest.
    """
    path = Path(folder) / MANIFEST
    try:
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ArtifactError(f"{folder} is not a finished artifact (no {MANIFEST})", "run the stage that makes it") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ArtifactError(f"{path} is damaged: {error}", "delete the folder and run its stage again") from None
    if manifest.get("schema") != SCHEMA:
        raise ArtifactError(f"{path} has schema {manifest.get('schema')}, this version reads {SCHEMA}", "make it again")
    return manifest


def is_artifact(folder: Path) -> bool:
    """Whether the folder carries a manifest of ours (a plain Hugging Face folder does not)."""
    return (Path(folder) / MANIFEST).is_file()


def find(folder: Path) -> list[Path]:
    """Every artifact in a folder, sorted; not what lies inside of one (copies of manifests, say) nor in hidden folders."""
    found: list[Path] = []
    for place, folders, files in os.walk(folder):
        if MANIFEST in files:
            found.append(Path(place))
            folders.clear()
        folders[:] = [name for name in folders if not name.startswith(".")]
    return sorted(found)


def fingerprint(folder: Path) -> str:
    """SHA-256 of the manifest; for a plain folder (a model given by the user), of its files' names and bytes."""
    folder = Path(folder)
    if is_artifact(folder):
        read(folder)
        return file_sha256(folder / MANIFEST)
    if not folder.is_dir():
        raise ArtifactError(f"{folder} does not exist", "run the stage that makes it, or give another folder")
    listing = {path.relative_to(folder).as_posix(): file_sha256(path) for path in _files(folder)}
    return hashlib.sha256(canonical_json(listing).encode()).hexdigest()


def expect(folder: Path, kind: str) -> dict[str, Any]:
    """The manifest of an artifact that must be of one kind.

    Raises:
        ArtifactError: It is of another kind, or not whole.
    """
    manifest = read(folder)
    if manifest["kind"] != kind:
        raise ArtifactError(f"{folder} is a {manifest['kind']}, not a {kind}", f"give the folder of a {kind}")
    return manifest


def verify(folder: Path) -> list[str]:
    """Recompute every hash; one sentence for each thing that does not match (none: the artifact is whole)."""
    folder = Path(folder)
    manifest = read(folder)
    problems = _altered(folder, manifest)
    present = {path.relative_to(folder).as_posix() for path in _files(folder)}
    extra = present - set(manifest["files"]) - set(manifest["volatile"])
    problems.extend(f"{folder / name}: not in the manifest" for name in sorted(extra))
    return problems
