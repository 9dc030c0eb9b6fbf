"""The bookkeeping of the corpus stage: at every step, in = kept + dropped, by reason, in pages, paragraphs and bytes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from tokgraft.documents import Page, Paragraph
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


class Accounts:
    """What steps have kept and dropped, summed over batches of pages and over shards.

    Attributes:
        kept: Step -> pages, paragraphs and bytes that it left.
        drops: Step -> what it dropped.
    """

    def __init__(self) -> None:
        self.kept: dict[str, Counter[str]] = {}
        self.drops: dict[str, Drops] = {}

    def step(self, name: str, pages: list[Page], drops: Drops) -> list[Page]:
        """Add what a step did to a batch; its pages are given back."""
        self._add(name, totals(pages), drops)
        return pages

    def _add(self, name: str, kept: dict[str, int], drops: Drops) -> None:
        self.kept.setdefault(name, Counter()).update(kept)
        mine = self.drops.setdefault(name, Drops())
        for unit in UNITS:
            getattr(mine, unit).update(getattr(drops, unit))

    def as_json(self) -> dict[str, Any]:
        """JSON values from which `add_json` adds the same."""
        return {
            name: {"kept": dict(kept), "dropped": {unit: dict(sorted(getattr(self.drops[name], unit).items())) for unit in UNITS}}
            for name, kept in self.kept.items()
        }

    def add_json(self, values: dict[str, Any]) -> None:
        """Add what another shard has counted."""
        for name, found in values.items():
            self._add(name, found["kept"], Drops(**{unit: Counter(found["dropped"][unit]) for unit in UNITS}))

    def tell(self, ledger: Ledger, rewrites: frozenset[str]) -> None:
        """Write all steps to a ledger, in order; `rewrites` are those that may change texts."""
        for number, (name, kept) in enumerate(self.kept.items()):
            left = {unit: kept[unit] for unit in UNITS}
            if number == 0 and not ledger.steps:
                ledger.begin(name, left, self.drops[name])
            else:
                ledger.count(name, left, self.drops[name], name in rewrites)


class Ledger:
    """The steps so far, each with what came in, what was kept and what was dropped."""

    def __init__(self) -> None:
        self.steps: list[dict[str, Any]] = []
        self._now = dict.fromkeys(UNITS, 0)

    def open(self, name: str, pages: list[Page], drops: Drops) -> None:
        """Record what a source kept of the elements it found; bytes are counted from here on."""
        self.begin(name, totals(pages), drops)

    def begin(self, name: str, kept: dict[str, int], drops: Drops) -> None:
        """`open`, with totals instead of pages."""
        self._now = kept
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
        self.count(name, totals(pages), drops, rewrites)
        return pages

    def count(self, name: str, kept: dict[str, int], drops: Drops, rewrites: bool = False) -> None:
        """`step`, with totals instead of pages."""
        came = self._now
        rewritten = came["bytes"] - kept["bytes"] - sum(drops.bytes.values())
        for unit in UNITS:
            dropped = sum(getattr(drops, unit).values())
            if came[unit] != kept[unit] + dropped and not (rewrites and unit == "bytes"):
                raise AssertionError(f"corpus step {name}: {came[unit]} {unit} in, {kept[unit]} kept, {dropped} dropped")
        self._record(name, came, kept, drops, {"bytes_rewritten_away": rewritten} if rewrites else {})
        self._now = kept

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
