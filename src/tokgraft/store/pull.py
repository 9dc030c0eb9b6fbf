"""Bring stored artifacts here, verify them, and tell Snakemake what it knew of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tokgraft import artifacts
from tokgraft.artifacts import file_sha256
from tokgraft.errors import ArtifactError
from tokgraft.logs import log
from tokgraft.store import StoreError, cache, records, stages
from tokgraft.store.records import Record
from tokgraft.store.turn import turn


@dataclass
class Pulled:
    """What a pull did, artifacts by path.

    Attributes:
        fetched: Came, and are whole.
        here: Were here already, whole.
        kept: Here with other content that is not stored anywhere; left alone.
        damaged: Path -> what is wrong with it, here or in the store; absent.
        missing: Could not be fetched whole; absent.
        untrusted: Here, but fit no record: Snakemake will build them again.
        aside: Where a damaged artifact is kept -> what is wrong with it.
    """

    fetched: list[str] = field(default_factory=list)
    here: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    damaged: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    untrusted: list[str] = field(default_factory=list)
    aside: dict[str, str] = field(default_factory=dict)

    @property
    def well(self) -> bool:
        """Whether everything asked for is here and trusted."""
        return not (self.damaged or self.missing or self.untrusted)

    def add(self, other: Pulled) -> None:
        """Take in what a further pull did."""
        for name in ("fetched", "here", "kept", "missing"):
            getattr(self, name).extend(getattr(other, name))
        self.damaged.update(other.damaged)
        self.aside.update(other.aside)
        self.untrusted = other.untrusted


def pull(chosen: Mapping[str, str], root: Path = Path(), remote: str | None = None, jobs: int | None = None) -> Pulled:
    """Pull artifacts. Afterwards Snakemake lists what is missing or changed, and nothing else.

    Args:
        chosen: Stage -> path, from `stages.Choice.of`; none: only tell Snakemake about what is here.
        root: Root of the project.
        remote: Name of a remote (default: DVC's default).
        jobs: Downloads at once.

    Raises:
        StoreError: A run is going on, nothing is stored, or the remote cannot be reached.
    """
    if not (root / records.LOCK).is_file():
        raise StoreError(f"there is no {records.LOCK} here: nothing is stored", "make push after a run, or check out a commit that has one")
    known, done = records.load(root), Pulled()
    with turn(root, map(stages.output, stages.stored(root).values()), "pull"):
        try:
            _pull(dict(chosen), root, known, done, remote, jobs)
        finally:
            done.untrusted = _restore(root, known, done)
            if done.aside:
                log.warning("put aside, because it was damaged: %s", ", ".join(done.aside))
                log.warning("-> take files of yours out of it, and delete it: nothing else does")
    return done


def _pull(chosen: dict[str, str], root: Path, known: Mapping[str, Record], done: Pulled, remote: str | None, jobs: int | None) -> None:
    absent = {name: path for name, path in chosen.items() if not _settled(root, path, known, done)}
    if not absent:
        return
    got = cache.fetch(root, absent, remote, jobs)
    for name in got.whole:
        path = absent[name]
        if problem := _problem(root, path, None):
            _put_aside(root, path, problem, done)
        else:
            done.fetched.append(path)
    done.missing += [absent[name] for name in got.missing]
    done.damaged |= {absent[name]: f"damaged in the store: {', '.join(map(cache.in_store, found))}" for name, found in got.damaged.items()}
    if got.missing:
        log.error("not in the store, or only in part: %s", ", ".join(done.missing))
        log.error("-> %s", got.reason or "dvc.lock does not know them")
        log.error(
            "-> pull again; if it stays: another store (make remote URL=...), make push where they were made, or let snakemake build them"
        )
    if got.damaged:
        for path in (absent[name] for name in got.damaged):
            log.error("%s: %s", path, done.damaged[path])
        log.error("-> delete these in the remote, then push again from where they were made; or let snakemake build them")


def _settled(root: Path, path: str, known: Mapping[str, Record], done: Pulled) -> bool:
    """Whether an artifact needs no pulling: it is here whole, or the user's own. A damaged one is put aside."""
    if not (root / path).exists():
        return False
    record = known.get(stages.output(path))
    if not (problem := _problem(root, path, record)):
        done.here.append(path)
        return True
    if _problem(root, path, None):
        _put_aside(root, path, problem, done)
        del done.damaged[path]  # it is going to be replaced
        return False
    if cache.cached(root, [root / stages.output(path)]):
        return False  # an older version, recorded before
    log.warning(
        "%s is here with other content than the stored one, and is stored nowhere: kept. To have the stored one: rm -r %s", path, path
    )
    done.kept.append(path)
    return True


def _problem(root: Path, path: str, record: Record | None) -> str:
    """What is wrong with an artifact, all files hashed: with itself, and (where one is given) as the content of a record."""
    try:
        problems = artifacts.verify(root / path) if (root / path).is_dir() else []
    except ArtifactError as error:
        return error.what
    if not problems and record is not None and file_sha256(root / stages.output(path)) != record.sha256:
        problems = [f"{path}: not the version that {records.LOCK} speaks of"]
    return "; ".join(problems[:3])


def _put_aside(root: Path, path: str, problem: str, done: Pulled) -> None:
    place = root / path
    if place.is_dir() and any(found != place for found in artifacts.find(place)):
        raise StoreError(f"{path} holds artifacts, and is none itself", f"move it out of the way, or do not pull {path}")
    names = (place.with_name(f".{place.name}{number}{artifacts.DAMAGED}") for number in ("", *(f".{count}" for count in range(2, 10_000))))
    aside = next(name for name in names if not name.exists())
    place.rename(aside)
    where = str(aside.relative_to(root))
    log.error("%s; put aside as %s", problem, where)
    done.damaged[path] = done.aside[where] = problem


def _restore(root: Path, known: Mapping[str, Record], done: Pulled) -> list[str]:
    """Restore the records; what is here, was not verified just now and is unknown to this tree's Snakemake is hashed first."""
    verified = {*done.fetched, *done.here}
    doubtful = []
    for name in known:
        path = stages.artifact(name)
        if path not in verified and (root / name).is_file() and records.read_metadata(root, name) is None:
            if problem := _problem(root, path, None):
                log.error("%s: never trusted, will be built again", problem)
                doubtful.append(name)
            else:
                verified.add(path)
    restored = records.restore(root, known, doubtful)
    strange = [stages.output(path) for path in stages.stored(root).values() if stages.output(path) not in known]
    left = [name for name in strange if (root / name).is_file() and records.read_metadata(root, name) is None]
    records.distrust(root, left)
    log.info("snakemake knows of %d outputs here and %d elsewhere", len(restored.current) + len(restored.own), len(restored.absent))
    untrusted = sorted({stages.artifact(name) for name in [*restored.untrusted, *left]})
    for path in untrusted:
        log.warning("%s fits no record: snakemake will build it again", path)
    return untrusted
