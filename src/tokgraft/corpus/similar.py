"""Equal and nearly equal texts: between pages by MinHash, between paragraphs exactly."""

from __future__ import annotations

import math
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from typing import Any, Literal

from tokgraft.corpus.pages import digest, normal
from tokgraft.documents import Page, Paragraph

Words = Literal["space", "none"]
WORDS, CHARACTERS = 5, 8
BANDS, ROWS = 14, 8
SEED = 1


def shingles(text: str, words: Words) -> set[str]:
    """The runs of 5 words (8 characters where spaces do not separate words) of a text's normal form.

    A text shorter than one run is its own only shingle.
    """
    if words == "none":
        whole = normal(text)
        return {whole[start : start + CHARACTERS] for start in range(max(1, len(whole) - CHARACTERS + 1))}
    units = normal(text).split()
    return {" ".join(units[start : start + WORDS]) for start in range(max(1, len(units) - WORDS + 1))}


def exact_duplicates(pages: Iterable[Page]) -> dict[str, str]:
    """Page id -> id of the first page with the same normal text, for every page that has one before it."""
    first: dict[bytes, str] = {}
    return {page.id: original for page in pages if (original := first.setdefault(digest(page.text), page.id)) != page.id}


@cache
def _template() -> Any:
    from datasketch import MinHash

    return MinHash(num_perm=BANDS * ROWS, seed=SEED, hashfunc=lambda run: zlib.crc32(run.encode()))


def minhash(text: str, words: Words) -> Any:
    """The MinHash sketch of a text: 112 permutations of its shingles."""
    sketch = _template().copy()
    sketch.update_batch(shingles(text, words))
    return sketch


def near_duplicates(
    pages: Sequence[Page], words: Words, threshold: float, beat: Callable[[int], None] = lambda done: None
) -> dict[str, str]:
    """Page id -> id of the kept page that it nearly repeats, for every page that repeats an earlier one.

    MinHash with 112 permutations and a fixed seed; candidates by LSH with 14 bands of 8 (as FineWeb-2's recipe, arXiv:2506.20920),
    which finds a pair of similarity .8 with probability .92, then the estimated Jaccard similarity must reach `threshold`.
    """
    from datasketch import MinHashLSH

    index = MinHashLSH(num_perm=BANDS * ROWS, params=(BANDS, ROWS))
    sketches: dict[str, Any] = {}
    found: dict[str, str] = {}
    rank: dict[str, int] = {}
    for done, page in enumerate(pages, 1):
        sketch = minhash(page.text, words)
        near = [other for other in index.query(sketch) if sketch.jaccard(sketches[other]) >= threshold]
        if near:
            found[page.id] = min(near, key=rank.__getitem__)
        else:
            index.insert(page.id, sketch)
            sketches[page.id] = sketch
            rank[page.id] = done
        beat(done)
    return found


def cluster_sizes(repeats: dict[str, str]) -> dict[str, int]:
    """Histogram: size of a cluster (the kept page and its repeats) -> how many clusters."""
    sizes = Counter(Counter(repeats.values()).values())
    return {str(size + 1): count for size, count in sorted(sizes.items())}


def jaccard(left: set[str], right: set[str]) -> float:
    """Jaccard similarity of two shingle sets."""
    return len(left & right) / len(left | right)


class NearIndex:
    """Finds, exactly, which of the indexed texts a text resembles by a Jaccard similarity of at least a threshold t.

    Prefix filtering (Bayardo et al. 2007): sets that similar share at least ceil(t |s|) elements, so that they meet in the first
    |s| - ceil(t |s|) + 1 elements of each, whatever order elements are put in. Rare ones come first here, so that few texts meet by
    chance; ties are broken by the process's own string hash, which has no influence on what is found.
    """

    def __init__(self, texts: Iterable[str], words: Words, threshold: float) -> None:
        self.words: Words = words
        self.threshold = threshold
        self.sets = [shingles(text, words) for text in texts]
        self.frequency = Counter(element for found in self.sets for element in found)
        self.table: dict[str, list[int]] = defaultdict(list)
        for number, found in enumerate(self.sets):
            for element in self._rarest(found, len(found) - self._needed(found) + 1):
                self.table[element].append(number)

    def _needed(self, found: set[str]) -> int:
        return math.ceil(self.threshold * len(found) - 1e-9)

    def _rarest(self, elements: Iterable[str], count: int) -> list[str]:
        frequency = self.frequency
        return sorted(elements, key=lambda element: (frequency[element], hash(element)))[:count]

    def matches(self, text: str) -> Iterator[int]:
        """Positions of the indexed texts that are as similar as the threshold, or more."""
        found = shingles(text, self.words)
        known = found & self.frequency.keys()
        spare = len(known) - self._needed(found)
        if spare < 0:
            return  # too few of its elements occur anywhere in the index
        candidates = {number for element in self._rarest(known, spare + 1) for number in self.table.get(element, ())}
        yield from (number for number in sorted(candidates) if jaccard(found, self.sets[number]) >= self.threshold)


def shared(held: Sequence[Paragraph], train: Iterable[Paragraph], words: Words, threshold: float) -> dict[int, str]:
    """Which of `held` stand in `train`: position -> "exact" (equal normal form) or "near" (Jaccard similarity of shingles)."""
    places: dict[str, list[int]] = defaultdict(list)
    for number, paragraph in enumerate(held):
        places[normal(paragraph.text)].append(number)
    texts = list(places)
    index = NearIndex(texts, words, threshold)
    found: dict[int, str] = {}
    for text in {normal(paragraph.text): None for paragraph in train}:
        if text in places:
            found.update(dict.fromkeys(places[text], "exact"))
        for match in index.matches(text):
            for number in places[texts[match]]:
                found.setdefault(number, "near")
    return found
