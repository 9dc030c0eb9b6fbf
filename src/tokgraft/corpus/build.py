"""The corpus stage from its settings to the artifact."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tokgraft import artifacts, documents
from tokgraft.config.language import CorpusSettings
from tokgraft.corpus import card as cards
from tokgraft.corpus import shard as sharding
from tokgraft.corpus import splits as splitting
from tokgraft.corpus.clean import normalise_pages, replace_personal_pages
from tokgraft.corpus.english import PARAGRAPHS, English, open_english, pairs, write_paragraphs
from tokgraft.corpus.ledger import Drops, Ledger, drop_pages, drop_paragraphs
from tokgraft.corpus.merge import Merge
from tokgraft.corpus.pages import digest, in_order, normal
from tokgraft.corpus.quality import answered, broken_rule, check_labels, language_rule
from tokgraft.corpus.romanize import romanize_pages, romanizer
from tokgraft.corpus.similar import cluster_sizes, exact_duplicates, near_duplicates
from tokgraft.corpus.sources import SOURCES, Loaded, SourceFolders
from tokgraft.documents import SPLITS, Page, Paragraph, write_pages
from tokgraft.errors import ArtifactError, ConfigError, DataError, remedy
from tokgraft.logs import Heartbeat

ENGLISH = "eng_Latn"
CACHE = Path(".cache/downloads")
PINS = Path("config/sources.csv")


@dataclass
class Work:
    """A corpus in the making.

    Attributes:
        pages: The pages that are left, in order.
        aligned: Ids of the pages whose paragraphs are aligned across languages.
        split_of: Page id -> split, of every page seen (also dropped ones).
        other_language: Why a page is not in the language, by the text it had before it was romanised; None: ask its text.
    """

    settings: CorpusSettings
    english: English | None
    pages: list[Page] = field(default_factory=list)
    aligned: set[str] = field(default_factory=set)
    split_of: dict[str, str] = field(default_factory=dict)
    other_language: Callable[[Page], str | None] | None = None
    sources: list[dict[str, Any]] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    ledger: Ledger = field(default_factory=Ledger)
    english_paragraphs: list[Page] = field(default_factory=list)


def build_corpus(settings: CorpusSettings, out: Path, english: Path | None = None, cache: Path | None = None, pins: Path = PINS) -> Path:
    """Prepare the corpus of a language.

    Args:
        settings: The language, how pages are split, and a cap.
        out: Folder of the artifact.
        english: Folder of the English corpus; needed for help pages in any other language, useful for any (its held-out paragraphs are
            kept out of the text).
        cache: Folder for downloads (default: .cache/downloads).
        pins: Table of outside things with their hashes.

    Returns:
        `out`.

    Raises:
        ConfigError: A source kind or language label is unknown, or the English corpus is needed and not given.
        DataError: A source cannot be read, or nothing is left of it.
        ArtifactError: The English corpus does not fit, or `out` cannot be written.
    """
    out, place = Path(out), SourceFolders(Path(cache or CACHE), Path(pins))
    begun = artifacts.begin(out, "corpus", {"english": Path(english)} if english else {}, _reads(settings, english))
    work = Work(settings, _check(settings, english, place))
    if settings.language.shards > 1:
        with tempfile.TemporaryDirectory(prefix=f".{out.name}-shards.", suffix=".part", dir=_parent(out)) as scratch:
            shards = [Path(scratch) / str(number) for number in range(settings.language.shards)]
            for number, shard in enumerate(shards):
                sharding.build_shard(settings, number, shard, work.english, place, _recorded(settings))
            return merge_corpus(settings, shards, out, english)
    with artifacts.create(out, "corpus", _recorded(settings), begun, sharding.libraries(settings)) as folder:
        _read(work, place)
        _clean(work)
        _split(work)
        _filter(work)
        _separate(work)
        _demand(work)
        _write(work, folder)
    return out


def build_shard(
    settings: CorpusSettings, number: int, out: Path, english: Path | None = None, cache: Path | None = None, pins: Path = PINS
) -> Path:  # fmt: skip
    """Prepare one shard of a corpus whose language has several; `merge_corpus` makes the corpus of all.

    Args and errors are those of `build_corpus`; `number` says which shard, from 0.
    """
    place = SourceFolders(Path(cache or CACHE), Path(pins))
    artifacts.check_place(out, sharding.KIND, _reads(settings, english))
    return sharding.build_shard(settings, number, out, _check(settings, english, place), place, _recorded(settings))


def merge_corpus(settings: CorpusSettings, shards: list[Path], out: Path, english: Path | None = None) -> Path:
    """The corpus of a language from its shards.

    Args:
        settings: As for the shards.
        shards: Their folders.
        out: Folder of the artifact.
        english: The English corpus, as for the shards.

    Raises:
        ArtifactError: A shard is missing or does not fit, or `out` cannot be written.
        DataError: Nothing is left of the text.
    """
    out = Path(out)
    artifacts.check_place(out, "corpus", _reads(settings, english) | {f"shard {shard}": Path(shard) for shard in shards})
    work = Work(settings, open_english(Path(english), settings.splits, False) if english else None)
    shards = sharding.check_shards(settings, shards, _recorded(settings), work.english)
    inputs = {f"shard_{number:03d}": shard for number, shard in enumerate(shards)} | ({"english": Path(english)} if english else {})
    with (
        artifacts.create(out, "corpus", _recorded(settings), inputs, sharding.libraries(settings)) as folder,
        tempfile.TemporaryDirectory(prefix=".tables", dir=folder) as scratch,
    ):
        merged = Merge(settings, shards, Path(scratch), work.english).run(folder)
        work.ledger, work.facts, work.sources = merged.ledger, merged.facts, merged.sources
        work.facts["pairs"] = dict.fromkeys(SPLITS, 0)
        _demand(work)
        for split in SPLITS:
            documents.write_rows(documents.pairs_file(folder, split), [])
        _write_card(work, folder)
    return out


def _reads(settings: CorpusSettings, english: Path | None) -> dict[str, Path]:
    """What is read: a corpus written into one of its own sources would be read as text the next time."""
    sources = [Path(source.path) for source in settings.language.sources if source.kind == "local"]
    return {f"source {path}": path for path in sources} | ({"English corpus": Path(english)} if english else {})


def _check(settings: CorpusSettings, english: Path | None, place: SourceFolders) -> English | None:
    """Everything that can be found out before the work begins."""
    language, where = settings.language, f"the language {settings.slug}"
    kinds = [source.kind for source in language.sources]
    aligned = "apt_help" in kinds
    if kinds.count("apt_help") > 1:
        raise ConfigError(
            f"{where} has {kinds.count('apt_help')} sources of kind apt_help", "keep one: their pages would have the same ids"
        )
    if settings.splits.test + settings.splits.dev >= 1:
        raise ConfigError(f"splits of {where}: test and dev leave nothing for train", "choose smaller shares")
    if settings.slug == ENGLISH and english is not None:
        raise ConfigError("the English corpus is not made from an English corpus", "leave --english out")
    if aligned and settings.slug != ENGLISH and english is None:
        raise ConfigError(
            f"{where} comes from help pages, which are split and aligned by the English ones",
            "prepare eng_Latn first and give it with --english",
        )
    check_labels(language, where)
    opened = open_english(Path(english), settings.splits, aligned) if english else None
    if language.romanize:
        romanizer()  # raises where it is not installed
    for source in language.sources:
        SOURCES.get(source.kind, where).check(source, place)
    if language.shards > 1:
        sharding.check_sources(settings)
    return opened


def _parent(out: Path) -> Path:
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArtifactError(f"cannot write to {out.parent}: {error.strerror}", remedy(error.errno)) from error
    return out.parent


def _recorded(settings: CorpusSettings) -> dict[str, Any]:
    """The settings that decide the content: of a local path only the name (its content's hash is in the card), and no tasks."""
    found = settings.canonical()
    del found["language"]["hub_tasks"]
    if not found["language"]["romanize"]:
        del found["language"]["romanize"]
    if found["language"]["shards"] == 1:
        del found["language"]["shards"]  # a corpus made by one job does not depend on it
    for source in found["language"]["sources"]:
        if source["kind"] == "local":
            source["path"] = Path(source["path"]).name
    return found


def _read(work: Work, place: SourceFolders) -> None:
    drops, several = Drops(), len(work.settings.language.sources) > 1
    for number, source in enumerate(work.settings.language.sources):
        loaded: Loaded = SOURCES.get(source.kind).read(source, place)
        work.sources.append(loaded.facts)
        for unit in ("pages", "paragraphs"):
            getattr(drops, unit).update(getattr(loaded.drops, unit))
        if loaded.aligned:
            work.aligned.update(page.id for page in loaded.pages)
            work.pages.extend(loaded.pages)
        else:
            prefix = f"{number}:" if several else ""
            work.pages.extend(replace(page, id=prefix + page.id) for page in loaded.pages)
    work.pages = in_order(work.pages)
    work.ledger.open("extract", work.pages, drops)


def _clean(work: Work) -> None:
    settings, ledger = work.settings, work.ledger
    beat = Heartbeat("normalising", len(work.pages), "pages").beat
    work.pages = ledger.step("normalise", *normalise_pages(work.pages, beat), rewrites=True)
    pages, hits = replace_personal_pages(work.pages)
    work.pages = ledger.step("personal_data", pages, Drops(), rewrites=True)
    work.facts["personal_data_replaced"] = dict(sorted(hits.items()))
    if settings.slug == ENGLISH:
        work.english_paragraphs = [page for page in work.pages if page.id in work.aligned]
    work.facts["untranslated_share"] = None
    if work.english is not None:
        before = sum(len(page.paragraphs) for page in work.pages if page.id in work.aligned)
        work.pages = ledger.step("english", *drop_paragraphs(work.pages, _english_rule(work, work.english)))
        if before:
            dropped = ledger.steps[-1]["paragraphs"]["dropped"].get("untranslated", 0)
            work.facts["untranslated_share"] = round(dropped / before, 4)
    if settings.language.romanize:
        work.other_language = _identified(work)
        work.pages = ledger.step("romanize", *romanize_pages(work.pages, settings.language.iso639_3), rewrites=True)
        if work.english is not None:  # what differed from an English paragraph in its signs alone
            work.pages = ledger.step("english_romanized", *drop_paragraphs(work.pages, _english_rule(work, work.english)))
    distinct = {paragraph.text: paragraph.size for page in work.pages for paragraph in page.paragraphs}
    work.facts["distinct"] = {"paragraphs": len(distinct), "bytes": sum(distinct.values())}


def _identified(work: Work) -> Callable[[Page], str | None]:
    """The rule about the language, answered for the pages as they are now."""
    rule, work.facts["language_id"] = language_rule(work.settings.language.lid, work.settings.language.filters.lid_threshold)
    return answered(rule, work.pages) if work.settings.language.lid else rule


def _english_rule(work: Work, english: English) -> Callable[[Page, Paragraph], str | None]:
    """Help: what equals any English paragraph was not translated. Other text: what stands on a held-out English page stays out."""
    aligned = work.aligned

    def reason_of(page: Page, paragraph: Paragraph) -> str | None:
        if page.id in aligned:
            return "untranslated" if normal(paragraph.text) in english.paragraphs else None
        return english.rule(page, paragraph)

    return reason_of


def _split(work: Work) -> None:
    """Splits before filters: the English ones cover every page, so that all languages agree whatever is dropped in one of them."""
    settings = work.settings
    own = work.pages
    if work.english is not None and work.aligned:
        work.split_of.update(work.english.splits)
        work.pages = work.ledger.step(
            "align",
            *drop_pages(work.pages, lambda page: "not_in_english" if page.id in work.aligned and page.id not in work.split_of else None),
        )
        own = [page for page in work.pages if page.id not in work.aligned]
    component_of = splitting.components(own, settings.splits.max_pages)
    work.split_of.update(splitting.assign(component_of, settings.splits))
    work.facts["components"] = splitting.component_facts(component_of) if own else None


def _filter(work: Work) -> None:
    settings, ledger = work.settings, work.ledger
    filters, words = settings.language.filters, settings.language.words
    rule = work.other_language
    if rule is None:
        rule, work.facts["language_id"] = language_rule(settings.language.lid, filters.lid_threshold)
    if settings.language.lid:
        work.pages = ledger.step("language", *drop_pages(work.pages, rule))
    work.facts["language_id"] = {name: dict(sorted(counts.items())) for name, counts in work.facts["language_id"].items()}
    work.pages = ledger.step("quality", *drop_pages(work.pages, lambda page: broken_rule(page, filters)))
    repeats = exact_duplicates(work.pages)
    work.pages = ledger.step("exact_duplicates", *_without(work.pages, repeats, "equal_page"))
    beat = Heartbeat("comparing", len(work.pages), "pages").beat
    near = near_duplicates(work.pages, words, filters.near_duplicate, beat)
    work.pages = ledger.step("near_duplicates", *_without(work.pages, near, "similar_page"))
    work.facts["duplicate_clusters"] = cluster_sizes({page: near.get(first, first) for page, first in repeats.items()} | near)


def _without(pages: Iterable[Page], repeats: dict[str, str], reason: str) -> tuple[list[Page], Drops]:
    return drop_pages(pages, lambda page: reason if page.id in repeats else None)


def _separate(work: Work) -> None:
    """Nothing shared between train and the held-out pages; then the cap."""
    settings, ledger, words = work.settings, work.ledger, work.settings.language.words
    work.pages = ledger.step("boilerplate", *splitting.drop_boilerplate(work.pages, work.split_of, settings.splits.max_pages))
    work.pages = ledger.step("held_out", *splitting.drop_shared(work.pages, work.split_of, words))
    if settings.max_bytes is not None:
        work.pages = ledger.step("cap", *splitting.cap(work.pages, work.split_of, settings.max_bytes))
    work.facts["splits"] = splitting.facts(work.pages, work.split_of)
    work.facts["overlap"] = splitting.overlap(work.pages, work.split_of, words)
    if work.english is not None:
        train = (paragraph for page in work.pages if work.split_of[page.id] == "train" for paragraph in page.paragraphs)
        seen = sum(digest(paragraph.text) in work.english.held_out for paragraph in train)
        work.facts["overlap"]["english_held_out_in_train"] = {"exact": seen}


def _demand(work: Work) -> None:
    """Raises a DataError when a split is empty or when splits share text."""
    empty = [split for split in SPLITS if not work.facts["splits"][split]["pages"]]
    if empty:
        first = work.ledger.steps[0]["paragraphs"]
        worst = ", ".join(f"{reason} {count:,}" for reason, count in work.ledger.dropped().most_common(4)) or "none"
        raise DataError(
            f"{work.settings.slug}: nothing is left for {' and '.join(empty)} of {first['in']:,} paragraphs (dropped most by: {worst})",
            "give more text (at least a few dozen documents), or loosen `filters` and check `lid` in the language file",
        )
    if any(sum(counts.values()) for counts in work.facts["overlap"].values()):
        raise AssertionError(f"splits share paragraphs: {work.facts['overlap']}")


def _write(work: Work, folder: Path) -> None:
    settings, split_of = work.settings, work.split_of
    work.facts["pairs"] = {}
    for split in SPLITS:
        mine = [page for page in work.pages if split_of[page.id] == split]
        write_pages(documents.pages_file(folder, split), mine)
        rows = pairs([page for page in mine if page.id in work.aligned], work.english)
        documents.write_rows(documents.pairs_file(folder, split), rows)
        work.facts["pairs"][split] = len(rows)
    if work.english_paragraphs:
        write_paragraphs(folder / PARAGRAPHS, work.english_paragraphs)
    inputs = [source.get("sha256") for source in work.sources]
    splitting.write_splits(folder / "splits.json", settings.splits, inputs, sorted(split_of.items()))
    _write_card(work, folder)


def _write_card(work: Work, folder: Path) -> None:
    steps = work.ledger.steps
    _write_json(folder / "counts.json", {"steps": steps, "personal_data_replaced": work.facts["personal_data_replaced"]})
    card = cards.card(work.settings, work.sources, steps, work.facts)
    _write_json(folder / "card.json", card)
    (folder / "card.md").write_text(cards.as_markdown(card, steps), encoding="utf-8", newline="\n")


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8", newline="\n")
