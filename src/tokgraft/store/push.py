"""Record what a run has made, and push it: dvc.yaml and dvc.lock (bytes), snakemake.lock (records), metrics.json (headline)."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from tokgraft import artifacts
from tokgraft.cells import CellList
from tokgraft.config import layout
from tokgraft.logs import log
from tokgraft.store import StoreError, cache, metrics, records, stages
from tokgraft.store.paths import below_results, refuse_links
from tokgraft.store.records import Record
from tokgraft.store.turn import turn


@dataclass
class Pushed:
    """What was recorded: artifacts by path. `unknown` are here, but Snakemake did not make them here and they fit no record."""

    recorded: list[str] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    forgotten: list[str] = field(default_factory=list)
    files: int | None = None


def push(
    cells: CellList, root: Path = Path(), send: bool = True, prune: bool = False, remote: str | None = None, jobs: int | None = None
) -> Pushed:
    """Record every finished artifact of an experiment and all that it was made from, and push it.

    What is not here keeps the entries it has. What Snakemake has no fitting record of is not stored: nobody could know how it was made.

    Args:
        cells: The cells of the experiment.
        root: Root of the project, a git repository with a `.dvc` folder.
        send: Push to the remote; False: only record here.
        prune: Forget artifacts of other experiments.
        remote: Name of a remote (default: DVC's default).
        jobs: Uploads at once.

    Raises:
        StoreError: A run is going on, an artifact is damaged, or DVC fails.
    """
    for written in (stages.DVC_YAML, stages.DVC_LOCK, records.LOCK, stages.METRICS):
        refuse_links(root, written)
    done, before, old = Pushed(), stages.stored(root), records.load(root)
    outputs = records.outputs(root)
    with turn(root, {*outputs, *map(stages.output, before.values())}, "push"):
        here = _trusted(root, records.collect(root, outputs))
        paths = stages.wanted(cells, {**old, **here})
        for path in paths:
            below_results(root, path, f"the list of the cells of {cells.experiment}")
            _sort(root, path, here, done)
        kept = [] if prune else list(before.values())
        done.forgotten = sorted(set(before.values()) - set(paths)) if prune else []
        metrics.write(root, cells.experiment)
        entries = [path for path in before.values() if path in paths]
        names = stages.write(root, {*done.recorded, *kept, *entries})
        mine = {name for name, path in names.items() if path in set(done.recorded)}
        changed = cache.changed(root, mine)
        _verify(root, {names[name] for name in changed}, here)
        cache.record(root, changed)
        # Publishing is not stored, but its record tells a clone what it is made from (`tokgraft pull --needed`).
        published = layout.published(cells.experiment)
        others = {layout.published(name) for path in names.values() if (name := layout.facts(path).get("experiment"))}
        fresh, known = {*done.recorded, published}, {*names.values(), *others, published}
        new = {name: record for name, record in here.items() if stages.artifact(name) in fresh}
        rest = {name: record for name, record in old.items() if stages.artifact(name) in known and name not in new}
        records.save(root, {**rest, **new})
        log.info("recorded %d artifacts; %d are not here", len(done.recorded), len(done.absent))
        if done.unknown:
            log.warning("not stored, because Snakemake has no record of how it was made (let it build them): %s", ", ".join(done.unknown))
        if send:
            done.files = cache.push(root, mine, remote, jobs)
            log.info("pushed %d files", done.files)
    return done


def _trusted(root: Path, found: dict[str, Record]) -> dict[str, Record]:
    """Without records that speak of other bytes than those that are here."""
    marks = {name: records.read_metadata(root, name) or {} for name in found}
    return {name: record for name, record in found.items() if marks[name].get(records.CONTENT, record.sha256) == record.sha256}


def _sort(root: Path, path: str, here: dict[str, Record], done: Pushed) -> None:
    """Recorded, absent or unknown.

    Raises:
        StoreError: Only a part of it is here: to record that would lose the rest.
    """
    if not (root / path).exists():
        done.absent.append(path)
    elif stages.output(path) not in here:
        if (root / path).is_dir():
            _whole(root, path)
        done.unknown.append(path)
    else:
        if (root / path).is_dir():
            _whole(root, path)
        done.recorded.append(path)


def _whole(root: Path, path: str) -> None:
    folder = root / path
    if not artifacts.is_artifact(folder):
        raise StoreError(f"{path} is not a whole artifact", f"pull or build it whole, or delete it: rm -r {path}")
    for name, facts in artifacts.read(folder)["files"].items():
        file = folder / name
        if not file.is_file() or file.stat().st_size != facts["bytes"]:
            raise StoreError(f"{path}/{name} is missing or has another size than the manifest says", f"rm -r {path}, then pull or build it")


def _verify(root: Path, paths: set[str], here: dict[str, Record]) -> None:
    """Hash what is new or has changed: a damaged artifact must not reach the store.

    Raises:
        StoreError: One is damaged, or was made from other inputs than Snakemake's record says.
    """
    for path in sorted(paths):
        if not (root / path).is_dir():
            continue
        if problems := artifacts.verify(root / path):
            raise StoreError(f"{problems[0]} ({len(problems)} problems in {path})", f"delete it and build it again: rm -r {path}")
        if not made_from(root / path, here[layout.manifest(path)]):
            raise StoreError(
                f"{path} was made from other inputs than Snakemake's record of it says", f"delete it and build it again: rm -r {path}"
            )


def made_from(folder: Path, record: Record) -> bool:
    """Whether the manifest hashes that an artifact says it was made from are those that Snakemake recorded."""
    recorded = set(record.inputs.values())
    manifests = any(stages.output(stages.artifact(name)) == name for name in record.inputs if name.startswith(f"{layout.RESULTS}/"))
    return not manifests or set(artifacts.read(folder)["inputs"].values()) <= recorded
