"""Bits per byte on held-out pages, cut into documents that are the same bytes for every tokenizer."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tokgraft.config.task import Task
from tokgraft.documents import Page
from tokgraft.scoring.heldout import Held, in_hash_order
from tokgraft.scoring.tasks import TASKS, Builder, Items

NAME = "bits_per_byte"


def build(task: Task, held: Held) -> Items:
    """Documents of at most `item_bytes`, in hash order, up to `max_items` and `max_bytes`.

    Neighbouring paragraphs of a page are joined by a newline as long as they fit; a longer paragraph is cut at white space. A token is at
    least one byte for every lossless tokenizer, so a context of `item_bytes` + 1 tokens holds each document whole, and no window
    favours a coarser tokenizer.
    """
    everything = [
        {"id": f"{page.id}#{number}", "page": page.id, "text": text}
        for page in held.pages
        for number, text in enumerate(cut_page(page, task.item_bytes))
    ]
    chosen: list[dict[str, str]] = []
    size = 0
    for document in in_hash_order(everything, lambda document: document["id"], NAME):
        size += len(document["text"].encode())
        if len(chosen) == task.max_items or (chosen and task.max_bytes is not None and size > task.max_bytes):
            break
        chosen.append(document)
    return Items(list(chosen))


def cut_page(page: Page, limit: int) -> Iterator[str]:
    """Texts of at most `limit` bytes that hold the page's paragraphs in order."""
    held = ""
    for piece in (piece for paragraph in page.paragraphs for piece in cut_text(paragraph.text, limit)):
        joined = f"{held}\n{piece}" if held else piece
        if len(joined.encode()) > limit:
            yield held
            joined = piece
        held = joined
    if held:
        yield held


def cut_text(text: str, limit: int) -> Iterator[str]:
    """The text in pieces of at most `limit` bytes, cut at white space where there is any, else between characters."""
    text = text.strip()
    while len(text.encode()) > limit:
        head = text.encode()[:limit].decode(errors="ignore")
        spaces = [match.start() for match in re.finditer(r"\s", text[: len(head) + 1]) if match.start() > 0]
        end = spaces[-1] if spaces else len(head)
        yield text[:end].rstrip()
        text = text[end:].lstrip()
    if text:
        yield text


TASKS.add(NAME, Builder(build, template="bits_per_byte"))
