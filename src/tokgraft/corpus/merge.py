"""Shards into a corpus: what concerns several pages (splits, repeats, boilerplate, held-out text, the cap), from tables on disk.

The result is that of the single job (build.py) on the same pages, byte for byte. Pages stream through in hash order, as often as there are
steps; in memory are 30 bytes a page, one byte a held-out paragraph and about 200 MB that do not grow.
"""

from __future__ import annotations

import hashlib
import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tokgraft import documents, jsonl
from tokgraft.config.language import CorpusSettings
from tokgraft.corpus import splits as splitting
from tokgraft.corpus.disk import Tables
from tokgraft.corpus.english import English
from tokgraft.corpus.ledger import Accounts, Drops, Ledger, drop_paragraphs
from tokgraft.corpus.pages import digest, order
from tokgraft.corpus.shard import REWRITES, each_key, key, pages_of
from tokgraft.corpus.similar import BANDS, ROWS
from tokgraft.corpus.similar_disk import HeldTexts
from tokgraft.corpus.splits import HELD, LONG, SHARED
from tokgraft.documents import SPLITS, Page, Paragraph
from tokgraft.logs import Heartbeat

ABSENT, KEPT, EQUAL, SIMILAR = 0, 1, 2, 3  # what became of a page: dropped in its shard, or ...
BIT = {"test": 1, "dev": 2}
RELATIONS = (("test", "train"), ("dev", "train"), ("dev", "test"))


@dataclass
class Merged:
    """What a merge leaves beside the pages: the books and the facts of the card."""

    ledger: Ledger
    facts: dict[str, Any]
    sources: list[dict[str, Any]]


