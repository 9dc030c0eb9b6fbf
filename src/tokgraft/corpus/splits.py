"""Train, dev and test: whole pages, the same pages in every language, nothing shared between train and the others."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tokgraft.config.language import Splits
from tokgraft.corpus.ledger import UNITS, Drops, drop_paragraphs
from tokgraft.corpus.pages import digest
from tokgraft.corpus.similar import Words, shared
from tokgraft.documents import SPLITS, Page, Paragraph

LONG = 60  # characters from which a paragraph says enough to tie two pages together
SHARED = 0.7  # Jaccard similarity from which a held-out paragraph counts as seen in train
HELD = ("test", "dev")


def components(pages: Sequence[Page], max_pages: int) -> dict[str, str]:
    """Page id -> smallest page id of its component.

    Two pages are joined when they share a paragraph of at least 60 characters that stands on at most `max_pages` pages; what stands on
    more is boilerplate, and would join everything with everything.
    """
    places: dict[bytes, list[str]] = defaultdict(list)
    for page in pages:
        for key in {digest(paragraph.text) for paragraph in page.paragraphs if len(paragraph.text) >= LONG}:
            places[key].append(page.id)
    parent = {page.id: page.id for page in pages}

    def root(name: str) -> str:
        while parent[name] != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    for names in places.values():
        if len(names) <= max_pages:
            for name in names[1:]:
                low, high = sorted((root(names[0]), root(name)))
                parent[high] = low
    return {page.id: root(page.id) for page in pages}


def fill_empty(sizes: Counter[str], ends: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Components that change their split so that none is empty.

    Args:
        sizes: Split -> components in it.
        ends: (component, its split) of those with the smallest hashes, one for each held-out split, and of the one with the largest.
    """
    sizes = Counter(sizes)
    moved: dict[str, str] = {}
    for split, (name, now) in (*zip(HELD, ends), ("train", ends[-1])):
        if not sizes[split]:
            sizes.subtract([moved.get(name, now)])
            sizes[split] += 1
            moved[name] = split
    return moved


