"""Reading the pages and pairs of a corpus artifact."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tokgraft import documents
from tokgraft.logs import log

EPOCHS = 4  # how often text may be repeated


def pages(corpus: Path, split: str) -> Iterator[list[str]]:
    """The paragraphs of each page of a split ("train", "dev", "test"), in the corpus' order."""
    for page in documents.pages(documents.pages_file(corpus, split)):
        yield [paragraph.text for paragraph in page.paragraphs]


def paragraphs(corpus: Path, split: str, max_bytes: int | None = None) -> list[str]:
    """The paragraphs of a split, of as many pages as `documents.within` gives."""
    found = documents.within(documents.pages(documents.pages_file(corpus, split)), max_bytes)
    return [paragraph.text for page in found for paragraph in page.paragraphs]


def blend(sources: Mapping[str, Sequence[str]], groups: Mapping[str, Sequence[str]], alpha: float, max_bytes: int) -> list[str]:
    """Paragraphs of several languages in chosen proportions.

    Every group gets the same share; within it a language gets one proportional to its bytes to the power `alpha`. There is as much text as
    the languages have together, and at most `max_bytes`; no language is repeated more than `EPOCHS` times, whatever its share.

    Args:
        sources: Language -> its paragraphs.
        groups: Group -> its languages, all of them in `sources`.
        alpha: 1 leaves a group's languages as large as they are, 0 makes them equal.
        max_bytes: Most bytes of UTF-8.

    Returns:
        Language after language, each from its beginning and over again.
    """
    sizes = {name: sum(len(text.encode()) for text in sources[name]) for names in groups.values() for name in names}
    whole = min(sum(sizes.values()), max_bytes)
    found: list[str] = []
    for names in groups.values():
        weights = {name: sizes[name] ** alpha for name in names}
        for name in names:
            wanted = whole / len(groups) * weights[name] / sum(weights.values())
            left = min(wanted, EPOCHS * sizes[name])
            log.info("%s: %.1f %% of the text, read %.2f times", name, 100 * wanted / whole, left / max(sizes[name], 1))
            for text in itertools.cycle(sources[name]):
                if left <= 0:
                    break
                found.append(text)
                left -= len(text.encode())
    return found


def pairs(corpus: Path, split: str = "test") -> list[tuple[str, str]]:
    """(English paragraph, its translation) of a split; empty for corpora without alignment."""
    return [(pair.english, pair.text) for pair in documents.pairs(documents.pairs_file(corpus, split))]
