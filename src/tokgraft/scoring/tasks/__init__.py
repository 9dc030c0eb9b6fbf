"""Task builders: each module turns held-out text into items for the harness and registers itself in `TASKS`.

To add a kind of task, write one module here, a template in config/lm_eval/ and a file in config/tasks/ (docs/evaluation.md).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tokgraft.config.task import Task
from tokgraft.registry import Registry
from tokgraft.scoring.heldout import Held


class SkipTask(Exception):
    """A task has nothing to score here: not an error, the reason goes into scores.json and the other tasks go on."""


@dataclass(frozen=True)
class Items:
    """What a builder hands to the harness.

    Attributes:
        documents: JSON objects, each with `id` and `page`; a choice item also has `context`, `choices` and `label`, a text item `text`.
        dropped: Reason -> how many candidates were left out.
        names: Harness tasks to run instead of documents of our own.
    """

    documents: list[dict[str, Any]] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Builder:
    """A registered kind of task.

    Attributes:
        build: Settings and held-out text -> items. Pure and deterministic; raises `SkipTask` when there is nothing to score.
        template: Name of its harness template in config/lm_eval/; None when it runs the harness's own tasks.
        chance: Accuracy of blind guessing; None when there is no such thing.
        online: Whether it needs the Hub.
    """

    build: Callable[[Task, Held], Items]
    template: str | None
    chance: float | None = None
    online: bool = False


TASKS: Registry[Builder] = Registry("task builder", "tokgraft.scoring.tasks")