class Merge:
    """One merge.

    Args:
        settings: Of the corpus.
        shards: Folders of the shards, in order.
        scratch: Folder for tables and intermediate pages.
        english: The English corpus, if there is one.
    """

    def __init__(self, settings: CorpusSettings, shards: list[Path], scratch: Path, english: English | None) -> None:
        self.settings, self.shards, self.scratch, self.english = settings, shards, scratch, english
        self.words = settings.language.words
        self.tables = Tables(scratch)
        self.ledger, self.facts = Ledger(), dict[str, Any]()
        self.sources: list[dict[str, Any]] = []

    def run(self, folder: Path) -> Merged:
        """Write the pages of every split and `splits.json` into `folder`."""
        try:
            self._count()
            self._number()
            self._split()
            self._exact()
            self._near()
            self._boilerplate()
            self._held_out()
            self._cap(folder)
            self._prove(folder)
            splitting.write_splits(
            folder / "splits.json", self.settings.splits, [source.get("sha256") for source in self.sources],
            ((name, SPLITS[self.split[number]]) for number, name in self.tables.run("SELECT number, id FROM page ORDER BY id")),
        )  # fmt: skip
        finally:
            self.tables.close()
        return Merged(self.ledger, self.facts, self.sources)

    # --- the books of the shards ------------------------------------------------------------------------------------

    def _count(self) -> None:
        accounts, hits = Accounts(), Counter[str]()
        histogram: dict[str, Counter[str]] = {"probability": Counter(), "other": Counter()}
        self.tables.run("CREATE TABLE text (key BLOB, size INTEGER)")
        for folder in self.shards:
            told = jsonl.read_json(folder / "shard.json")
            accounts.add_json(told["accounts"])
            hits.update(told["personal_data_replaced"])
            for name, counts in told["language_id"].items():
                histogram[name].update(counts)
            self.sources = told["sources"]
            texts = np.load(folder / "texts.npy", mmap_mode="r")
            self.tables.fill("INSERT INTO text VALUES (?, ?)", zip(each_key(texts["key"]), map(int, texts["size"])))
        accounts.tell(self.ledger, REWRITES)
        query = "SELECT count(*), coalesce(sum(size), 0) FROM (SELECT size FROM text GROUP BY key)"
        paragraphs, size = self.tables.run(query).fetchone()
        self.tables.run("DROP TABLE text")
        self.facts["personal_data_replaced"] = dict(sorted(hits.items()))
        self.facts["untranslated_share"] = None
        self.facts["distinct"] = {"paragraphs": paragraphs, "bytes": size}
        self.facts["language_id"] = {name: dict(sorted(counts.items())) for name, counts in histogram.items()}

    # --- pages in hash order ----------------------------------------------------------------------------------------

    def _seen(self, shard: int) -> Iterator[tuple[str, str, int, bool, int]]:
        for _, (name, kept, count) in jsonl.values(self.shards[shard] / "seen.jsonl"):
            yield order(name), name, shard, kept, count

    def _number(self) -> None:
        """Number the pages of all shards in hash order; write their long paragraphs into a table."""
        long = [np.load(folder / "long.npy", mmap_mode="r") for folder in self.shards]
        rows = [len(np.load(folder / "equal.npy", mmap_mode="r")) for folder in self.shards]
        self.numbers = [np.zeros(count, np.int64) for count in rows]  # of each shard's kept pages
        used, at = [0] * len(long), [0] * len(long)
        state = bytearray()
        self.tables.run("CREATE TABLE page (number INTEGER PRIMARY KEY, id TEXT)")
        self.tables.run("CREATE TABLE long (key BLOB, page INTEGER)")

        def ties() -> Iterator[tuple[bytes, int]]:
            for number, (_, page, shard, kept, count) in enumerate(heapq.merge(*map(self._seen, range(len(self.shards))))):
                ids.append((number, page))
                state.append(KEPT if kept else ABSENT)
                if kept:
                    self.numbers[shard][at[shard]] = number
                    at[shard] += 1
                for name in each_key(long[shard][used[shard] : used[shard] + count]):
                    yield name, number
                used[shard] += count
                if len(ids) >= 100_000:
                    self.tables.connection.executemany("INSERT INTO page VALUES (?, ?)", ids)
                    ids.clear()

        ids: list[tuple[int, str]] = []
        self.tables.fill("INSERT INTO long VALUES (?, ?)", ties())
        self.tables.fill("INSERT INTO page VALUES (?, ?)", ids)
        self.state = np.frombuffer(state, np.uint8)
        self.size = len(self.state)

    def _kept(self, read: Callable[[Path], Iterable[Any]]) -> Iterator[tuple[int, Any]]:
        """(number, what `read` gives of a shard's kept pages), in hash order."""
        streams = [zip(self.numbers[shard].tolist(), read(folder)) for shard, folder in enumerate(self.shards)]
        return heapq.merge(*streams, key=lambda pair: pair[0])

    # --- splits -----------------------------------------------------------------------------------------------------

    def _split(self) -> None:
        parent = np.arange(self.size, dtype=np.int64)
        maximum, seed = self.settings.splits.max_pages, self.settings.splits.seed

        def root(number: int) -> int:
            while parent[number] != number:
                parent[number] = parent[parent[number]]
                number = int(parent[number])
            return number

        for _, pages in self.tables.groups("SELECT key, page FROM long ORDER BY key, page"):
            if 1 < len(pages) <= maximum:
                for page in pages[1:]:
                    left, right = root(pages[0]), root(page)
                    if left != right:
                        low, high = sorted((left, right), key=self._id)
                        parent[high] = low
        while not np.array_equal(above := parent[parent], parent):
            parent = above
        self.split = np.zeros(self.size, np.uint8)
        sizes = Counter[str]()
        lowest: list[tuple[float, str, int]] = []
        highest = (-1.0, "", -1)
        for number, name in self.tables.run("SELECT number, id FROM page"):
            if parent[number] == number:
                place = splitting.place(name, seed)
                split = splitting.split_at(place, self.settings.splits)
                self.split[number] = SPLITS.index(split)
                sizes[split] += 1
                lowest = heapq.nsmallest(len(HELD), [*lowest, (place, name, number)])
                highest = max(highest, (place, name, number))
        if sizes.total() >= len(SPLITS):
            ends = [*lowest, highest]
            moved = splitting.fill_empty(sizes, [(name, SPLITS[self.split[number]]) for _, name, number in ends])
            for _, name, number in ends:
                if name in moved:
                    self.split[number] = SPLITS.index(moved[name])
        self.split = self.split[parent]
        largest = int(np.bincount(parent).max()) if self.size else 0
        self.facts["components"] = {"components": sizes.total(), "largest": largest} if self.size else None

    def _id(self, number: int) -> str:
        name: str = self.tables.run("SELECT id FROM page WHERE number = ?", number).fetchone()[0]
        return name

    # --- repeated pages ---------------------------------------------------------------------------------------------

    def _exact(self) -> None:
        self.tables.run("CREATE TABLE equal (key BLOB, page INTEGER)")
        self.tables.run("CREATE TABLE repeats (page INTEGER PRIMARY KEY, first INTEGER)")
        keys = self._kept(lambda folder: each_key(np.load(folder / "equal.npy", mmap_mode="r")))
        self.tables.fill("INSERT INTO equal VALUES (?, ?)", ((name, number) for number, name in keys))
        groups = self.tables.groups("SELECT key, page FROM equal ORDER BY key, page")
        self.tables.fill("INSERT INTO repeats VALUES (?, ?)", ((page, pages[0]) for _, pages in groups for page in pages[1:]))
        self.tables.run("DROP TABLE equal")
        for (page,) in self.tables.run("SELECT page FROM repeats"):
            self.state[page] = EQUAL
        self._drop_pages("exact_duplicates", EQUAL, "equal_page")

    def _near(self) -> None:
        """The order of `similar.near_duplicates`, for the pages that share a band with any other; the rest cannot repeat anything."""
        tables, signature_of = self.tables, self._signatures()
        tables.run("CREATE TABLE band (key INTEGER, page INTEGER)")
        tables.fill("INSERT INTO band VALUES (?, ?)", self._bands())
        tables.run("CREATE TABLE meeting (key INTEGER, page INTEGER)")
        groups = ((number, page) for number, (_, pages) in enumerate(tables.groups("SELECT key, page FROM band ORDER BY key, page"))
                  if len(pages) > 1 for page in pages)  # fmt: skip
        tables.fill("INSERT INTO meeting VALUES (?, ?)", groups)
        tables.run("DROP TABLE band")
        tables.run("CREATE INDEX meeting_page ON meeting (page)")
        tables.run("CREATE TABLE index_ (key INTEGER, page INTEGER, PRIMARY KEY (key, page)) WITHOUT ROWID")
        tables.run("CREATE TABLE near (page INTEGER PRIMARY KEY, first INTEGER)")
        threshold = self.settings.language.filters.near_duplicate
        beat = Heartbeat("comparing", self.size, "pages").beat
        for (page,) in tables.run("SELECT DISTINCT page FROM meeting ORDER BY page"):
            keys = [found for (found,) in tables.run("SELECT key FROM meeting WHERE page = ?", page)]
            others = {other for found in keys for (other,) in tables.run("SELECT page FROM index_ WHERE key = ?", found)}
            mine = signature_of(page) if others else None
            for other in sorted(others):
                if float(np.count_nonzero(mine == signature_of(other))) / (BANDS * ROWS) >= threshold:
                    tables.run("INSERT INTO near VALUES (?, ?)", page, other)
                    self.state[page] = SIMILAR
                    break
            else:
                tables.connection.executemany("INSERT INTO index_ VALUES (?, ?)", ((found, page) for found in keys))
            beat(page)
        self._drop_pages("near_duplicates", SIMILAR, "similar_page")
        clusters = """SELECT repeats + 1, count(*) FROM (SELECT count(*) AS repeats FROM (
            SELECT coalesce(near.first, repeats.first) AS kept FROM repeats LEFT JOIN near ON near.page = repeats.first
            UNION ALL SELECT first FROM near) GROUP BY kept) GROUP BY repeats ORDER BY repeats"""
        self.facts["duplicate_clusters"] = {str(size): count for size, count in tables.run(clusters)}
        for name in ("meeting", "index_", "near", "repeats"):
            tables.run(f"DROP TABLE {name}")

    def _bands(self) -> Iterator[tuple[int, int]]:
        for number, signature in self._kept(lambda folder: np.load(folder / "signatures.npy", mmap_mode="r")):
            if self.state[number] == KEPT:
                for band in range(BANDS):
                    part = bytes([band]) + signature[band * ROWS : (band + 1) * ROWS].tobytes()
                    yield int.from_bytes(hashlib.blake2b(part, digest_size=8).digest(), "big", signed=True), number

    def _signatures(self) -> Callable[[int], Any]:
        """Number -> MinHash of a kept page, read from its shard."""
        arrays = [np.load(folder / "signatures.npy", mmap_mode="r") for folder in self.shards]

        def find(number: int) -> Any:
            for numbers, array in zip(self.numbers, arrays):
                row = int(np.searchsorted(numbers, number))
                if row < len(numbers) and numbers[row] == number:
                    return array[row]
            raise KeyError(number)

        return find

    def _drop_pages(self, step: str, state: int, reason: str) -> None:
        """Book the pages of one state as dropped, and what is left."""
        accounts, drops = Accounts(), Drops()
        for number, page in self._kept(pages_of):
            if self.state[number] == state:
                drops.page(reason, page)
            elif self.state[number] == KEPT:
                accounts.step(step, [page], Drops())
        accounts.step(step, [], drops)
        accounts.tell(self.ledger, REWRITES)

    # --- paragraphs -------------------------------------------------------------------------------------------------

    def _boilerplate(self) -> None:
        """As `splits.drop_boilerplate`; what is left goes to one file a split."""
        self.tables.run("CREATE TABLE boilerplate (key BLOB PRIMARY KEY, seen INTEGER) WITHOUT ROWID")
        marked = np.zeros(self.size, bool)

        def frequent() -> Iterator[tuple[bytes, int]]:
            for name, pages in self.tables.groups("SELECT key, page FROM long ORDER BY key, page"):
                if len(pages) > self.settings.splits.max_pages:
                    left = np.array(pages)[self.state[pages] == KEPT]
                    if len(left) > self.settings.splits.max_pages:
                        marked[left] = True
                        yield name, 0

        self.tables.fill("INSERT INTO boilerplate VALUES (?, ?)", frequent())
        self.tables.run("DROP TABLE long")

        def reason_of(page: Page, paragraph: Paragraph) -> str | None:
            if len(paragraph.text) < LONG:
                return None
            name = key(paragraph.text)
            row = self.tables.run("SELECT seen FROM boilerplate WHERE key = ?", name).fetchone()
            if row is None:
                return None
            bit = 1 << current
            if row[0] & bit:
                return "boilerplate"
            self.tables.run("UPDATE boilerplate SET seen = seen | ? WHERE key = ?", bit, name)
            return None

        accounts = Accounts()
        outs = {split: (self.scratch / f"{split}.1").open("wb") for split in SPLITS}
        accounts.step("boilerplate", [], Drops())
        for number, page in self._kept(pages_of):
            if self.state[number] != KEPT:
                continue
            current = int(self.split[number])
            left, drops = drop_paragraphs([page], reason_of) if marked[number] else ([page], Drops())
            for kept in accounts.step("boilerplate", left, drops):
                outs[SPLITS[current]].write(documents.as_line(kept))
        for out in outs.values():
            out.close()
        accounts.tell(self.ledger, REWRITES)

    def _held_out(self) -> None:
        """As `splits.drop_shared`."""
        found = self._look(lambda split: self.scratch / f"{split}.1")
        accounts = Accounts()

        def reason_of(split: str) -> Callable[[Page, Paragraph], str | None]:
            def reason(_: Page, paragraph: Paragraph) -> str | None:
                for held, other in RELATIONS:
                    if held == split and (how := found.how(f"{held}_in_{other}", paragraph.text)):
                        return f"in_{other}_{how}"
                return None

            return reason

        accounts.step("held_out", [], Drops())
        self.left = dict.fromkeys(SPLITS, 0)
        for split in SPLITS:
            with (self.scratch / f"{split}.2").open("wb") as out:
                for page in documents.pages(self.scratch / f"{split}.1"):
                    left, drops = ([page], Drops()) if split == "train" else drop_paragraphs([page], reason_of(split))
                    for kept in accounts.step("held_out", left, drops):
                        self.left[split] += kept.size
                        out.write(documents.as_line(kept))
            (self.scratch / f"{split}.1").unlink()
        accounts.tell(self.ledger, REWRITES)

    def _look(self, where: Callable[[str], Path]) -> HeldTexts:
        """Compare the held-out pages in files with the others."""
        texts = HeldTexts(self.tables, self.words, SHARED)
        for split in HELD:
            texts.add((paragraph.text, BIT[split]) for paragraph in _paragraphs(where(split)))
        texts.seal()
        # One way through train serves both: what test and dev have is marked for each by its own bit when asked.
        texts.look("train", _paragraphs(where("train")), BIT["test"] | BIT["dev"])
        texts.look("dev_in_test", _paragraphs(where("test")), BIT["dev"])
        texts.found["test_in_train"] = texts.found["dev_in_train"] = texts.found.pop("train")
        return texts

    def _cap(self, folder: Path) -> None:
        """As `splits.cap`; writes the final pages."""
        maximum, accounts = self.settings.max_bytes, Accounts()
        shares = splitting.shares(self.left, maximum) if maximum is not None and sum(self.left.values()) > maximum else None
        self.facts["splits"] = {}
        accounts.step("cap", [], Drops())
        for split in SPLITS:
            room = splitting.Room(shares[split], Drops()) if shares else None
            mine = Accounts()
            mine.step(split, [], Drops())
            with (documents.pages_file(folder, split)).open("wb") as out:
                for page in documents.pages(self.scratch / f"{split}.2"):
                    whole = room.take(page) if room else page
                    if whole is not None:
                        mine.step(split, [whole], Drops())
                        out.write(documents.as_line(whole))
            (self.scratch / f"{split}.2").unlink()
            accounts.add_json({"cap": mine.as_json()[split]})
            accounts.step("cap", [], room.drops if room else Drops())
            self.facts["splits"][split] = {unit: mine.kept[split][unit] for unit in ("pages", "paragraphs", "bytes")}
        if maximum is not None:
            accounts.tell(self.ledger, REWRITES)

    def _prove(self, folder: Path) -> None:
        """As `splits.overlap`: what the written splits share, which must be nothing."""
        found = self._look(lambda split: documents.pages_file(folder, split))
        overlap = {f"{held}_in_{other}": {"exact": 0, "near": 0} for held, other in RELATIONS}
        for held, other in RELATIONS:
            for paragraph in _paragraphs(documents.pages_file(folder, held)):
                if how := found.how(f"{held}_in_{other}", paragraph.text):
                    overlap[f"{held}_in_{other}"][how] += 1
        if self.english is not None:
            held_out = self.english.held_out
            seen = sum(digest(paragraph.text) in held_out for paragraph in _paragraphs(documents.pages_file(folder, "train")))
            overlap["english_held_out_in_train"] = {"exact": seen}
        self.facts["overlap"] = overlap


def _paragraphs(path: Path) -> Iterator[Paragraph]:
    return (paragraph for page in documents.pages(path) for paragraph in page.paragraphs)
