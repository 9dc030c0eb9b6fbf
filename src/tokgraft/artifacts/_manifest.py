"""What an artifact says of itself: the manifest, the hashes of its files, the record of how it was made.

`manifest.json` holds SHA-256 and size of every file. `run.json` holds the same for the files that differ from run to run (`VOLATILE`), the
manifest's own hash, and where the inputs lay; so an edit of either file, of a table, or of an input shows.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ValidationError

from tokgraft.config import layout
from tokgraft.errors import ArtifactError

SCHEMA = 1
MANIFEST = "manifest.json"
RUN = "run.json"
SKIPPED = "skipped"
AGAIN = "delete the folder and run its stage again"
DAMAGED = ".damaged"  # how the hidden folder ends in which a pull keeps a damaged artifact
# Snakemake and DVC leave a file in a folder, which is never part of an artifact: an empty time stamp, and lines that each name an entry beside.
OF_OTHERS = {".snakemake_timestamp": re.compile(rb""), ".gitignore": re.compile(rb"(/[^/\n]+\n)*")}

# Kind -> files that hold seconds, speeds or commands: they differ from run to run, so they are outside the manifest's hashes.
_OF_MODELS = frozenset({"timing.json", "timing.jsonl", "system.jsonl"})
VOLATILE: dict[str, frozenset[str]] = {
    "model": _OF_MODELS,
    "scores": frozenset(f"{layout.RECORDS}/{name}" for name in (RUN, *_OF_MODELS)),
    "speed": frozenset({"speed.json"}),
    "tables": frozenset({"measured.csv", "speed.csv", "report.html", "runs.json"}),
}

_SETTLED = 2_000_000_000  # ns; a younger file may change again without a new time stamp, so its hash is not kept
_hashed: dict[tuple[int, ...], str] = {}


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def file_sha256(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def sha256(path: Path) -> str:
    """`file_sha256`, computed once in a process for as long as nothing about the file changes."""
    facts = path.stat()
    state = (facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)
    if state not in _hashed:
        age = time.time_ns() - max(facts.st_mtime_ns, facts.st_ctime_ns)
        found = file_sha256(path)
        if age < _SETTLED:
            return found
        _hashed[state] = found
    return _hashed[state]


def _inside(name: str) -> str:
    parts = PurePosixPath(name).parts
    if not parts or parts[0] == "/" or ".." in parts or "\0" in name:
        raise ValueError(f"{name!r} is no name of a file in this folder")
    return name


_Name = Annotated[str, AfterValidator(_inside)]


class _File(BaseModel):
    sha256: str
    bytes: int


class _Form(BaseModel):
    kind: str
    settings: dict[str, Any]
    inputs: dict[str, str]
    files: dict[_Name, _File]
    tokgraft: str = ""
    libraries: dict[str, str] = {}


class _Record(BaseModel):
    kind: str
    manifest: str
    files: list[str]
    volatile: dict[_Name, _File] = {}
    inputs: dict[str, str] = {}


def read(folder: Path) -> dict[str, Any]:
    """The manifest of an artifact.

    Raises:
        ArtifactError: The folder is missing, cannot be read, or has no whole manifest.
    """
    path = Path(folder) / MANIFEST
    try:
        manifest = _json(path)
    except (FileNotFoundError, NotADirectoryError):
        raise ArtifactError(f"{folder} is not a finished artifact (no {MANIFEST})", "run the stage that makes it") from None
    if isinstance(manifest, dict) and "schema" in manifest and manifest["schema"] != SCHEMA:
        raise ArtifactError(f"{path} has schema {manifest['schema']}, this version reads {SCHEMA}", "make it again")
    _demand_form(_Form, manifest, path)
    return dict(manifest)


def record(folder: Path) -> dict[str, Any]:
    """What run.json keeps for later checks (kind, manifest, files, volatile, inputs); empty when it does not say.

    Raises:
        ArtifactError: run.json is damaged or cannot be read.
    """
    if (found := run(folder).get("record", {})) == {}:
        return {}
    _demand_form(_Record, found, Path(folder) / RUN, "record")
    return dict(found)


def run(folder: Path) -> dict[str, Any]:
    """How an artifact was made here: its run.json; empty when it has none (it does not travel with every copy).

    Raises:
        ArtifactError: run.json is damaged or cannot be read.
    """
    path = Path(folder) / RUN
    try:
        found = _json(path)
    except FileNotFoundError:
        return {}
    if not isinstance(found, dict):
        raise ArtifactError(f"{path} is damaged: not a record of a run", AGAIN)
    return found


def _demand_form(form: type[BaseModel], value: Any, path: Path, *where: str) -> None:
    """Refuse what a file holds (`where` in it) and has another form."""
    try:
        form.model_validate(value, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in (*where, *first["loc"][:2]))
        raise ArtifactError(f"{path} is damaged: {place + ': ' if place else ''}{first['msg']}", AGAIN) from None


def _json(path: Path) -> Any:
    """The content of a JSON file; when there is none, the system's own error."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise
    except (ValueError, RecursionError) as error:  # not JSON, not UTF-8, a number of thousands of digits, nested too deeply
        raise ArtifactError(f"{path} is damaged: {error}", AGAIN) from None
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read: {error.strerror}", "change its permissions, or check the disk") from None


