"""One at a time in a folder: a run of Snakemake, a push or a pull. All three use the locks of Snakemake."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tokgraft.store import StoreError
from tokgraft.store.paths import refuse_links
from tokgraft.store.records import METADATA

LOCKS = Path(".snakemake/locks")
MINE = "0.output.lock"  # the name that Snakemake itself would give to its first one


@contextmanager
def turn(root: Path, outputs: Iterable[str], what: str) -> Iterator[None]:
    """Keep runs of Snakemake, pushes and pulls out of a folder while one of them works.

    Args:
        root: Root of the project.
        outputs: Outputs that a run of Snakemake may not read or write meanwhile.
        what: What is going to be done, for the message.

    Raises:
        StoreError: A run, a push or a pull is going on here, or was killed.
    """
    locks = root / LOCKS
    refuse_links(root, LOCKS)
    refuse_links(root, METADATA)
    busy = StoreError(
        f"cannot {what}: a run of snakemake, a push or a pull is at work in {root.resolve()} (it holds {LOCKS})",
        "wait for its end, then repeat; if it was killed, nothing runs any more: snakemake --unlock",
    )
    if locks.is_dir() and any(locks.iterdir()):
        raise busy
    locks.mkdir(parents=True, exist_ok=True)
    try:
        handle = os.open(locks / MINE, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    except FileExistsError:
        raise busy from None
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.writelines(f"{name}\n" for name in outputs)
        yield
    finally:
        (locks / MINE).unlink(missing_ok=True)
