"""The bookkeeping of the corpus stage: at every step, in = kept + dropped, by reason, in pages, paragraphs and bytes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from tokgraft.corpus.pages import Page, Paragraph
from tokgraft.logs import log

UNITS = ("pages", "paragraphs", "bytes")


@dataclass
class Drops:
    """What one step dropped, by reason."""

    pages: Counter[str] = field(default_factory=Counter)
    paragraphs: Counter[str] = field(default_factory=Counter)
    bytes: Counter[str] = field(default_factory=Counter)

    def paragraph(self, reason: str, paragraph: Paragraph) -> None:
        """Count one paragraph."""
        self.paragraphs[reason] += 1
        self.bytes[reason] += paragraph.size

    def page(self, reason: str, page: Page) -> None:
        """Count a page with all its paragraphs."""
        self.pages[reason] += 1
        for paragraph in page.paragraphs:
            self.paragraph(reason, paragraph)


def totals(pages: Iterable[Page]) -> dict[str, int]:
    """Pages, paragraphs and bytes."""
    found = dict.fromkeys(UNITS, 0)
    for page in pages:
        found["pages"] += 1
        found["paragraphs"] += len(page.paragraphs)
        found["bytes"] += page.size
    return found


class Ledger:
    """The steps so far, each with what came in, what was kept and what was dropped."""

    def __init__(self) -> None:
        self.steps: list[dict[str, Any]] = []
        self._now = dict.fromkeys(UNITS, 0)

    def open(self, name: str, pages: list[Page], drops: Drops) -> None:
        """Record what a source kept of the elements it found; bytes are counted from here on."""
        self._now = totals(pages)
        came = {unit: self._now[unit] + sum(getattr(drops, unit).values()) for unit in UNITS}
        self._record(name, came, self._now, drops, {})

    def step(self, name: str, pages: list[Page], drops: Drops, rewrites: bool = False) -> list[Page]:
        """Record a step that left `pages`; gives them back.

        Args:
            name: What the step is called in counts.json.
            pages: What it left.
            drops: What it dropped.
            rewrites: Whether it may change texts, so that bytes need not add up; the difference is recorded.

        Raises:
            AssertionError: In is not kept plus dropped: the step lost something without a reason.
        """
        came, kept = self._now, totals(pages)
        rewritten = came["bytes"] - kept["bytes"] - sum(drops.bytes.values())
        for unit in UNITS:
            dropped = sum(getattr(drops, unit).values())
            if came[unit] != kept[unit] + dropped and not (rewrites and unit == "bytes"):
                raise AssertionError(f"corpus step {name}: {came[unit]} {unit} in, {kept[unit]} kept, {dropped} dropped")
        self._record(name, came, kept, drops, {"bytes_rewritten_away": rewritten} if rewrites else {})
        self._now = kept
        return pages

    def _record(self, name: str, came: dict[str, int], kept: dict[str, int], drops: Drops, more: dict[str, int]) -> None:
        units = {unit: {"in": came[unit], "kept": kept[unit], "dropped": dict(sorted(getattr(drops, unit).items()))} for unit in UNITS}
        self.steps.append({"step": name, **units, **more})
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in sorted(drops.paragraphs.items())) or "nothing dropped"
        log.info("%s: %d of %d pages, %d of %d paragraphs kept (%s)", name, kept["pages"], came["pages"], kept["paragraphs"],
                 came["paragraphs"], reasons)  # fmt: skip

    def dropped(self, unit: str = "paragraphs") -> Counter[str]:
        """All drops so far by "step: reason"."""
        found: Counter[str] = Counter()
        for step in self.steps:
            for reason, count in step[unit]["dropped"].items():
                found[f"{step['step']}: {reason}"] += count
        return found


def drop_paragraphs(pages: Iterable[Page], reason_of: Callable[[Page, Paragraph], str | None]) -> tuple[list[Page], Drops]:
    """Keep the paragraphs for which `reason_of` gives None; a page that loses all is dropped under its most frequent reason."""
    kept, drops = [], Drops()
    for page in pages:
        reasons: Counter[str] = Counter()
        left = []
        for paragraph in page.paragraphs:
            if reason := reason_of(page, paragraph):
                drops.paragraph(reason, paragraph)
                reasons[reason] += 1
            else:
                left.append(paragraph)
        if left:
            kept.append(page if not reasons else replace(page, paragraphs=tuple(left)))
        else:
            drops.pages[max(sorted(reasons), key=lambda name: reasons[name], default="empty")] += 1
    return kept, drops


def drop_pages(pages: Iterable[Page], reason_of: Callable[[Page], str | None]) -> tuple[list[Page], Drops]:
    """Keep the pages for which `reason_of` gives None."""
    kept, drops = [], Drops()
    for page in pages:
        if reason := reason_of(page):
            drops.page(reason, page)
        else:
            kept.append(page)
    return kept, drops
