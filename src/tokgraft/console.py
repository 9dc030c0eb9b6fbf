"""What a person sees while Snakemake runs: one line for each job, what each model scored, the time that is left, a ranking at the end.

A handler of Snakemake's own log, so it works wherever the jobs run. Its lines take the place of Snakemake's four for each job and of
the reasons, which may be kilobytes; both still go to the log file below .snakemake/log. Errors and warnings stay Snakemake's.
"""

from __future__ import annotations

import csv
import logging
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from tokgraft import artifacts
from tokgraft.cells import CellList, RunCell, Stage
from tokgraft.config.layout import INIT, KEY
from tokgraft.errors import TokgraftError
from tokgraft.score_rows import bits_row, read_rows

SNAKEMAKE = "snakemake.logging"  # name of its logger
STREAM = "DefaultStreamHandler"  # name of its handler for the terminal; a logger plugin of the user's own (--logger) takes its place

# What our lines stand for: events of Snakemake, and messages that are none.
REPLACED = {"job_info", "group_info", "job_started", "job_finished", "progress"}
CHATTER = re.compile(r"Select jobs to execute\.\.\.|Execute \d+ jobs\.\.\.")

KNOWN = 0.6  # share of the jobs ahead whose time must be known, or nothing is said of the time that is left
EVERY = 10.0  # seconds after which the time that is left is worked out anew: that looks at every job


def attach(workflow: Any, cells: CellList, ranking: str) -> None:
    """Show a run on the terminal in our words: for `onstart:`, which Snakemake calls once and not for dry runs nor in the jobs.

    Where the user wants no output (`--quiet`), all of it (`--verbose`) or another logger, nothing is changed.

    Args:
        workflow: Snakemake's `workflow`.
        cells: The cells of the experiment.
        ranking: The text that is shown at the end of a run that wrote it.
    """
    logger = logging.getLogger(SNAKEMAKE)
    theirs = next((handler for handler in logger.handlers if handler.name == STREAM), None)
    quiet = {choice.name.lower() for choice in workflow.output_settings.quiet or ()}
    if not isinstance(theirs, logging.StreamHandler) or "all" in quiet or workflow.output_settings.verbose:
        return
    dag = workflow.dag
    jobs = {
        int(dag.jobid(job)): RunningJob(job.rule.name, str(job.output[0]), str(job.benchmark or ""))
        for job in dag.needrun_jobs()
        if job.output
    }
    theirs.addFilter(lambda record: not replaced(record))
    logger.addHandler(Console(jobs, cells, Path(ranking), theirs.stream, quiet, started="started" if workflow.local_exec else "sent"))


def replaced(record: logging.LogRecord) -> bool:
    """Whether a message of Snakemake's is one that our lines stand for."""
    event = getattr(record, "event", None)
    return str(event) in REPLACED if event is not None else bool(CHATTER.fullmatch(str(record.msg)))


@dataclass(frozen=True)
class RunningJob:
    """A job of the plan.

    Attributes:
        rule: Its rule.
        output: The first file that it writes.
        benchmark: Where Snakemake writes how long it took ("": nowhere).
    """

    rule: str
    output: str
    benchmark: str


@dataclass
class _Running:
    since: float
    message: str


