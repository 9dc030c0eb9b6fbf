"""Bring a tracking store in step with the artifacts: one live run for each finished cell, whoever else publishes at the same time.

A SQLite store is locked. A server has no lock, so publishers agree there: each writes a pending run, looks again, and leaves the cell to
the run with the lowest rank (`StoredRun.rank`); the others are discarded. What another publisher has begun is left to it, and looked after in
the end: where nothing moves any more it is written here. Whenever a publisher dies, the next one puts things right.
"""

from __future__ import annotations

import math
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import dataclass, field

from tokgraft.cells import CellList, RunCell
from tokgraft.errors import ArtifactError
from tokgraft.logs import Heartbeat, log
from tokgraft.masking import masked
from tokgraft.score_rows import read_rows
from tokgraft.tracking import links, register
from tokgraft.tracking.address import default_uri, demand_store, file_of, lock_of
from tokgraft.tracking.lock import alone
from tokgraft.tracking.mlflow_store import LIVE, PENDING, Store, StoredRun, connect, named_errors
from tokgraft.tracking.record import fingerprint, headline, record, unpublishable, why_not
from tokgraft.tracking.views import View, equal

PATIENCE = 20.0  # seconds in which another publisher must finish something, before its work is taken over
ALL = "all"


@dataclass
class ComparedRuns:
    """The runs of a base model in a language, scored on the same text: what can be compared.

    Attributes:
        model: Slug of the base model.
        language: Slug of the language.
        task: The task that says their bits per byte.
        table, charts: Addresses in the UI; they hold whichever runs are current then.
        runs: Its cells, fewest bits per byte first: `cell` and the metrics of the headline.
        pages: Pages that they were scored on, the fewest of any.
    """

    model: str
    language: str
    task: str
    table: str
    charts: str
    runs: list[dict[str, str | float]]
    pages: int


@dataclass
class Published:
    """What publishing did, by cell, and where to look at it.

    Attributes:
        uri: The store, without password.
        experiment: Its experiment.
        page: Where the UI (`make ui`) shows all current runs.
        comparisons: For each base model and language: addresses, and the bits per byte of its runs.
        created, unchanged: Cells whose run was written, or is current already.
        superseded: Cells of which an older run was hidden.
        retired: Cells that the experiment no longer has.
        skipped: Cell -> why it cannot be published.
        registered: Registered model -> versions, and what aliases name; empty unless it was asked for.
    """

    uri: str
    experiment: str
    page: str = ""
    comparisons: list[ComparedRuns] = field(default_factory=list)
    created: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    superseded: list[str] = field(default_factory=list)
    retired: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    registered: dict[str, register.RegisteredModel] = field(default_factory=dict)


def publish(cells: CellList, uri: str | None = None, which: register.Which | None = None) -> Published:
    """Bring the store in step with the artifacts.

    A cell whose finished run carries the fingerprint of its artifacts is left alone. Otherwise a new run is written, and only when it is
    whole does it become the live one of its cell; the one before it stays in the store with `pipeline.live = false`.

    Args:
        cells: The cells of the experiment.
        uri: Tracking store (default: `default_uri()`).
        which: Models to put into the registry; None: none.

    Raises:
        ArtifactError: Scores, a speed, ... of a cell are not its own, were made from what has been made again since, or are altered.
            Or a model to be registered is altered. Nothing is written.
        TrackingError: The store cannot be reached or written. Nothing is lost: the artifacts hold everything.
        LockError: Another publisher holds a SQLite store for too long.
    """
    uri = uri or default_uri()
    file = file_of(uri)
    _refuse_strange(cells)
    if which:
        register.demand_whole_models(cells.model_copy(update={"cells": [cell for cell in cells.cells if why_not(cell) is None]}), which)
    with alone(lock_of(file)) if file else nullcontext(), named_errors(uri):
        if file and file.exists():
            demand_store(file)  # another publisher may have made it meanwhile
        store = connect(uri, cells.experiment)
        done = Published(masked(uri), cells.experiment)
        Publisher(store, cells, done, shared=file is None).work()
        live = {run.key: run for run in sorted(store.runs(), key=lambda run: run.rank, reverse=True) if run.whole}
        _describe(store, cells, live, done, links.home(uri))
        if which:
            done.registered = register.register(store, cells, {key: run.id for key, run in live.items()}, which)
    log.info("%d runs written, %d unchanged, %d cells skipped in %s", len(done.created), len(done.unchanged), len(done.skipped), done.uri)
    for one in done.comparisons:
        log.info(
            "%s, %s%s: %s",
            cells.name("models", one.model),
            cells.name("languages", one.language),
            "" if file is None else " (make ui)",
            one.table,
        )
    return done