def place(component: str, seed: int) -> float:
    """A number in [0, 1) that depends on the component's name and the seed only."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{component}".encode()).digest()[:8], "big") / 2**64


def assign(component_of: Mapping[str, str], splits: Splits) -> dict[str, str]:
    """Page id -> split: a component goes whole, by a hash of its name, so that adding pages moves no other page.

    Where chance leaves test or dev empty (few components), the components with the smallest hashes fill them.
    """
    places = {name: place(name, splits.seed) for name in set(component_of.values())}
    chosen = {name: split_at(number, splits) for name, number in places.items()}
    ranked = sorted(places, key=lambda name: (places[name], name))
    if len(ranked) >= len(SPLITS):
        chosen.update(fill_empty(Counter(chosen.values()), [(name, chosen[name]) for name in (*ranked[: len(HELD)], ranked[-1])]))
    return {page: chosen[name] for page, name in sorted(component_of.items())}


def split_at(place: float, splits: Splits) -> str:
    """The split of a component with this number."""
    if place < splits.test:
        return "test"
    return "dev" if place < splits.test + splits.dev else "train"


def component_facts(component_of: Mapping[str, str]) -> dict[str, int]:
    """How many components there are, and how many pages the largest has."""
    sizes = Counter(component_of.values())
    return {"components": len(sizes), "largest": max(sizes.values(), default=0)}


def drop_boilerplate(pages: Sequence[Page], split_of: Mapping[str, str], max_pages: int) -> tuple[list[Page], Drops]:
    """Drop a long paragraph that stands on more than `max_pages` pages everywhere but on the first page of each split."""
    where: dict[bytes, set[str]] = defaultdict(set)
    keys = {paragraph.text: digest(paragraph.text) for page in pages for paragraph in page.paragraphs if len(paragraph.text) >= LONG}
    for page in pages:
        for paragraph in page.paragraphs:
            if len(paragraph.text) >= LONG:
                where[keys[paragraph.text]].add(page.id)
    seen: set[tuple[str, bytes]] = set()

    def reason_of(page: Page, paragraph: Paragraph) -> str | None:
        key = keys.get(paragraph.text)
        if key is None or len(where[key]) <= max_pages:
            return None
        mark = (split_of[page.id], key)
        if mark in seen:
            return "boilerplate"
        seen.add(mark)
        return None

    return drop_paragraphs(pages, reason_of)


def drop_shared(pages: Sequence[Page], split_of: Mapping[str, str], words: Words) -> tuple[list[Page], Drops]:
    """Delete from test what stands in train, and from dev what stands in train or test, exactly or nearly."""
    text = {split: _paragraphs(pages, split_of, split) for split in SPLITS}
    doomed: dict[int, str] = {}
    for held, against in (("test", ["train"]), ("dev", ["train", "test"])):
        for other in against:
            for number, how in shared(text[held], text[other], words, SHARED).items():
                doomed.setdefault(id(text[held][number]), f"in_{other}_{how}")
    return drop_paragraphs(pages, lambda page, paragraph: doomed.get(id(paragraph)))


def overlap(pages: Sequence[Page], split_of: Mapping[str, str], words: Words) -> dict[str, dict[str, int]]:
    """How many paragraphs two splits share, counted on the pages as they will be written (all must be 0)."""
    text = {split: _paragraphs(pages, split_of, split) for split in SPLITS}
    found = {}
    for held, other in (("test", "train"), ("dev", "train"), ("dev", "test")):
        counts = Counter(shared(text[held], text[other], words, SHARED).values())
        found[f"{held}_in_{other}"] = {"exact": counts["exact"], "near": counts["near"]}
    return found


def _paragraphs(pages: Iterable[Page], split_of: Mapping[str, str], split: str) -> list[Paragraph]:
    return [paragraph for page in pages if split_of[page.id] == split for paragraph in page.paragraphs]


def cap(pages: Sequence[Page], split_of: Mapping[str, str], max_bytes: int) -> tuple[list[Page], Drops]:
    """Keep at most `max_bytes` of text: of each split the first pages in order, in proportion to its size.

    A split keeps at least one page, cut to its first paragraphs when it alone is larger than the split's share.
    """
    size = {split: sum(page.size for page in pages if split_of[page.id] == split) for split in SPLITS}
    if sum(size.values()) <= max_bytes:
        return list(pages), Drops()
    rooms = {split: Room(share, Drops()) for split, share in shares(size, max_bytes).items()}
    kept = [whole for page in pages if (whole := rooms[split_of[page.id]].take(page)) is not None]
    drops = Drops()
    for room in rooms.values():
        for unit in UNITS:
            getattr(drops, unit).update(getattr(room.drops, unit))
    return kept, drops


def shares(size: Mapping[str, int], max_bytes: int) -> dict[str, int]:
    """The bytes of each split under a cap, in proportion to its size."""
    return {split: max_bytes * size[split] // sum(size.values()) for split in SPLITS}


@dataclass
class Room:
    """What a split may still keep under a cap: pages in order until one does not fit."""

    left: int
    drops: Drops
    pages: int = 0
    full: bool = False

    def take(self, page: Page) -> Page | None:
        """The page, or None when there is no room; the first page is cut to its first paragraphs instead."""
        whole: Page | None = page
        if self.full or page.size > self.left:
            whole = None if self.full or self.pages else self._cut(page)
            self.full = True
        if whole is None:
            self.drops.page("cap", page)
        else:
            self.left -= whole.size
            self.pages += 1
        return whole

    def _cut(self, page: Page) -> Page:
        size, count = 0, 0
        for paragraph in page.paragraphs:
            size += paragraph.size
            count += size <= self.left
        for paragraph in page.paragraphs[max(count, 1) :]:
            self.drops.paragraph("cap", paragraph)
        return replace(page, paragraphs=page.paragraphs[: max(count, 1)])


def facts(pages: Sequence[Page], split_of: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Pages, paragraphs and bytes of each split."""
    found = {}
    for split in SPLITS:
        mine = [page for page in pages if split_of[page.id] == split]
        found[split] = {
            "pages": len(mine),
            "paragraphs": sum(len(page.paragraphs) for page in mine),
            "bytes": sum(page.size for page in mine),
        }
    return found


def write_splits(path: Path, settings: Splits, inputs: Sequence[str | None], pages: Iterable[tuple[str, str]]) -> None:
    """Write the split of every page, and what decided it, as JSON; pages pass one at a time.

    Args:
        path: File to write.
        settings: Shares and seed.
        inputs: SHA-256 of each source, None for one that has none.
        pages: (id, split) of every page, by ascending id.
    """
    before = {"K": settings.max_pages, "dev": settings.dev, "inputs": list(inputs)}
    after = {"seed": settings.seed, "test": settings.test}
    with path.open("w", encoding="utf-8", newline="\n") as out:
        out.write(json.dumps(before, indent=1, ensure_ascii=False, sort_keys=True)[:-2] + ',\n "pages": {')
        mark = "\n"
        for name, split in pages:
            out.write(f"{mark}  {json.dumps(name, ensure_ascii=False)}: {json.dumps(split)}")
            mark = ",\n"
        out.write("\n }," + json.dumps(after, indent=1, ensure_ascii=False, sort_keys=True)[1:] + "\n")
