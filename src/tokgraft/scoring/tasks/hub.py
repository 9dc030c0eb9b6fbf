"""The harness's own tasks, by name; their data live on the Hub, so they run only where it may be reached."""

from __future__ import annotations

from tokgraft.config.task import Task
from tokgraft.scoring.heldout import Held
from tokgraft.scoring.tasks import TASKS, Builder, Items, SkipTask

NAME = "hub"


def build(task: Task, held: Held) -> Items:
    """The names that the task gives; `Task.of_language` has put those of the language's file there.

    Raises:
        SkipTask: There are none.
    """
    if not task.names:
        raise SkipTask(f"neither the task nor the language file of {held.slug} names a harness task")
    return Items(names=tuple(task.names))


TASKS.add(NAME, Builder(build, template=None, online=True))
