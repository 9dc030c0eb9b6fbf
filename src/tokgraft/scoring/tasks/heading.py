"""Choice: which heading stands above this paragraph?"""

from __future__ import annotations

from tokgraft.config.task import Task
from tokgraft.scoring.heldout import Held, module_of, neighbours
from tokgraft.scoring.tasks import TASKS, Builder, Items, _choices

NAME = "heading"
HEADINGS = {"h1", "h2", "h3", "h4"}
BAND = 0.15


def build(task: Task, held: Held) -> Items:
    """Paragraph -> the heading directly before it; wrong answers are headings of other pages of the same module, of similar length."""
    candidates = [
        _choices.Candidate(f"{page.id}/{heading.key}", page.id, paragraph.text, heading.text)
        for page in held.pages
        for heading, paragraph in neighbours(page)
        if heading.tag in HEADINGS and paragraph.tag not in HEADINGS and _choices.long_enough(paragraph.text) and len(heading.text) > 2
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
