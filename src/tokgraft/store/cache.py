"""DVC's part: the cache and the remote. The only module that imports dvc."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tokgraft.logs import log
from tokgraft.store import StoreError
from tokgraft.store.paths import is_inside

_OBJECT = re.compile(r"[0-9a-f]{32}(\.dir)?")
MISSING, DAMAGED = "missing", "damaged"
DVC_YAML = "dvc.yaml"


@contextmanager
def _repo(root: Path) -> Iterator[Any]:
    """DVC's repository.

    Raises:
        StoreError: DVC is missing, not set up here, or failed.
    """
    if not (root / ".dvc").is_dir():
        raise StoreError(f"{root.resolve()} has no .dvc folder", "run in the root of a checkout, or type: dvc init")
    try:
        from dvc.exceptions import DvcException
        from dvc.repo import Repo
    except ImportError as error:
        raise StoreError(f"dvc cannot be imported: {error}", "install the locked environment (make setup)") from None
    try:
        with Repo(str(root)) as repo:
            yield repo
    except (DvcException, OSError) as error:
        raise StoreError(f"dvc: {error}", "mend what it says and run again; the artifacts are untouched") from error


@contextmanager
def _only(repo: Any, names: Iterable[str]) -> Iterator[Any]:
    """The repository as if these stages were all it has, locked: commands then take no targets.

    For every target that it is given DVC reads dvc.yaml and dvc.lock again, which takes hours for thousands of stages.
    """
    from dvc.repo import lock_repo
    from dvc.repo.index import Index

    with lock_repo(repo):  # the commands inside find it locked, and so keep the index
        repo.__dict__["index"] = Index(repo, stages=_ours(repo, names))
        yield repo


def _ours(repo: Any, names: Iterable[str]) -> list[Any]:
    """Those stages of the dvc.yaml in the root. (`stage.addressing` would depend on the working directory.)"""
    chosen = set(names)
    return [stage for stage in repo.index.stages if stage.path_in_repo == DVC_YAML and stage.name in chosen]


def changed(root: Path, names: Iterable[str]) -> set[str]:
    """Those stages whose output is here and is not what dvc.lock says (or is not in it). Hashes only what has a new date."""
    with _repo(root) as repo:
        return {stage.name for stage in _ours(repo, names) if any(out.status() for out in stage.outs)}


def record(root: Path, names: Iterable[str]) -> None:
    """Put the outputs of these stages into the cache and into dvc.lock. Entries of all others stay."""
    # As `dvc commit --force` does it, for the chosen stages only: their dates, too, stay as they are.
    with _repo(root) as repo, _only(repo, names):
        stages = repo.index.stages
        for stage in stages:
            stage.save()
            stage.commit()
        if stages:
            stages[0].dvcfile.dump_stages(stages, update_pipeline=False)


def push(root: Path, names: Iterable[str], remote: str | None, jobs: int | None) -> int:
    """Push these stages; how many files went.

    Raises:
        StoreError: The remote is missing, unreachable or refuses.
    """
    then = "nothing is lost, it is recorded here: push again"
    with _repo(root) as repo, _remote(repo, remote, "pushed to", then), _only(repo, names):
        return int(repo.push(remote=remote, jobs=jobs))


@dataclass
class FetchedArtifact:
    """What a fetch brought and what it did not.

    Attributes:
        whole: Stages whose output was put into the folder.
        missing: Stages of which the store lacks an object.
        damaged: Stage -> objects whose content was not what their name says; they were thrown away.
        reason: The first failure of the remote, in its words.
    """

    whole: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    damaged: dict[str, list[str]] = field(default_factory=dict)
    reason: str = ""


def fetch(root: Path, stages: Mapping[str, str], remote: str | None, jobs: int | None) -> FetchedArtifact:
    """Fetch the outputs of stages and put them into the folder. What cannot be fetched whole stays as it is.

    A remote is not trusted. Every object is hashed before it is used: DVC itself takes whatever the remote calls by that name, and writes
    where a list of files (`.dir`) points. So the lists come first, are checked, and only then what they name.

    Args:
        root: Root of the project.
        stages: Stage -> path.
        remote: Name of a remote (default: DVC's default).
        jobs: Downloads at once.

    Raises:
        StoreError: The remote is missing or cannot be reached at all, or dvc.lock or a list of files points outside its folder.
    """
    from dvc.repo import lock_repo

    done = FetchedArtifact()
    with _repo(root) as repo, lock_repo(repo):
        tops = _recorded(repo, stages)
        with _remote(repo, remote, "read", "then pull again; what came whole is kept"):
            source = repo.cloud.get_remote_odb(remote, "fetch")
            source.fs.exists(source.path)  # fails when nobody answers: once, and not for each object
            flaws = _download(repo, source, {oid for oid in tops.values() if oid}, jobs, done)
            needed = {name: [oid, *([] if oid in flaws else _listed(repo, oid, stages[name]))] for name, oid in tops.items()}
            flaws |= _download(repo, source, {oid for oids in needed.values() for oid in oids if oid} - flaws.keys(), jobs, done)
        for name, oids in needed.items():
            damaged = [oid for oid in oids if flaws.get(oid) == DAMAGED]
            if damaged:
                done.damaged[name] = damaged
            elif any(not oid or oid in flaws for oid in oids):
                done.missing.append(name)
            else:
                done.whole.append(name)
        if done.whole:
            repo.drop_data_index()  # what DVC remembers of lists that it has read: ours were checked
            with _only(repo, done.whole):
                repo.checkout(targets=[None], force=True)  # no target at all would delete what these stages do not have
    return done


def _recorded(repo: Any, stages: Mapping[str, str]) -> dict[str, str]:
    """Stage -> name of the object that dvc.lock records for it; empty where it records none.

    Raises:
        StoreError: What DVC has read is not the one output that the stage has, or no MD5.
    """
    found = dict.fromkeys(stages, "")
    for stage in _ours(repo, stages):
        path = stages[stage.name]
        for out in stage.outs:
            oid = out.hash_info.value if out.hash_info else ""
            if Path(out.fs_path) != Path(repo.root_dir) / path or out.files or (oid and not _is_object(out.hash_info.name, oid)):
                raise StoreError(
                    f"dvc.lock has something else for {stage.name} than the MD5 of {path}",
                    "do not trust this dvc.lock: take one from a commit that you know, or write it anew (tokgraft push)",
                )
            found[stage.name] = oid
    return found


def _is_object(hash_name: str, oid: object) -> bool:
    """Whether this is the name of an object: an MD5, with `.dir` when it is a list of files."""
    return hash_name == "md5" and isinstance(oid, str) and _OBJECT.fullmatch(oid) is not None


def _listed(repo: Any, oid: str, path: str) -> list[str]:
    """The objects that a list of files names; none when `oid` is a file.

    Raises:
        StoreError: It is no list, or names a file outside the folder or an object that is none.
    """
    if not oid.endswith(".dir"):
        return []
    try:
        entries = json.loads(Path(repo.cache.local.oid_to_path(oid)).read_bytes())
        objects = [entry["md5"] for entry in entries]
        safe = all(is_inside(entry["relpath"]) for entry in entries) and all(_is_object("md5", one) and len(one) == 32 for one in objects)
    except (ValueError, TypeError, KeyError, RecursionError):
        safe = False
    if not safe:
        raise StoreError(
            f"the list of the files of {path} ({in_store(oid)} in the store) points outside its folder, or is no list of files",
            "do not trust this dvc.lock and this store: nothing of it was written; take a commit that you know",
        )
    return objects


def _download(repo: Any, source: Any, oids: set[str], jobs: int | None, done: FetchedArtifact) -> dict[str, str]:
    """Get objects into the cache, those that are not there; object -> flaw (MISSING or DAMAGED) of those that are not there or not whole.

    An object that was damaged in the cache (a file in `results/` that shares its bytes was edited) is thrown away first and fetched like
    one that is not there, so what is DAMAGED came so.
    """
    cache = repo.cache.local
    places = {oid: Path(cache.oid_to_path(oid)) for oid in sorted(oids)}
    if spoiled := _drop_altered(places):
        log.warning("damaged in the cache here, fetched again: %s", ", ".join(map(in_store, spoiled)))
    absent = [oid for oid, place in places.items() if not place.is_file()]
    reasons: list[str] = []
    if absent:
        paths = [source.oid_to_path(oid) for oid in absent]
        came = cache.add(paths, source.fs, absent, batch_size=jobs, on_error=lambda oid, error: reasons.append(_first_line(error)))
        log.info("fetched %d files", came)
    done.reason = done.reason or next(iter(reasons), "")
    flaws = {oid: MISSING for oid, place in places.items() if not place.is_file()}
    return flaws | dict.fromkeys(_drop_altered({oid: places[oid] for oid in absent}), DAMAGED)


def _drop_altered(places: Mapping[str, Path]) -> list[str]:
    """Throw away the objects whose content is not what their name says; their names. Objects that are not there are passed over."""
    altered = [oid for oid, place in places.items() if place.is_file() and _md5(place) != oid.removesuffix(".dir")]
    for oid in altered:
        places[oid].chmod(0o644)
        places[oid].unlink()
    return altered


@contextmanager
def _remote(repo: Any, name: str | None, done: str, then: str) -> Iterator[None]:
    """Give every failure of a remote (DVC's own, or one of the many of its file systems) one form."""
    from dvc.config import NoRemoteError

    with _overheard() as said:
        try:
            yield
        except StoreError:
            raise
        except NoRemoteError as error:
            raise StoreError(
                f"dvc: {error}", "name a store: make remote URL=s3://bucket/folder (or a folder, or ssh://host/folder)"
            ) from error
        except Exception as error:
            reason = ": ".join(dict.fromkeys([_first_line(error), *said[:1]]))
            raise StoreError(
                f"the remote {' '.join(_address(repo, name))} cannot be {done}: {reason}",
                f"check its address, network and credentials, {then}",
            ) from error


class _Keep(logging.Handler):
    """Keeps the first line of each message."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        self.said.append(_first_line(error) if error else record.getMessage().partition("\n")[0])


@contextmanager
def _overheard() -> Iterator[list[str]]:
    """What DVC logs of failures, kept off the terminal: it names every file, and the address of the remote with its password."""
    loggers = [logging.getLogger(name) for name in ("dvc", "dvc_data", "dvc_objects")]
    before = [(logger.handlers[:], logger.propagate) for logger in loggers]
    keep = _Keep()
    try:
        for logger in loggers:
            logger.handlers[:], logger.propagate = [keep], False
        yield keep.said
    finally:
        for logger, (handlers, propagate) in zip(loggers, before):
            logger.handlers[:], logger.propagate = handlers, propagate


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _address(repo: Any, name: str | None) -> tuple[str, str]:
    """Name and URL of a remote."""
    where = name or repo.config["core"].get("remote") or "(no default remote)"
    return where, str(repo.config["remote"].get(where, {}).get("url", ""))


def cached(root: Path, paths: Iterable[Path]) -> bool:
    """Whether the bytes of these files are in DVC's cache, so that replacing them loses nothing."""
    with _repo(root) as repo:
        return all(Path(repo.cache.local.oid_to_path(_md5(path))).is_file() for path in paths)


def in_store(oid: str) -> str:
    """Where an object lies in a store."""
    return f"files/md5/{oid[:2]}/{oid[2:]}"


def _md5(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
