"""Choice: which paragraph comes next?"""

from __future__ import annotations

from tokgraft.config.task import Task
from tokgraft.scoring.heldout import Held, module_of, neighbours
from tokgraft.scoring.tasks import TASKS, Builder, Items, _choices
from tokgraft.scoring.tasks.heading import HEADINGS

NAME = "continuation"
BAND = 0.15


def build(task: Task, held: Held) -> Items:
    """Paragraph -> the next one; wrong answers are paragraphs of other pages of the same module, of similar length."""
    candidates = [
        _choices.Candidate(f"{page.id}/{following.key}", page.id, paragraph.text, following.text)
        for page in held.pages
        for paragraph, following in neighbours(page)
        if not {paragraph.tag, following.tag} & HEADINGS and _choices.long_enough(paragraph.text) and _choices.long_enough(following.text)
    ]
    return _choices.build_items(
        task,
        candidates,
        salt=NAME,
        pools=[lambda one: module_of(one.page)],
        allowed=lambda item, other: other.page != item.page,
        band=BAND,
        render=lambda one: f"{one.context}\n",
    )


TASKS.add(NAME, Builder(build, template="choice", chance=_choices.CHANCE))