def is_artifact(folder: Path) -> bool:
    """Whether the folder carries a manifest of ours (a plain Hugging Face folder does not)."""
    return os.path.isfile(Path(folder) / MANIFEST)


def contents(folder: Path) -> list[str]:
    """What lies in a folder beside manifest.json and run.json: names relative to it, sorted; those of empty folders end in a slash.

    Raises:
        OSError: A folder cannot be read.
    """
    own = {MANIFEST, RUN, *(name for name in OF_OTHERS if _of_others(Path(folder) / name))}
    return sorted(set(_names(Path(folder))) - own)


def _of_others(path: Path) -> bool:
    """Whether Snakemake or DVC left a file, and not the user."""
    try:
        return path.is_file() and not path.is_symlink() and OF_OTHERS[path.name].fullmatch(path.read_bytes()) is not None
    except OSError:
        return False


def _names(folder: Path) -> Iterator[str]:
    for place, folders, files in os.walk(folder, onerror=_raise):
        below = Path(place).relative_to(folder)
        for name in [*files, *(name for name in folders if os.path.islink(os.path.join(place, name)))]:
            yield (below / name).as_posix()
        if not files and not folders and below.parts:
            yield f"{below.as_posix()}/"


def _raise(error: OSError) -> None:
    raise error


def find(folder: Path) -> list[Path]:
    """Every artifact in a folder, also one that lost its manifest, sorted; not what lies inside of one (copies of manifests, say) nor in hidden folders.

    Links to folders are followed, each folder once.

    Raises:
        ArtifactError: A folder cannot be read.
    """
    return sorted(place for place, hidden in _walk(folder) if hidden is None)


def put_aside(folder: Path) -> list[Path]:
    """Every folder in which a pull has kept a damaged artifact, sorted; looked for where `find` looks.

    Raises:
        ArtifactError: A folder cannot be read.
    """
    return sorted(place / name for place, hidden in _walk(folder) for name in hidden or () if name.endswith(DAMAGED))


def _walk(folder: Path) -> Iterator[tuple[Path, list[str] | None]]:
    """Folders from here downwards: of an artifact None, of any other folder the names of the hidden folders in it."""
    seen: set[tuple[int, int]] = set()
    try:
        for place, folders, files in os.walk(folder, onerror=_raise, followlinks=True):
            facts = os.stat(place)
            if (facts.st_dev, facts.st_ino) in seen:
                folders.clear()
                continue
            seen.add((facts.st_dev, facts.st_ino))
            if MANIFEST in files or (RUN in files and lost(Path(place))):
                folders.clear()
                yield Path(place), None
            else:
                hidden = [name for name in folders if name.startswith(".")]
                folders[:] = [name for name in folders if name not in hidden]
                yield Path(place), hidden
    except OSError as error:
        raise ArtifactError(
            f"{error.filename or folder} cannot be read: {error.strerror}", "change its permissions, or correct the path"
        ) from None