def _refuse_strange(cells: CellList) -> None:
    """Raise where what would be shown of a cell is not of this cell, no longer, or altered."""
    found = list(unpublishable(cells))
    if found:
        more = f" (and {len(found) - 1} more cells)" if len(found) > 1 else ""
        raise ArtifactError(
            f"nothing is published: {found[0]}{more}", "run the workflow, or the named stage; `tokgraft report --check` names all"
        )


def _describe(store: Store, cells: CellList, live: dict[str, StoredRun], done: Published, home: str) -> None:
    """Save a view of each comparison with the experiment, and its address here and in the description."""
    current = f"tags.`{LIVE}` = 'true'"
    everything = View(ALL, (current,))
    found, pages = _compared(cell for cell in cells.cells if cell.key in live)
    saved, note = [everything], [cells.description, f"[All current runs]({links.view(store.experiment, ALL)[1:]})"]
    tasks = Counter((model, language) for model, language, _ in found)
    for (model, language, task), runs in found.items():
        place = {"model": model, "language": language}
        key = ".".join([*place.values(), *([task] if tasks[model, language] > 1 else [])])
        conditions = (current, *equal("tags", **place), *equal("tags", **{"task.bits_per_byte": task}))
        saved.append(View(key, conditions, tuple(place)))
        table, charts = links.view(store.experiment, key), links.charts(store.experiment, key)
        done.comparisons.append(ComparedRuns(model, language, task, home + table, home + charts, runs, pages[model, language, task]))
        name = f"{cells.name('models', model)}, {cells.name('languages', language)} ({task})"
        note.append(f"- {name}: [table]({table[1:]}), [charts]({charts[1:]})")
    done.page = home + links.view(store.experiment, ALL)
    note.append(
        "`bits_per_byte` is the headline, of the last stage; `init_...` is right after the transplant. `settings.json` has all settings."
    )
    store.describe("\n\n".join(note), {"pipeline.comparison": done.page, **{view.tag: view.state() for view in saved}})


def _compared(
    cells: Iterable[RunCell],
) -> tuple[dict[tuple[str, str, str], list[dict[str, str | float]]], dict[tuple[str, str, str], int]]:
    """(model, language, task) -> its cells with their headline, the fewest bits per byte first; and -> the pages of the task."""
    pages: dict[tuple[str, str, str], int] = {}
    found: dict[tuple[str, str, str], list[dict[str, str | float]]] = {}
    for cell in cells:
        head = headline(read_rows(cell), cell.final)
        found.setdefault((cell.model, cell.language, head.task), []).append({"cell": cell.key, **head.values})
        place = (cell.model, cell.language, head.task)
        pages[place] = min(head.pages, pages.get(place, head.pages))
    for runs in found.values():
        runs.sort(key=lambda run: (run.get("bits_per_byte", math.inf), run["cell"]))
    return found, pages


