"""Choice: which text is the translation of this English paragraph?"""

from __future__ import annotations

from tokgraft.config.task import Task
from tokgraft.scoring.heldout import Held, module_of
from tokgraft.scoring.tasks import TASKS, Builder, Items, SkipTask, _choices

NAME = "translation"
BAND = 0.20


def build(task: Task, held: Held) -> Items:
    """English paragraph -> its translation; wrong answers are other translations of similar length, of the same page or else of its module.

    Raises:
        SkipTask: The corpus has no pairs with English.
    """
    if not held.pairs:
        raise SkipTask(f"the corpus {held.slug} has no test pairs with English")
    candidates = [
        _choices.Candidate(f"{pair.page}/{pair.key}", pair.page, pair.english, pair.text)
        for pair in held.pairs
        if _choices.long_enough(pair.english)
    ]
    return _choices.build_items(
        task,
        candidates,
        salt=NAME,
        pools=[lambda one: one.page, lambda one: module_of(one.page)],
        allowed=lambda item, other: other.context.casefold() != item.context.casefold(),
        band=BAND,
        render=lambda one: f"English: {one.context}\n{held.name}: ",
    )


TASKS.add(NAME, Builder(build, template="choice", chance=_choices.CHANCE))
