"""Which stored artifacts a run needs, so that it makes only what nobody has made.

Snakemake would build an absent input of a job that has to run, and then everything else that was made from it. So it is asked what it
plans (`--summary`, `--list-changes`: both made for programs), and what is worth pulling is worked out from the records.
"""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tokgraft.artifacts import file_sha256
from tokgraft.config import layout
from tokgraft.logs import log
from tokgraft.store import StoreError, records, stages
from tokgraft.store.pull import Pulled, pull
from tokgraft.store.records import Record

# Snakemake's command line, with one defect mended: `--list-changes params` names every output, because a change that is none still
# lists its files.
SNAKEMAKE = """
import sys
from snakemake import cli, persistence
persistence.ParamsChange.__iter__ = lambda change: iter(change.files if change else ())
sys.exit(cli.main())
"""


@dataclass(frozen=True)
class PullPlan:
    """What Snakemake intends.

    Attributes:
        pending: Outputs that it would make.
        missing: Outputs that are absent, wanted or not.
        targets: Outputs in its graph.
    """

    pending: frozenset[str]
    missing: frozenset[str]
    targets: tuple[str, ...]


def pull_needed(
    flags: Sequence[str], root: Path = Path(), remote: str | None = None, jobs: int | None = None, done: Pulled | None = None
) -> Pulled:
    """Pull what a run needs and has not got, round by round until nothing more is needed.

    Args:
        flags: Targets and flags of that run, as Snakemake takes them (`--configfile ...`).
        root: Root of the project.
        remote: Name of a remote (default: DVC's default).
        jobs: Downloads at once.
        done: What a pull just before this one did; it is added to.

    Raises:
        StoreError: Snakemake cannot plan the run, or a pull fails.
    """
    if done is None:
        done = pull({}, root)  # the records first: without them Snakemake knows nothing of what is absent
    known, paths = records.load(root), {path: name for name, path in stages.stored(root).items()}
    stored = {name: paths[path] for name in known if (path := stages.artifact(name)) in paths}
    changes = changed(root, flags, known)
    while True:
        plan = ask(root, flags)
        lost = {*done.missing, *done.damaged}
        wanted = needed(plan, known, {name for name in stored if stages.artifact(name) not in lost}, changes)
        if not wanted:
            return done
        chosen = {stored[name]: stages.artifact(name) for name in wanted}
        log.info("needed: %s", ", ".join(sorted(chosen.values())))
        done.add(pull(chosen, root, remote, jobs))


def needed(plan: PullPlan, known: Mapping[str, Record], stored: set[str], changes: set[str]) -> set[str]:
    """Outputs to pull now.

    From the targets downwards: what is here and need not run needs nothing; what is absent, stored and unchanged is pulled, and nothing
    above it is; what has to run needs its inputs. What depends on a thing that runs has to run too, so it is not pulled.

    Args:
        plan: What Snakemake intends.
        known: Records of the stored outputs.
        stored: Outputs that can be pulled.
        changes: Outputs whose own settings, rule, inputs or sources have changed.
    """
    inputs = {name: [path for path in known[name].inputs if _made(path)] for name in plan.targets if name in known}
    consumers: dict[str, set[str]] = {}
    for name, paths in inputs.items():
        for path in paths:
            consumers.setdefault(path, set()).add(name)
    runs = _downstream({name for name in changes if name in plan.pending}, consumers)
    while True:
        pulls, running, strange = _walk(plan, inputs, consumers, stored, runs)
        more = _downstream(running, consumers) - runs
        if not more:
            break
        runs |= more
    if not pulls and strange:
        # A new job, whose inputs no record names, waits for something absent: fetch what is on top of that, and look again.
        absent = {name for name in plan.pending & plan.missing & stored if name in known and name not in runs}
        pulls = {name for name in absent if not consumers.get(name, set()) & absent}
    return pulls


def _walk(
    plan: PullPlan, inputs: Mapping[str, list[str]], consumers: Mapping[str, set[str]], stored: set[str], runs: set[str]
) -> tuple[set[str], set[str], bool]:
    """(what to pull, what will run, whether something runs whose inputs are unknown)."""
    pulls: set[str] = set()
    running: set[str] = set()
    strange = False
    queue = [name for name in plan.targets if not consumers.get(name)]
    seen: set[str] = set()
    while queue:
        name = queue.pop()
        if name in seen or name not in plan.pending:
            continue
        seen.add(name)
        absent = name in plan.missing
        if name in runs or (absent and name not in stored):
            running.add(name)
            strange |= name not in inputs
            queue += inputs.get(name, [])
        elif absent:
            pulls.add(name)
    return pulls, running, strange


def _downstream(names: set[str], consumers: Mapping[str, set[str]]) -> set[str]:
    found: set[str] = set()
    queue = list(names)
    while queue:
        name = queue.pop()
        if name not in found:
            found.add(name)
            queue += consumers.get(name, ())
    return found


def _made(path: str) -> bool:
    return path.startswith(f"{layout.RESULTS}/")


# --- what Snakemake says ------------------------------------------------------------------------------------------------


def ask(root: Path, flags: Sequence[str]) -> PullPlan:
    """What Snakemake would do, from its table for programs."""
    rows = list(csv.DictReader(_snakemake(root, ["--summary"], flags).splitlines(), delimiter="\t"))
    return PullPlan(
        frozenset(row["output_file"] for row in rows if row["plan"] != "no update"),
        frozenset(row["output_file"] for row in rows if row["status"] == "missing"),
        tuple(row["output_file"] for row in rows),
    )


def changed(root: Path, flags: Sequence[str], known: Mapping[str, Record]) -> set[str]:
    """Outputs, here or not, that were made by another rule or with other settings, inputs or sources, or from another version of an input."""
    found = {
        line.strip() for kind in ("code", "params", "input") for line in _snakemake(root, ["--list-changes", kind], flags).splitlines()
    }
    hashes: dict[str, str | None] = {}
    for name, record in known.items():
        for path, sha256 in record.inputs.items():
            if path not in hashes:
                stored, file = known.get(path), root / path
                hashes[path] = file_sha256(file) if file.is_file() else stored.sha256 if stored else None
            if hashes[path] not in (None, sha256):
                found.add(name)
    return found & set(known)


def _snakemake(root: Path, what: Sequence[str], flags: Sequence[str]) -> str:
    # Targets first: some flags (--configfile) take every word that follows.
    count = next((index for index, flag in enumerate(flags) if flag.startswith("-")), len(flags))
    command = [sys.executable, "-c", SNAKEMAKE, *flags[:count], "--nolock", "--quiet", "all", *what, *flags[count:]]
    done = subprocess.run(command, cwd=root, env=dict(os.environ), capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip() or "no message").splitlines()[-8:]
        raise StoreError("snakemake cannot plan the run: " + " | ".join(last), "mend what it says, or pull by --stage, --language, ...")
    return done.stdout