class Console(logging.Handler):
    """Prints lines for the events of a run.

    Args:
        jobs: The jobs to be run, by their number.
        cells: The cells of the experiment.
        ranking: The text that is shown at the end, if this run writes it.
        stream: Where to print.
        quiet: What the user does not want to see: "rules" (jobs that start), "progress" (jobs that end without a score).
        started: What is said of a job that begins.
        clock: Gives the time in seconds.
    """

    def __init__(
        self, jobs: Mapping[int, RunningJob], cells: CellList, ranking: Path, stream: TextIO, quiet: Iterable[str] = (), started: str = "started",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        super().__init__()
        self._jobs, self._ranking, self._stream, self._quiet, self._word = dict(jobs), ranking, stream, set(quiet), started
        self._scored = _by_scores(cells)
        self._running: dict[int, _Running] = {}
        self._done: set[int] = set()
        self._clock = clock
        self._time = Remaining(jobs, clock)
        if "progress" not in self._quiet:
            count = sum(Path(job.output).parent in self._scored for job in self._jobs.values())
            self._print(f"{len(self._jobs)} jobs, {count} of them score a model. Logs are below logs/.")

    def emit(self, record: logging.LogRecord) -> None:
        """Print the line of an event, if it has one."""
        try:
            event = str(getattr(record, "event", ""))
            if event == "job_info":
                self._begin(int(record.jobid), _unkeyed(record.rule_msg or record.rule_name))  # type: ignore[attr-defined]
            elif event == "job_finished":
                self._finish(int(record.job_id))  # type: ignore[attr-defined]
            elif event == "job_error":
                self._running.pop(int(record.jobid), None)  # type: ignore[attr-defined]
                self._time.stop(int(record.jobid))  # type: ignore[attr-defined]
        except Exception:  # a line that cannot be printed must not end the run
            self.handleError(record)

    def close(self) -> None:
        """The run is over: show the ranking, if this run wrote it."""
        made = {Path(self._jobs[number].output).parent for number in self._done}
        self._done.clear()  # closed again when Python ends
        if self._ranking.parent in made and self._ranking.is_file():
            self._print(f"\n{self._ranking.read_text(encoding='utf-8').rstrip()}")
        super().close()

    def _begin(self, number: int, message: str) -> None:
        if number not in self._jobs:
            return
        self._running[number] = _Running(self._clock(), message)
        self._time.start(number)
        if "rules" not in self._quiet:
            self._print(f"    {self._word}: {message}")

    def _finish(self, number: int) -> None:
        if number not in self._jobs or number in self._done:
            return
        self._done.add(number)
        self._time.end(number)
        running = self._running.pop(number, None)
        result = self._result(Path(self._jobs[number].output).parent)
        if result is None:
            if "progress" in self._quiet:
                return
            message = running.message if running else self._jobs[number].rule
            result = f"done: {message}" + (f" ({span(self._clock() - running.since)})" if running else "")
        left = self._time.left()
        self._print(f"[{len(self._done)}/{len(self._jobs)}{f', {span(left)} left' if left else ''}] {result}")

    def _result(self, folder: Path) -> str | None:
        """What was scored, or why something was skipped or cannot be read; None for all else."""
        try:
            return self._read(folder)
        except TokgraftError as error:
            return f"done, but {error.what}"

    def _read(self, folder: Path) -> str | None:
        if (reason := artifacts.skipped(folder)) is not None:
            return f"skipped: {folder}: {reason}"
        if folder not in self._scored:
            return None
        cell, stage = self._scored[folder]
        name = f"{cell.model} {cell.language} {cell.tokenizer} {cell.method} s{cell.seed}"
        bits = _bits(cell, "init" if stage == INIT else "trained")
        if bits is None:
            return f"{name}: scored ({stage})"
        if stage == INIT:
            return f"{name}: {bits:.2f} bits per byte {'without training' if cell.recipe == INIT else 'before training'}"
        before = _bits(cell, "init")
        return f"{name}: {bits:.2f} bits per byte after training by {stage}" + (f" ({before:.2f} before)" if before is not None else "")

    def _print(self, line: str) -> None:
        print(line, file=self._stream, flush=True)


class Remaining:
    """How long a run will still take: a job as long as those whose benchmarks have a path that begins alike, here or in earlier runs.

    Args:
        jobs: The jobs to be run.
        clock: Gives the time in seconds.
    """

    def __init__(self, jobs: Mapping[int, RunningJob], clock: Callable[[], float]) -> None:
        self._jobs, self._clock = jobs, clock
        self._ahead, self._since = set(jobs), dict[int, float]()
        self._seconds: dict[tuple[str, ...], tuple[float, int]] = {}
        self._begun, self._worked = clock(), 0.0
        self._left: tuple[float, float | None] = (-EVERY, None)
        for folder in {Path(*Path(job.benchmark).parts[:2]) for job in jobs.values() if job.benchmark}:
            for path in folder.rglob("*.tsv"):
                if (seconds := _benchmark(path)) is not None:
                    self._learn(str(path), seconds)

    def start(self, number: int) -> None:
        """A job begins."""
        self._since[number] = self._clock()

    def end(self, number: int) -> None:
        """A job has ended well."""
        self._ahead.discard(number)
        if (since := self._since.pop(number, None)) is not None:
            self._worked += self._clock() - since
            if place := self._jobs[number].benchmark:
                self._learn(place, self._clock() - since)

    def stop(self, number: int) -> None:
        """A job has failed: it may begin again."""
        if (since := self._since.pop(number, None)) is not None:
            self._worked += self._clock() - since

    def left(self) -> float | None:
        """Seconds until all jobs are done, if as much is done at once as up to now; None when too few jobs can be judged."""
        now = self._clock()
        asked, found = self._left
        if now - asked < EVERY and asked >= 0:
            return None if found is None or not self._ahead else max(found - (now - asked), 1.0)
        self._left = (now, self._work_out(now))
        return self._left[1]

    def _work_out(self, now: float) -> float | None:
        expected = {number: self._expected(self._jobs[number].benchmark) for number in self._ahead}
        known = [seconds for seconds in expected.values() if seconds is not None]
        if not known or len(known) < KNOWN * len(expected):
            return None
        usual = sum(known) / len(known)
        work = 0.0
        for number, seconds in expected.items():
            whole = usual if seconds is None else seconds
            work += max(whole - (now - self._since[number]), 0.0) if number in self._since else whole
        busy = self._worked + sum(now - since for since in self._since.values())
        at_once = max(busy / max(now - self._begun, 1e-9), 1.0)
        return work / at_once

    def _learn(self, benchmark: str, seconds: float) -> None:
        parts = Path(benchmark).with_suffix("").parts
        for length in range(2, len(parts) + 1):
            total, count = self._seconds.get(parts[:length], (0.0, 0))
            self._seconds[parts[:length]] = (total + seconds, count + 1)

    def _expected(self, benchmark: str) -> float | None:
        parts = Path(benchmark).with_suffix("").parts if benchmark else ()
        for length in range(len(parts), 1, -1):
            if (found := self._seconds.get(parts[:length])) is not None:
                return found[0] / found[1]
        return None


def span(seconds: float) -> str:
    """A time for people: 40 s, 12 min, 3 h 20 min."""
    if seconds < 100:
        return f"{max(round(seconds), 1)} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


def _by_scores(cells: CellList) -> dict[Path, tuple[RunCell, str]]:
    """Folder of scores -> the cell, and `init` or the recipe. Cells that differ in the recipe share what was scored before it."""
    found: dict[Path, tuple[RunCell, str]] = {}
    for cell in cells.cells:
        for stage in cell.stages:
            found.setdefault(cell.score_folder(stage), (cell, INIT if stage == "init" else cell.recipe))
    return found


def _bits(cell: RunCell, stage: Stage) -> float | None:
    """Bits per byte of the language; None where there are none (not scored yet, skipped, other tasks only)."""
    folder = cell.score_folder(stage)
    if not artifacts.is_artifact(folder) or artifacts.skipped(folder) is not None:
        return None
    row = bits_row(read_rows(cell, stage))
    return None if row is None else row.value


def _benchmark(path: Path) -> float | None:
    """Seconds of a benchmark of Snakemake's; None when it is damaged."""
    try:
        with path.open(encoding="utf-8", newline="") as handle:
            return float(next(csv.DictReader(handle, delimiter="\t"))["s"])
    except (OSError, StopIteration, KeyError, ValueError, TypeError, csv.Error):
        return None


def _unkeyed(message: str) -> str:
    """A rule's message with slugs for the names in paths."""
    return re.sub(rf"{KEY}[0-9a-f]{{8}}\b", "", message)
