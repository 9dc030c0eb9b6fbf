"""Which paragraphs of the held-out pages stand in other pages, exactly or nearly: the answer of `similar.shared`, from tables on disk."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from functools import lru_cache

import numpy as np

from tokgraft.corpus.disk import Tables
from tokgraft.corpus.pages import digest, normal
from tokgraft.corpus.similar import Words, jaccard, shingles
from tokgraft.documents import Paragraph

SLOTS = 1 << 24  # counters of shingles; several share one, which costs time and changes no result
RECENT = 50_000  # texts that are remembered, so that what repeats is looked up once
EXACT, NEAR = 1, 2


class HeldTexts:
    """The distinct texts of held-out paragraphs, and what was found of them elsewhere.

    Prefix filtering as in `similar.NearIndex`; the order of shingles is by how many held-out texts have them (counted in `SLOTS`
    counters, so only nearly) and then by hash, and the first ones of every text stand in a table. In memory are the counters (64 MB) and
    one byte for each text and relation.

    Args:
        tables: Where to write; one instance at a time.
        words: How shingles are made.
        threshold: Jaccard similarity.
    """

    def __init__(self, tables: Tables, words: Words, threshold: float) -> None:
        self.tables, self.words, self.threshold = tables, words, threshold
        self.counts = np.zeros(SLOTS, np.uint32)
        self.found: dict[str, bytearray] = {}
        for name in ("held", "prefix"):
            tables.run(f"DROP TABLE IF EXISTS {name}")
        tables.run("CREATE TABLE held (number INTEGER PRIMARY KEY, key BLOB UNIQUE, text TEXT, splits INTEGER)")
        tables.run("CREATE TABLE prefix (shingle INTEGER, number INTEGER)")
        self._text = lru_cache(20_000)(self._read)

    def add(self, texts: Iterable[tuple[str, int]]) -> None:
        """Take in texts, each with a bit for its split; then `seal`."""
        self.tables.fill(
            "INSERT INTO held (key, text, splits) VALUES (?, ?, ?) ON CONFLICT (key) DO UPDATE SET splits = splits | excluded.splits",
            ((digest(text), normal(text), split) for text, split in texts),
        )

    def seal(self) -> None:
        """Write the table of first shingles; after this texts can be looked for."""
        size = 0
        for (text,) in self.tables.run("SELECT text FROM held"):
            np.add.at(self.counts, [hash(element) % SLOTS for element in shingles(text, self.words)], 1)
            size += 1
        self.size = size
        self.tables.fill("INSERT INTO prefix VALUES (?, ?)", self._prefixes())
        self.tables.run("CREATE INDEX prefix_shingle ON prefix (shingle, number)")

    def _prefixes(self) -> Iterator[tuple[int, int]]:
        top = self.tables.run("SELECT coalesce(max(number), 0) FROM held").fetchone()[0]
        for start in range(0, top + 1, 1000):
            rows = self.tables.run("SELECT number, text FROM held WHERE number BETWEEN ? AND ?", start, start + 999).fetchall()
            for number, text in rows:
                yield from ((element, number) for element in self._first(shingles(text, self.words)))

    def _first(self, found: set[str]) -> list[int]:
        """Hashes of the rarest shingles of a text: as many as two similar texts cannot both miss."""
        needed = math.ceil(self.threshold * len(found) - 1e-9)
        hashes = [hash(element) for element in found]
        counts = self.counts[[element % SLOTS for element in hashes]].tolist()
        ranked = sorted(zip(counts, hashes))
        return [element for count, element in ranked[: len(found) - needed + 1] if count]

    def look(self, relation: str, paragraphs: Iterable[Paragraph], splits: int) -> None:
        """Note which texts of the given splits (bits) stand among `paragraphs`."""
        marks = self.found.setdefault(relation, bytearray(self.size + 1))
        if not self.size:
            return
        recent: set[str] = set()
        for paragraph in paragraphs:
            name = normal(paragraph.text)
            if name in recent:
                continue
            if len(recent) >= RECENT:
                recent.clear()
            recent.add(name)
            row = self.tables.run("SELECT number FROM held WHERE key = ? AND splits & ?", digest(paragraph.text), splits).fetchone()
            if row:
                marks[row[0]] |= EXACT
            mine = shingles(name, self.words)
            candidates: set[int] = set()
            for element in self._first(mine):
                candidates.update(number for (number,) in self.tables.run("SELECT number FROM prefix WHERE shingle = ?", element))
            for number in candidates:
                if marks[number]:
                    continue
                text, where = self._text(number)
                if where & splits and jaccard(mine, shingles(text, self.words)) >= self.threshold:
                    marks[number] |= NEAR

    def _read(self, number: int) -> tuple[str, int]:
        row: tuple[str, int] = self.tables.run("SELECT text, splits FROM held WHERE number = ?", number).fetchone()
        return row

    def how(self, relation: str, text: str) -> str | None:
        """ "exact", "near" or None: how a held-out text stands in the paragraphs of that relation."""
        if not self.size:
            return None
        (number,) = self.tables.run("SELECT number FROM held WHERE key = ?", digest(text)).fetchone()
        mark = self.found[relation][number]
        return "exact" if mark & EXACT else "near" if mark & NEAR else None