def lost(folder: Path) -> str | None:
    """What an artifact was of which run.json is left and the manifest is not; None for anything else."""
    try:
        return None if is_artifact(folder) else record(folder).get("kind")
    except ArtifactError:
        return None


def fingerprint(folder: Path) -> str:
    """SHA-256 of the manifest; for a plain folder (a model given by the user), of its files' names and bytes.

    Raises:
        ArtifactError: The folder is missing, cannot be read, or has a damaged manifest.
    """
    folder = Path(folder)
    try:
        if is_artifact(folder):
            read(folder)
            return file_sha256(folder / MANIFEST)
        if not folder.is_dir():
            raise ArtifactError(f"{folder} does not exist", "run the stage that makes it, or give another folder")
        listing = {name: sha256(folder / name) for name in contents(folder) if (folder / name).is_file()}
    except OSError as error:
        raise ArtifactError(f"{error.filename or folder} cannot be read: {error.strerror}", "change its permissions") from None
    return hashlib.sha256(canonical_json(listing).encode(errors="surrogateescape")).hexdigest()


def volatile_files(kind: str, kept: Mapping[str, Any]) -> set[str]:
    """Volatile files that are part of an artifact: those that its record names; without a record, every name of its kind."""
    of_kind = VOLATILE.get(kind, frozenset())
    return set(of_kind.intersection(kept.get("volatile", ())) if kept else of_kind)


def places(folders: Mapping[str, Path], out: Path) -> dict[str, str]:
    """Role -> place of each input as seen from the artifact, so that a tree that moves as a whole stays comparable."""
    here = os.path.realpath(out)
    return {role: os.path.relpath(os.path.realpath(folder), here) for role, folder in sorted(folders.items())}


def listed(folder: Path) -> tuple[str, set[str]] | None:
    """Kind and file names of an artifact by its manifest, or by run.json: Snakemake deletes the manifest before it runs a job again.

    None when neither says.
    """
    kept = _own_record(folder)
    try:
        manifest = read(folder)
        return manifest["kind"], {*manifest["files"], *volatile_files(manifest["kind"], kept)}
    except ArtifactError:
        return (kept["kind"], {*kept["files"], *volatile_files(kept["kind"], kept)}) if kept else None


def foreign(folder: Path) -> list[str]:
    """What lies in a folder and is not part of the artifact that it may be: names as `contents` gives them, and manifest.json and run.json
    where they are not ours (notes of the user, or a link).

    Raises:
        OSError: A folder cannot be read.
    """
    ours, names = listed(folder), contents(folder)
    own = {MANIFEST: ours is not None, RUN: bool(_own_record(folder))}
    names += [name for name, is_ours in own.items() if not is_ours and _is_entry(Path(folder) / name)]
    return [name for name in names if ours is None or name not in ours[1]]


def _is_entry(path: Path) -> bool:
    """Whether there is a file or link; what a folder holds has names of its own."""
    return os.path.lexists(path) and (os.path.islink(path) or not os.path.isdir(path))


def _own_record(folder: Path) -> dict[str, Any]:
    """`record` where run.json is a file of ours; empty when it is missing, damaged, a link, or somebody else's."""
    try:
        return {} if os.path.islink(Path(folder) / RUN) else record(folder)
    except ArtifactError:
        return {}


def in_order(names: Iterable[str]) -> str:
    """At most three names, for a message."""
    known = sorted(names)
    return ", ".join(known[:3]) + (f" and {len(known) - 3} more" if len(known) > 3 else "")
