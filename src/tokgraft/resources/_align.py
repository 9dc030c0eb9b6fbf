"""Which words of a sentence correspond to which words of its translation.

IBM model 1 (Brown et al. 1993, section 4.1) in numpy, or eflomal (Östling & Tiedemann 2016) where it is installed.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from tokgraft import documents
from tokgraft.errors import ConfigError, DataError, UnavailableError
from tokgraft.logs import log
from tokgraft.resources._contract import ResourceParams

Ints = npt.NDArray[np.int64]
Doubles = npt.NDArray[np.float64]
Sentence = Sequence[str]
Symmetry = Literal["forward", "intersection", "grow_diag"]
BLOCK = 4_000_000  # pairs of positions looked at together
NEIGHBOURS = ((-1, 0), (0, -1), (1, 0), (0, 1), (-1, -1), (-1, 1), (1, -1), (1, 1))


class AlignerParams(ResourceParams):
    """What every resource made from parallel text lets one choose."""

    aligner: Literal["ibm1", "eflomal", "auto"] = Field(
        "ibm1",
        description="ibm1: model 1, the same links each time; eflomal: better links, drawn anew each time (it takes no seed); auto: eflomal "
        "where it is installed, else ibm1. The facts of the resource say which one ran.",
    )
    iterations: int = Field(7, ge=1, description="Passes of model 1 (fast_align in trans-tokenization: 7).")
    max_bytes: int | None = Field(
        None, ge=1, description="Target text that is read, in bytes of UTF-8; pairs from the start (default: all)."
    )


@dataclass(frozen=True)
class Links:
    """Links between parallel sentences, ordered by sentence, then right, then left position.

    Attributes:
        sentence: Index of the pair of sentences, (n,).
        left: Position in its left sentence, (n,).
        right: Position in its right sentence, (n,).
        facts: Which aligner ran, in which version, how its two directions were joined.
    """

    sentence: Ints
    left: Ints
    right: Ints
    facts: dict[str, Any]


@dataclass(frozen=True)
class _PairSide:
    """The sentences of one language end to end.

    Attributes:
        ids: Number of each word, from 1; 0 stands for "no word".
        start: Where each sentence begins, and the end of the last one.
        size: Number of different words, "no word" included.
    """

    ids: Ints
    start: Ints
    size: int

    @classmethod
    def of(cls, sentences: Sequence[Sentence]) -> _PairSide:
        words = {word: number for number, word in enumerate(sorted({word for sentence in sentences for word in sentence}), 1)}
        ids = np.fromiter((words[word] for word in chain.from_iterable(sentences)), dtype=np.int64)
        return cls(ids, np.cumsum([0, *(len(sentence) for sentence in sentences)]), len(words) + 1)

    @property
    def sentence(self) -> Ints:
        """Sentence of each word."""
        return np.repeat(np.arange(len(self.start) - 1), np.diff(self.start))


def read_pairs(corpus: Path, max_bytes: int | None = None) -> list[tuple[str, str]]:
    """(English, text) of the aligned paragraphs of the train pages, as many as `documents.within` gives; never of another split.

    Raises:
        DataError: The corpus has none.
    """
    path = documents.pairs_file(corpus, "train")
    if not path.is_file():
        raise DataError(f"{path} does not exist", "give the folder of a corpus artifact")
    found = [(pair.english, pair.text) for pair in documents.within(documents.pairs(path), max_bytes)]
    if not found:
        raise UnavailableError(
            f"{path} is empty: the corpus has no paragraphs aligned with English",
            "use a source with parallel text for this language (help pages), or a method that needs none",
        )
    return found


def align(left: Sequence[Sentence], right: Sequence[Sentence], params: AlignerParams, symmetry: Symmetry) -> Links:
    """Align the words of parallel sentences.

    Args:
        left: Words of each sentence; pairs of which a side is empty get no links.
        right: Words of each translation.
        params: The aligner and its passes.
        symmetry: "forward" (each right word with its one best left word), "intersection" of both directions, or "grow_diag".

    Raises:
        ConfigError: eflomal is asked for and not installed.
        DataError: There is nothing to align.
    """
    if not (any(left) and any(right)):
        raise UnavailableError("the parallel text has no words", "give a corpus with parallel text")
    name = resolve(params.aligner)
    if name == "eflomal":
        forward, backward = _eflomal(left, right)
        facts = {"aligner": name, "version": importlib.metadata.version("eflomal"), "reproducible": False}
    else:
        one, two = _PairSide.of(left), _PairSide.of(right)
        forward = _best(one, two, params.iterations)
        backward = np.empty((0, 3), dtype=np.int64) if symmetry == "forward" else _best(two, one, params.iterations)[:, [0, 2, 1]]
        facts = {"aligner": name, "version": "1", "iterations": params.iterations, "reproducible": True}
    joined = forward if symmetry == "forward" else _join(forward, backward, symmetry)
    joined = joined[np.lexsort((joined[:, 1], joined[:, 2], joined[:, 0]))]
    log.info("%s: %d links in %d pairs", name, len(joined), len(left))
    return Links(joined[:, 0], joined[:, 1], joined[:, 2], {**facts, "symmetry": symmetry, "pairs": len(left), "links": len(joined)})


def resolve(aligner: str) -> str:
    """The aligner that runs.

    Raises:
        ConfigError: eflomal is asked for and not installed.
    """
    installed = importlib.util.find_spec("eflomal") is not None
    if aligner == "eflomal" and not installed:
        raise ConfigError("the aligner eflomal is not installed", "pip install eflomal (it needs a C compiler), or choose aligner ibm1")
    return "eflomal" if installed and aligner != "ibm1" else "ibm1"


def _best(left: _PairSide, right: _PairSide, iterations: int) -> Ints:
    """(sentence, left position, right position) of each right word's most likely left word; words most likely linked to none are left out.

    p(right word | left word), uniform at first, is re-estimated from expected counts; the prior over left words is uniform, "no word"
    among them. Among equally likely left words the one at the most similar place in the sentence wins.
    """
    # The blocks are made anew each time: all of them together would take several times the memory of `index`.
    pairs = _distinct(np.concatenate([_distinct(keys) for *_, keys, _ in _blocks(left, right)]))
    index = [(lengths, np.searchsorted(pairs, keys).astype(np.int32)) for _, lengths, keys, _ in _blocks(left, right)]
    chance = np.full(len(pairs), 1 / right.size)
    for _ in range(iterations):
        counts = np.zeros(len(pairs))
        for lengths, places in index:
            weights = chance[places]
            weights /= np.repeat(np.add.reduceat(weights, np.cumsum(lengths) - lengths), lengths)
            counts += np.bincount(places, weights, len(pairs))
        chance = counts / np.bincount(pairs // right.size, counts, left.size)[pairs // right.size]
    found = [_choose(words, chance[keys], there, left, right) for (words, _, _, there), (_, keys) in zip(_blocks(left, right), index)]
    return np.concatenate(found)


def _distinct(values: Ints) -> Ints:
    """Different values, ascending. (numpy's own `unique` hashes, which takes three times as long here.)"""
    ordered = np.sort(values)
    return ordered[np.flatnonzero(np.diff(ordered, prepend=ordered[:1] - 1))]


def _blocks(left: _PairSide, right: _PairSide) -> Iterator[tuple[slice, Ints, Ints, Ints]]:
    """Runs of right words with all their candidates.

    Yields:
        The run, the number of candidates of each word in it, and for all candidates end to end the number of the pair of words and the
        left word's place in the sentence; the first candidate of each word is "no word", at place -1.
    """
    sentence = right.sentence
    many = np.diff(left.start)[sentence] + 1
    ends = np.cumsum(many)
    begin = 0
    while begin < len(many):
        end = max(begin + 1, int(np.searchsorted(ends, ends[begin] - many[begin] + BLOCK, side="right")))
        lengths = many[begin:end]
        places = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths) - 1
        # Place -1 points at the word before the sentence (or the last of all); what it finds there is replaced.
        words = np.where(places < 0, 0, left.ids[np.repeat(left.start[sentence[begin:end]], lengths) + places])
        yield slice(begin, end), lengths, words * right.size + np.repeat(right.ids[begin:end], lengths), places
        begin = end