@dataclass
class Publisher:
    """One pass over the cells.

    Attributes:
        store: The experiment.
        cells: Its cells.
        done: What was done, filled on the way.
        shared: Whether others may write at the same time.
        patience: Seconds without any progress of the others after which their cells are written here.
        sleep: Waits so many seconds.
    """

    store: Store
    cells: CellList
    done: Published
    shared: bool
    patience: float = PATIENCE
    sleep: Callable[[float], None] = time.sleep
    _waiting: list[RunCell] = field(default_factory=list)

    def work(self) -> None:
        """Publish every cell, then retire the runs of cells that are no longer listed."""
        runs = _by_key(self.store.runs())
        order = list(self.cells.cells)
        if self.shared:
            random.shuffle(order)  # publishers that start together then seldom meet at a cell
        heart = Heartbeat("publish", len(order), "cells")
        for number, cell in enumerate(order, 1):
            if reason := why_not(cell):
                self.done.skipped[cell.key] = reason
            else:
                self._cell(cell, runs.get(cell.key, []))
            heart.beat(number)
        self._await_others()
        listed = [cell.key for cell in self.cells.cells]
        for key in runs.keys() - set(listed):
            self._hide(runs[key])
            self.done.retired.append(key)
        for keys in (self.done.created, self.done.unchanged, self.done.superseded):
            keys.sort(key=listed.index)
        self.done.retired.sort()

    def _cell(self, cell: RunCell, known: list[StoredRun], takeover: bool = False) -> None:
        current = fingerprint(cell)
        if self.shared and not _is_current(known, current):
            known = self.store.runs(cell.key)  # some may have come since the work began
        if _is_current(known, current):
            self.done.unchanged.append(cell.key)
            if len(known) > 1:
                self._settle(cell.key)
            return
        alone = takeover or not self.shared
        if not alone and any(run.live == PENDING and run.fingerprint == current for run in known):
            self._waiting.append(cell)
            return
        content = record(self.cells, cell)
        mine = self.store.begin(content, 1 + max((run.generation for run in known), default=0))
        if not alone and not self._first(cell.key, current, mine):
            self.store.discard(mine)
            self._waiting.append(cell)
            return
        self.store.fill(mine, content)
        self.done.created.append(cell.key)
        self._settle(cell.key, left=known if alone else ())

    def _first(self, key: str, current: str, mine: str) -> bool:
        """Whether my pending run has the lowest rank of those with this content."""
        rivals = [run for run in self.store.runs(key) if run.fingerprint == current]
        return not rivals or min(rivals, key=lambda run: run.rank).id == mine

    def _settle(self, key: str, left: Iterable[StoredRun] = ()) -> None:
        """Leave one live run of a cell: all publishers choose the same one, and each looks after it has made its own live.

        Runs that are being written are not touched, but for those in `left`, whose publisher is gone, and those begun long ago.
        """
        runs = self.store.runs(key)
        best = min((run for run in runs if run.whole), key=lambda run: run.rank, default=None)
        if best is None:
            return  # another publisher has just replaced mine by its own
        gone = {run.id for run in left}
        others = [run for run in runs if run.id != best.id and (run.live != PENDING or run.id in gone or not self.shared or run.old)]
        same = [run for run in others if run.whole and run.fingerprint == best.fingerprint]
        for run in same:
            self.store.discard(run.id)
        older = [run for run in others if run not in same]
        self._hide(older)
        if older:
            self.done.superseded.append(key)

    def _hide(self, runs: Iterable[StoredRun]) -> None:
        for run in runs:
            self.store.retire(run)

    def _await_others(self) -> None:
        """See that what other publishers have begun becomes whole; write it here when they no longer go on."""
        quiet = 0.0
        while self._waiting:
            left = []
            for cell in self._waiting:
                if _is_current(self.store.runs(cell.key), fingerprint(cell)):
                    self.done.unchanged.append(cell.key)
                else:
                    left.append(cell)
            quiet = 0.0 if len(left) < len(self._waiting) else quiet
            self._waiting = left
            if quiet >= self.patience:
                self._waiting = []
                log.info("%d cells that another publisher has begun are not finished; writing them here", len(left))
                for cell in left:
                    self._cell(cell, [], takeover=True)
            elif left:
                self.sleep(1.0)
                quiet += 1.0


def _is_current(runs: list[StoredRun], current: str) -> bool:
    return any(run.whole and run.fingerprint == current for run in runs)


def _by_key(runs: list[StoredRun]) -> dict[str, list[StoredRun]]:
    found: dict[str, list[StoredRun]] = {}
    for run in runs:
        found.setdefault(run.key, []).append(run)
    return found
