"""`snakemake.lock`: what Snakemake knows of every stored artifact, so that another clone knows it too.

Snakemake decides what runs again by its own record of each output: settings, shell command, set of inputs, and a hash of each input's
content. The records live in `.snakemake/metadata` and do not travel with git or DVC. Here they are written to one file beside `dvc.lock`,
with the hash of each output, and put back in a clone. What has no fitting record is never trusted.

The file depends on the records only: the same tree gives the same bytes. What many jobs share (source files, commands, settings) is written once.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tokgraft.artifacts import canonical_json, file_sha256
from tokgraft.config import layout
from tokgraft.config.base import Strict
from tokgraft.store import StoreError
from tokgraft.store.paths import below_results

LOCK = Path("snakemake.lock")
METADATA = Path(".snakemake/metadata")
SCHEMA = 1
# What is kept of Snakemake's record; the rest is of this machine (job ids, the text of the conda file) or follows from it (the filled-in command).
KEPT = ("rule", "input", "log", "params", "code", "record_format_version", "container_img_url", "software_stack_hash", "starttime", "endtime",
        "input_checksums")  # fmt: skip
# Snakemake hashes the place of a conda environment; only "no environment" means the same elsewhere.
NO_STACK = hashlib.md5(usedforsecurity=False).hexdigest()
# An extra key of ours in Snakemake's record: the content that it speaks of. Snakemake reads past it.
CONTENT = "sha256"
# Dates of restored outputs: all older than any source file, and an input newer than what is made from it, so that Snakemake compares
# the content of every input of every job. 2000-01-01.
EPOCH = 946_684_800
LONG = 100  # shorter texts are not shared


@dataclass(frozen=True)
class Record:
    """What is known of one output: the hash of its bytes, and Snakemake's record of how they were made."""

    sha256: str
    metadata: dict[str, Any]

    @property
    def inputs(self) -> dict[str, str]:
        """Input file -> hash of its content when the output was made."""
        return {path: str(value).removeprefix("sha256:") for path, value in self.metadata["input_checksums"].items()}


@dataclass
class Restored:
    """What was told to Snakemake: outputs that are here, that are absent, and that are here but fit no record."""

    current: list[str] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    own: list[str] = field(default_factory=list)
    untrusted: list[str] = field(default_factory=list)


# --- Snakemake's files --------------------------------------------------------------------------------------------------


def metadata_path(root: Path, output: str) -> Path:
    """Snakemake's file for an output: its name in base64, cut where a file name may not be longer."""
    name = base64.urlsafe_b64encode(output.encode()).decode()
    size = os.pathconf(root, "PC_NAME_MAX") - 1
    parts = [name[start : start + size] for start in range(0, len(name), size)]
    return (root / METADATA).joinpath(*[f"@{part}" for part in parts[:-1]], parts[-1])