def _choose(words: slice, chance: Doubles, places: Ints, left: _PairSide, right: _PairSide) -> Ints:
    sentence = right.sentence[words]
    lengths = np.diff(left.start)[sentence] + 1
    starts = np.cumsum(lengths) - lengths
    own = np.arange(words.start, words.stop) - right.start[sentence]
    here = (own + 0.5) / np.diff(right.start)[sentence]
    there = (places + 0.5) / np.repeat(lengths - 1, lengths).clip(1)
    far = np.where(places < 0, 2.0, np.abs(there - np.repeat(here, lengths)))
    best = np.repeat(np.maximum.reduceat(chance, starts), lengths)
    far[chance < best * (1 - 1e-9)] = np.inf
    near = np.flatnonzero(far == np.repeat(np.minimum.reduceat(far, starts), lengths))
    group = np.repeat(np.arange(len(lengths)), lengths)[near]
    _, first = np.unique(group, return_index=True)
    chosen = places[near[first]]
    rows = np.stack([sentence, chosen, own], axis=1)
    return rows[chosen >= 0]


def _join(forward: Ints, backward: Ints, symmetry: Symmetry) -> Ints:
    one, two = ({tuple(row) for row in links.tolist()} for links in (forward, backward))
    kept = one & two
    if symmetry == "grow_diag":
        _grow(kept, one | two)
    return np.array(sorted(kept), dtype=np.int64).reshape(-1, 3)


