"""The evaluation of one tokenizer: every metric and audit, as an artifact with a card for people."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tokgraft import artifacts, documents
from tokgraft.config.evaluation import TokenizerEvaluation
from tokgraft.errors import DataError
from tokgraft.intrinsic import audits, boundaries, card, classes, inputs, lexicon, measures, parallel
from tokgraft.intrinsic.counts import Counts, Text, count, frequencies
from tokgraft.intrinsic.inputs import Subject
from tokgraft.logs import log
from tokgraft.tokenizers.audit import CHALLENGES, round_trip

KIND = "evaluation"
FILE = "evaluation.json"


def evaluate_tokenizer(
    tokenizer: Path,
    corpus: Path,
    out: Path,
    base: Path | None = None,
    english: Path | None = None,
    settings: TokenizerEvaluation | None = None,
    name: str = "",
) -> dict[str, Any]:
    """Evaluate a tokenizer on a language and write the artifact: `evaluation.json`, `card.html` and its figures.

    Args:
        tokenizer: Folder with a `tokenizer.json`: an artifact, or any model folder.
        corpus: Corpus artifact; metrics are measured on its test pages, frequent words come from its train pages.
        out: Folder of the artifact.
        base: Folder of the tokenizer that this one was made from or replaces: compared with it on the same pages.
        english: English corpus artifact.
        settings: Bounds, orders, the user's word lists.
        name: What the tokenizer is called; the folder's name when empty.

    Returns:
        The content of `evaluation.json`.

    Raises:
        ArtifactError, DataError, TokenizerError, ModelError: An input is missing, damaged or too small.
    """
    settings = settings or TokenizerEvaluation()
    out = Path(out)
    roles = {"tokenizer": Path(tokenizer), "corpus": Path(corpus)}
    roles |= {role: Path(folder) for role, folder in (("base", base), ("english", english)) if folder is not None}
    begun = artifacts.begin(out, KIND, roles)
    subject = Subject.load(Path(tokenizer), name)
    old = Subject.load(Path(base), "base") if base is not None else None
    recorded = {"evaluation": settings.recorded(), "files": _contents(settings), "name": subject.name}
    with artifacts.create(out, KIND, recorded, begun, libraries=("tokenizers", "regex", "numpy", "scipy", "matplotlib")) as folder:
        found = measure_all(subject, Path(corpus), settings, old, Path(english) if english else None)
        (folder / FILE).write_text(json.dumps(found, indent=1, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
        card.write(folder, found)
    for line in card.summary(found):
        log.info(line)
    return found


def measure_all(
    subject: Subject, corpus: Path, settings: TokenizerEvaluation, base: Subject | None = None, english: Path | None = None
) -> dict[str, Any]:
    """The content of `evaluation.json`."""
    facts = documents.about(corpus)
    test = Text.read(inputs.read_pages(corpus, "test", settings.max_bytes), facts.words)
    log.info("%s on %d test pages of %s, %d bytes", subject.name, len(test.pages), facts.slug, test.bytes)
    counts = count(subject.tokenizer, test)
    _check(counts, subject)
    old = count(base.tokenizer, test) if base is not None else None
    train = _train(corpus, facts.words, settings)
    report: dict[str, Any] = {
        "schema": 1,
        "tokenizer": {"name": subject.name, "size": subject.size, "scheme": subject.vocabulary.scheme,
                      "algorithm": subject.base.kind.model["type"], "base": base.name if base else None},
        "language": {"slug": facts.slug, "words": facts.words, "iso639_3": facts.iso639_3},
        "settings": settings.recorded(),
        "target": _side(subject, base, test, counts, old, train, settings),
        "base": _side(base, None, test, old, None, train, settings) if base is not None and old is not None else None,
        "english": None,
        "vocabulary": classes.completeness(subject),
        "overlap": measures.shared_with(subject, base, counts, classes.script_of) if base is not None else None,
        "agreement": boundaries.agreement(subject, base, test) if base is not None else None,
        "reachability": audits.reach(subject),
        "round_trip": _round_trip(subject, test),
        "under_trained": _under_trained(subject, base, settings),
    }  # fmt: skip
    report["parallel"] = _parallel(subject, base, corpus, english, facts, settings)
    if english is not None:
        report |= _english(subject, base, english, facts, counts, settings)
    report["language_shares"] = _language_shares(subject, counts, report.pop("_english_counts", None), facts.slug)
    report["lexicon"] = _lexicon(subject, counts, test, train, facts, settings)
    report["examples"] = card.examples(subject, base, test.pages)
    return report


def _check(counts: Counts, subject: Subject) -> None:
    """Refuse what would only give meaningless ratios.

    Raises:
        DataError: The text has no tokens or no word.
    """
    if not counts.tokens.sum():
        raise DataError(f"{subject.name} gives no token for the test pages", "look at its normalizer: it may delete everything")
    if not counts.words.sum():
        raise DataError("the test pages hold no word", "is this corpus text of the language? Look at its card.md")


def _side(
    subject: Subject, base: Subject | None, text: Text, counts: Counts, reference: Counts | None, train: Text | None,
    settings: TokenizerEvaluation,
) -> dict[str, Any]:  # fmt: skip
    """What one tokenizer makes of one text."""
    found: dict[str, Any] = {
        "pages": len(text.pages), "bytes": int(counts.bytes.sum()), "tokens": int(counts.tokens.sum()), "words": int(counts.words.sum()),
        **measures.lengths(counts, reference),
        **measures.word_measures(counts),
        **measures.isolated(subject, text.words),
        "distribution": measures.distribution(counts, subject.size, settings.alpha),
        "use": measures.usage(counts, subject, base),
        "histogram": card.histogram(subject, counts),
    }  # fmt: skip
    if train is not None:
        found["retention"] = measures.retention(subject, train.words, settings.frequent_words)
        found["unigram"] = measures.unigram(counts, frequencies(subject.tokenizer, train), subject.size)
    return found


def _english(
    subject: Subject, base: Subject | None, english: Path, facts: documents.About, counts: Counts, settings: TokenizerEvaluation
) -> dict[str, Any]:
    other = documents.about(english)
    if other.slug == facts.slug:
        return {}
    text = Text.read(inputs.read_pages(english, "test", settings.max_bytes), other.words)
    ours = count(subject.tokenizer, text)
    old = count(base.tokenizer, text) if base is not None else None
    return {"english": _side(subject, base, text, ours, old, None, settings), "_english_counts": ours}


def _parallel(
    subject: Subject, base: Subject | None, corpus: Path, english: Path | None, facts: documents.About, settings: TokenizerEvaluation
) -> dict[str, Any]:
    pairs = inputs.read_pairs(corpus, settings.max_bytes)
    found: dict[str, Any] = {"help": parallel.premiums(subject, pairs), "base": None, "udhr": None, "udhr_base": None}
    if base is not None:
        found["base"] = parallel.premiums(base, pairs)
    if settings.udhr:
        folder = Path(settings.udhr)
        target, original = inputs.read_udhr(folder, facts.iso639_3), inputs.read_udhr(folder, "eng")
        if target and original:
            found["udhr"] = parallel.declaration(subject, *target, original[1])
            found["udhr_base"] = parallel.declaration(base, *target, original[1]) if base is not None else None
    return found


def _language_shares(subject: Subject, counts: Counts, english: Counts | None, slug: str) -> dict[str, float] | None:
    if english is None:
        return None
    return classes.languages(subject, {slug: counts.frequencies.tolist(), "eng_Latn": english.frequencies.tolist()})


def _lexicon(
    subject: Subject, counts: Counts, test: Text, train: Text | None, facts: documents.About, settings: TokenizerEvaluation
) -> dict[str, Any] | None:
    iso = facts.iso639_3
    is_word = lexicon.read_words(Path(settings.dictionary), iso) if settings.dictionary else None
    gold = None
    if settings.morphemes == "morfessor":
        gold = lexicon.morfessor((train or test).words)
    elif settings.morphemes:
        gold = lexicon.read_segmentations(Path(settings.morphemes))
    if is_word is None and gold is None:
        return None
    pieces = None if gold is None else lexicon.pieces_of(gold, iso)
    found: dict[str, Any] = {"tokens": lexicon.word_shares(subject, counts, is_word, pieces, iso)}
    if gold is not None:
        found["morphology"] = boundaries.morphology(subject, gold)
        found["morphology_in_text"] = boundaries.morphology(subject, gold, test.words)
        found["source"] = "morfessor" if settings.morphemes == "morfessor" else "given"
    return found


def _train(corpus: Path, words: str, settings: TokenizerEvaluation) -> Text | None:
    try:
        return Text.read(inputs.read_pages(corpus, "train", settings.max_bytes), words)
    except DataError:
        return None  # a corpus for tests only


def _round_trip(subject: Subject, text: Text) -> dict[str, Any]:
    paragraphs = [line for page in text.pages for line in page.split("\n")]
    trip = round_trip(subject.tokenizer, [*CHALLENGES, *paragraphs])
    return {"texts": trip.texts, "bytes": trip.bytes, "failed": len(trip.failed), "samples": trip.samples}


def _under_trained(subject: Subject, base: Subject | None, settings: TokenizerEvaluation) -> dict[str, Any] | None:
    """Of the model that the tokenizer belongs to: in its own folder, or the base when the vocabularies are one."""
    if not settings.model:
        return None
    for candidate in (subject, base):
        if candidate is None or not list(candidate.base.folder.glob("*.safetensors")):
            continue
        if candidate.vocabulary.fingerprint == subject.vocabulary.fingerprint:
            return audits.audit(subject, candidate.base.folder, settings.confirm)
    return {"skipped": "no model with this vocabulary"}


def _contents(settings: TokenizerEvaluation) -> dict[str, str]:
    """Content of the files that the settings name.

    Raises:
        DataError: One does not exist.
    """
    found = {}
    for path in map(Path, settings.files()):
        if not path.exists():
            raise DataError(f"{path} does not exist", "see docs/tokenizers.md, section Metrics")
        found[path.name] = artifacts.fingerprint(path) if path.is_dir() else artifacts.file_sha256(path)
    return found
