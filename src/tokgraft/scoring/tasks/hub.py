"""The harness's own tasks, by name; their data live on the Hub, so they run only where it may be reached."""

from __future__ import annotations

from tokgraft.config.harness_files import SUFFIX
from tokgraft.config.task import Task
from tokgraft.errors import ConfigError
from tokgraft.scoring.heldout import Held
from tokgraft.scoring.tasks import TASKS, Builder, Items, SkipTask

NAME = "hub"


def build(task: Task, held: Held) -> Items:
    """The names that the task gives, else those of the language file.

    Raises:
        SkipTask: Neither names any.
        ConfigError: The language file names a file, whose content nothing would follow.
    """
    if (strange := [name for name in held.hub_tasks if name.endswith(SUFFIX)]) and not task.names:
        raise ConfigError(
            f"the language file of {held.slug} names the file {strange[0]} as a harness task", "name it in a file of config/tasks/"
        )
    names = tuple(task.names) or held.hub_tasks
    if not names:
        raise SkipTask(f"neither the task nor the language file of {held.slug} names a harness task")
    return Items(names=names)


TASKS.add(NAME, Builder(build, template=None, online=True))