def _grow(kept: set[tuple[int, ...]], union: set[tuple[int, ...]]) -> None:
    """Add links of the union that touch a kept one and link a word that has no link yet (Koehn et al. 2003), in order of position."""
    left = {(sentence, one) for sentence, one, _ in kept}
    right = {(sentence, two) for sentence, _, two in kept}
    front = sorted(kept)
    while front:
        added = []
        for sentence, one, two in front:
            for step, stride in NEIGHBOURS:
                link = (sentence, one + step, two + stride)
                if link in union and link not in kept and ((sentence, link[1]) not in left or (sentence, link[2]) not in right):
                    kept.add(link)
                    left.add((sentence, link[1]))
                    right.add((sentence, link[2]))
                    added.append(link)
        front = sorted(added)


def _eflomal(left: Sequence[Sentence], right: Sequence[Sentence]) -> tuple[Ints, Ints]:
    """Forward and backward links by eflomal. It splits at white space and lower-cases, so it is given numbers for words."""
    from eflomal import Aligner

    used = [number for number, pair in enumerate(zip(left, right)) if all(pair)]
    sides = [_PairSide.of([side[number] for number in used]) for side in (left, right)]
    texts = [[" ".join(map(str, side.ids[a:b].tolist())) for a, b in zip(side.start, side.start[1:])] for side in sides]
    with tempfile.TemporaryDirectory(prefix="tokgraft-") as place:
        names = [str(Path(place) / name) for name in ("forward", "backward")]
        Aligner().align(*texts, links_filename_fwd=names[0], links_filename_rev=names[1])
        found = [Path(name).read_text().splitlines() for name in names]
    forward, backward = (
        np.array(
            [(number, *map(int, link.split("-"))) for number, line in zip(used, lines) for link in line.split()], dtype=np.int64
        ).reshape(-1, 3)
        for lines in found
    )
    return forward, backward