def read_metadata(root: Path, output: str) -> dict[str, Any] | None:
    """Snakemake's record of an output; None where there is none, or a damaged one."""
    try:
        found = json.loads(metadata_path(root, output).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and not found.get("incomplete") else None


def write_metadata(root: Path, output: str, metadata: Mapping[str, Any]) -> None:
    """Write Snakemake's record of an output."""
    path = metadata_path(root, output)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{os.getpid()}.part")
    temporary.write_text(json.dumps(metadata), encoding="utf-8")
    temporary.replace(path)


def outputs(root: Path) -> list[str]:
    """Every output that Snakemake has a record of, here or not."""
    base = root / METADATA
    found = []
    for path in base.rglob("*") if base.is_dir() else ():
        if path.is_file() and not path.name.startswith("."):
            *folders, name = path.relative_to(base).parts
            encoded = "".join(part[1:] for part in folders) + name
            try:
                found.append(base64.urlsafe_b64decode(encoded).decode())
            except ValueError:
                continue
    return sorted(found)


def describes(metadata: Mapping[str, Any], path: Path, sha256: str) -> bool:
    """Whether a record speaks of the bytes that are here: it names their hash, or they are as old as the job that Snakemake ran."""
    if CONTENT in metadata:
        return bool(metadata[CONTENT] == sha256)
    ended = metadata.get("endtime")
    return ended is not None and abs(path.stat().st_mtime - float(ended)) < 0.001


# --- the lock file ------------------------------------------------------------------------------------------------------


def collect(root: Path, names: Iterable[str]) -> dict[str, Record]:
    """Records of those of `names` that are here and that Snakemake knows."""
    found = {}
    for name in names:
        path, metadata = root / name, read_metadata(root, name)
        if metadata is not None and path.is_file():
            kept = {key: metadata.get(key) for key in KEPT}
            if kept["software_stack_hash"] != NO_STACK:
                kept["software_stack_hash"] = None
            for key in ("starttime", "endtime"):
                kept[key] = round(float(kept[key] or 0), 3)
            found[name] = Record(file_sha256(path), kept)
    return found


def load(root: Path) -> dict[str, Record]:
    """The records of the lock file, by output; none where there is no file.

    Raises:
        StoreError: The file is damaged or of another version.
    """
    path = root / LOCK
    if not path.is_file():
        return {}
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["schema"] != SCHEMA:
            raise StoreError(
                f"{path} has schema {data['schema']}, this version reads {SCHEMA}", "use the version that wrote it, or push again"
            )
        jobs = [_Job.model_validate(job) for job in data["jobs"]]
        found = {name: record for job in jobs for name, record in _expand(job, data).items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        do = "take it from git again: git checkout snakemake.lock (after a merge conflict: one side, then tokgraft push)"
        raise StoreError(f"{path} is damaged: {error!r}", do) from None
    for name in found:
        below_results(root, name, str(LOCK))
    return found


def save(root: Path, records: Mapping[str, Record]) -> None:
    """Write the lock file: one line a job, shared texts once."""
    shared: dict[str, dict[str, Any]] = {"sources": {}, "texts": {}}
    jobs: dict[str, dict[str, Any]] = {}
    for name, record in sorted(records.items()):
        job = _shrink(record, shared)
        job = jobs.setdefault(canonical_json(job), job)
        job.setdefault("outputs", {})[name] = [record.sha256, record.metadata["endtime"]]
    lines = [f"{canonical_json(job)}" for job in sorted(jobs.values(), key=lambda job: min(job["outputs"]))]
    parts = [f' "{part}": {json.dumps(shared[part], indent=1, sort_keys=True, ensure_ascii=False)}' for part in sorted(shared)]
    text = "{\n" + f' "schema": {SCHEMA},\n "jobs": [\n  ' + ",\n  ".join(lines) + "\n ],\n" + ",\n".join(parts) + "\n}\n"
    temporary = (root / LOCK).with_suffix(".lock.part")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(root / LOCK)


class _Job(Strict):
    """A line of the lock file, as JSON holds it."""

    rule: str
    inputs: list[tuple[str, str | None]]
    sources: str
    log: list[str]
    params: list[str]
    code: str | None
    format: int
    stack: str | None
    container: str | None
    started: float
    outputs: dict[str, tuple[str, float]]


def _shrink(record: Record, shared: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """A job without what is shared. Inputs are a list of pairs: a file that has two roles stands in it twice."""
    metadata = record.metadata
    pairs = [[path, metadata["input_checksums"].get(path)] for path in metadata["input"] or []]
    made, sources = [pair for pair in pairs if _is_made(pair[0])], [pair for pair in pairs if not _is_made(pair[0])]
    return {
        "rule": metadata["rule"], "inputs": made, "sources": _share(shared["sources"], sources), "log": metadata["log"],
        "params": [_short(shared["texts"], param) for param in metadata["params"] or []], "code": _short(shared["texts"], metadata["code"]),
        "format": metadata["record_format_version"], "stack": metadata["software_stack_hash"], "container": metadata["container_img_url"],
        "started": metadata["starttime"],
    }  # fmt: skip


def _expand(job: _Job, data: Mapping[str, Any]) -> dict[str, Record]:
    texts = data["texts"]
    pairs = [*job.inputs, *((str(path), checksum) for path, checksum in data["sources"][job.sources])]
    common = {
        "rule": job.rule, "input": sorted(path for path, _ in pairs), "log": job.log, "params": [_long(texts, param) for param in job.params],
        "code": _long(texts, job.code), "record_format_version": job.format, "container_img_url": job.container,
        "software_stack_hash": job.stack, "starttime": job.started,
        "input_checksums": {path: checksum for path, checksum in pairs if checksum is not None},
    }  # fmt: skip
    return {name: Record(sha256, {**common, "endtime": ended}) for name, (sha256, ended) in job.outputs.items()}


def _is_made(path: str) -> bool:
    return path.startswith(f"{layout.RESULTS}/")


def _share(table: dict[str, Any], value: Any) -> str:
    key = hashlib.sha256(canonical_json(value).encode()).hexdigest()[:16]
    table[key] = value
    return key


def _short(table: dict[str, Any], text: str | None) -> str | None:
    """The text, or `@key` of a long one (Snakemake's own values never begin with an @)."""
    return text if text is None or (len(text) < LONG and not text.startswith("@")) else f"@{_share(table, text)}"


def _long(table: Mapping[str, Any], text: str | None) -> str | None:
    return table[text[1:]] if text is not None and text.startswith("@") else text


# --- in a clone ---------------------------------------------------------------------------------------------------------


def restore(root: Path, records: Mapping[str, Record], damaged: Iterable[str] = ()) -> Restored:
    """Tell Snakemake what it knew where the artifacts were made.

    An absent output gets its record, so that a change of its settings, rule or sources is still seen. One that is here gets it when its
    content is the recorded one. Other content keeps the record of this tree when that speaks of it (made here); else it loses it and is
    dated before everything, so that it is built again.

    Args:
        root: Root of the project.
        records: Those of the lock file.
        damaged: Outputs whose artifact was found damaged: never trusted, whatever their own hash is.
    """
    done, bad = Restored(), set(damaged)
    for name, record in sorted(records.items()):
        path, local = root / name, read_metadata(root, name)
        if not path.is_file():
            _put(root, name, record)
            done.absent.append(name)
            continue
        sha256 = file_sha256(path)
        known = local is not None and describes(local, path, sha256)
        if name in bad or (sha256 != record.sha256 and not known):
            metadata_path(root, name).unlink(missing_ok=True)
            done.untrusted.append(name)
        elif sha256 != record.sha256:
            done.own.append(name)
        else:
            if not known:
                _put(root, name, record)
            done.current.append(name)
    _date(root, done.untrusted)
    return done


def _put(root: Path, name: str, record: Record) -> None:
    job = (record.metadata["log"] or [name])[0]  # one number for all outputs of a job: Snakemake's report groups by it
    number = int(hashlib.sha256(job.encode()).hexdigest()[:12], 16)
    extra = {"job_hash": number, "incomplete": False, CONTENT: record.sha256}
    write_metadata(root, name, {**record.metadata, **extra})


def _date(root: Path, untrusted: Iterable[str]) -> None:
    """Date every output by its depth in the graph; note its content, since its date no longer tells that it was made here."""
    known = {name: found for name in outputs(root) if (found := read_metadata(root, name)) is not None}
    depths: dict[str, int] = {}
    for name, metadata in known.items():
        depth, path = _depth(name, known, depths), root / name
        if path.is_file():
            if CONTENT not in metadata and describes(metadata, path, ""):
                write_metadata(root, name, {**metadata, CONTENT: file_sha256(path)})
            _stamp(path, EPOCH - depth)
    distrust(root, untrusted)


def distrust(root: Path, names: Iterable[str]) -> None:
    """Date outputs before everything: without a record Snakemake then builds them again."""
    for name in names:
        _stamp(root / name, 1)


def _depth(name: str, known: Mapping[str, Mapping[str, Any]], depths: dict[str, int]) -> int:
    if name not in depths:
        depths[name] = 0  # ends a circle, which records of several experiments could form
        made = [path for path in known[name].get("input") or [] if path in known]
        depths[name] = 1 + max((_depth(path, known, depths) for path in made), default=0)
    return depths[name]


def _stamp(path: Path, when: int) -> None:
    """Date a file. A link into DVC's cache becomes a file of its own first: two outputs may share one file of the cache."""
    if path.is_symlink() or path.stat().st_nlink > 1:
        temporary = path.with_name(f".{path.name}.part")
        shutil.copyfile(path, temporary)
        temporary.replace(path)
    os.utime(path, (when, when))
