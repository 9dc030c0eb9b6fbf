"""What the log says of special and added tokens: which ones stand in for each other, and which are special in one vocabulary only."""

from __future__ import annotations

from tokgraft.logs import log
from tokgraft.methods import Transplant
from tokgraft.overlap import shared_sources

SHOWN = 20  # tokens of a line


def tell(task: Transplant) -> None:
    """Log the special tokens that share a source token, and the added tokens that are special on one side."""
    shared: dict[int, list[str]] = {}
    for number, own in shared_sources(task.overlap, task.source, task.target).items():
        shared.setdefault(own, []).append(task.target[number].shown)
    for own, names in shared.items():
        origin = task.source[task.overlap[own].source].shown
        log.info(
            "%s of the base is %s here; %s stand in for it: read like it, never predicted in its place",
            origin, task.target[own].shown, _listed(names),
        )  # fmt: skip
    added = (number for number, token in enumerate(task.target.tokens) if token is not None and token.added)
    pairs = ((task.source[task.overlap[number].source], task.target[number]) for number in added if number in task.overlap)
    differ = [new.shown for old, new in pairs if (old.kind == "special") != (new.kind == "special")]
    if differ:
        log.info("%d added tokens are special in one vocabulary only, and keep their rows: %s", len(differ), _listed(differ))


def _listed(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
