"""Words and tokens of two languages in one space: rotation by a dictionary, vectors of tokens, nearest source tokens."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Protocol

import numpy as np
from pydantic import Field

from tokgraft.errors import DataError, UnavailableError
from tokgraft.numerics.linear import procrustes
from tokgraft.numerics.nearest import nearest
from tokgraft.numerics.types import Doubles, Floats, Ints
from tokgraft.rows.contract import Params, Transplant
from tokgraft.segmenter import Segmenter
from tokgraft.vocab import Vocabulary

REQUIRES = ("word_vectors", "dictionary")
RESOURCE = "make the resource word_vectors again"


class LanguageWords(Protocol):
    """Word vectors of one language, as the resource `word_vectors` gives them."""

    @property
    def words(self) -> Sequence[str]:
        """The words, by falling frequency."""

    @property
    def counts(self) -> Ints:
        """How often each occurs."""

    @property
    def vectors(self) -> Floats:
        """Their vectors, (n, dim)."""

    @property
    def index(self) -> dict[str, int]:
        """Word -> its place."""

    def vectors_of(self, texts: Sequence[str]) -> Floats:
        """Vectors of any texts, zeros where nothing is known."""


class AlignedParams(Params):
    """Parameters of methods that bring two languages into one space."""

    dictionary_weights: bool = Field(
        False, description="Weight each entry of the dictionary in the rotation; the reference counts all entries alike."
    )


@dataclass(frozen=True)
class BilingualSpace:
    """The target language's word space, with the English words rotated into it.

    Attributes:
        target: Word vectors of the target language.
        english: Word vectors of English, in their own space.
        rotation: English vector @ rotation = vector in the common space, (dim, dim).
        pairs: Pairs of words that the rotation was fitted to.
    """

    target: LanguageWords
    english: LanguageWords
    rotation: Doubles
    pairs: int

    def target_texts(self, texts: Sequence[str]) -> Floats:
        """Vectors of target-language texts."""
        return self.target.vectors_of(texts)

    def english_texts(self, texts: Sequence[str]) -> Floats:
        """Vectors of English texts, rotated."""
        return (self.english.vectors_of(texts) @ self.rotation).astype(np.float32)


def common_space(task: Transplant, params: AlignedParams) -> BilingualSpace:
    """Rotate the English word vectors onto those of the target language by the dictionary (orthogonal Procrustes, Schönemann 1966).

    Each entry counts for every combination of its words as they are, lower-cased and in title case that both languages have; forms that
    coincide count as often as they coincide.

    Raises:
        DataError: The two tables do not fit, hold NaN, or no entry of the dictionary has both its words in them.
    """
    target, english = task.resources["word_vectors"].target, task.resources["word_vectors"].english
    if target.vectors.shape[1] != english.vectors.shape[1]:
        raise DataError(f"word vectors of {target.vectors.shape[1]} and {english.vectors.shape[1]} dimensions", RESOURCE)
    if not (np.isfinite(target.vectors).all() and np.isfinite(english.vectors).all()):
        raise DataError("word vectors hold NaN or Inf", RESOURCE)
    left, right, weights = [], [], []
    entries = task.resources["dictionary"]
    place, place_there = english.index, target.index
    for one, two, weight in entries:
        for ours, theirs in product((one, one.lower(), one.title()), (two, two.lower(), two.title())):
            if ours in place and theirs in place_there:
                left.append(place[ours])
                right.append(place_there[theirs])
                weights.append(float(weight) if params.dictionary_weights else 1.0)
    x, y = english.vectors[left].astype(np.float64), target.vectors[right].astype(np.float64)
    if not (x.any() and y.any()):
        raise UnavailableError(
            f"none of the {len(entries)} entries of the dictionary has a vector in both languages",
            "check that dictionary and word_vectors were made from the same corpora, or lower min_count of word_vectors",
        )
    return BilingualSpace(target, english, procrustes((x * np.array(weights)[:, None]).T @ y), len(left))


def token_texts(vocabulary: Vocabulary) -> dict[int, str]:
    """Text of each token without outer white space; tokens that are no text, not UTF-8 or nothing else are left out."""
    found = {}
    for number, token in enumerate(vocabulary.tokens):
        if token is None or token.kind == "special":
            continue
        try:
            text = token.text.decode().strip()
        except UnicodeDecodeError:
            continue
        if text:
            found[number] = text
    return found


def decoded_texts(vocabulary: Vocabulary) -> dict[int, str]:
    """Text of every token as decoding its id alone gives it, without outer white space.

    Parts of characters are replacement signs, special tokens their own names, and continuations of WordPiece keep their "##".
    """
    verbatim = vocabulary.scheme == "wordpiece"
    tokens = {number: vocabulary[number] for number in vocabulary.ids}
    return {
        number: (token.surface if verbatim or token.kind == "special" else token.text.decode("utf-8", "replace")).strip()
        for number, token in tokens.items()
    }


def vectors_by_text(vocabulary: Vocabulary, vectors_of: Any, texts: Mapping[int, str] | None = None) -> Floats:
    """(|V|, dim): vector of each token's own text (`token_texts` unless others are given), zeros where it has none."""
    texts = token_texts(vocabulary) if texts is None else texts
    unique = sorted(set(texts.values()))
    place = {text: number for number, text in enumerate(unique)}
    vectors: Floats = vectors_of(unique)
    table = np.zeros((len(vocabulary), vectors.shape[1]), dtype=np.float32)
    table[list(texts)] = vectors[[place[text] for text in texts.values()]]
    return table


def vectors_by_words(size: int, segmenter: Segmenter, forms: Iterable[Sequence[str]], vectors: Floats, weights: Doubles) -> Floats:
    """(size, dim): weighted mean of the vectors of all words whose pieces include the token; zeros where no word does.

    Args:
        size: Number of ids of the vocabulary.
        segmenter: Cuts text into its ids.
        forms: Ways of writing the words, each a list with one text per word (with a space before it, capitalised, ...); a word counts
            once for each form whose pieces include the token.
        vectors: (n, dim).
        weights: (n,).
    """
    from scipy.sparse import csr_array  # type: ignore[import-untyped]

    rows: list[int] = []
    columns: list[int] = []
    for texts in forms:
        for number, pieces in enumerate(segmenter.pieces_many([text.encode() for text in texts])):
            found = sorted(set(pieces))
            rows += found
            columns += [number] * len(found)
    holds = csr_array((weights[columns], (rows, columns)), shape=(size, len(vectors)))
    total = holds.sum(axis=1)
    sums = holds @ vectors.astype(np.float64)
    means = np.divide(sums, total[:, None], out=np.zeros_like(sums), where=total[:, None] > 0)
    table: Floats = means.astype(np.float32)
    return table


@dataclass(frozen=True)
class Neighbours:
    """Nearest source tokens of target tokens.

    Attributes:
        ids: Target ids that have a vector, ascending, (n,).
        sources: Source ids, the most similar first, (n, k).
        cosines: (n, k).
        anchors: Number of source tokens that have a vector.
    """

    ids: Ints
    sources: Ints
    cosines: Doubles
    anchors: int


def neighbours(task: Transplant, source: Floats, target: Floats, wanted: Iterable[int], k: int) -> Neighbours:
    """The `k` source tokens nearest to each wanted target token that has a vector.

    Args:
        task: The transplant.
        source: Vectors of source tokens, (|Vs|, dim); tokens with a zero vector are never neighbours.
        target: Vectors of target tokens, (|Vt|, dim), in the same space.
        wanted: Target ids.
        k: How many.

    Raises:
        DataError: Vectors hold NaN, no target token has a vector, or fewer than `k` source tokens have one.
    """
    if not (np.isfinite(source).all() and np.isfinite(target).all()):
        raise DataError("vectors of tokens hold NaN or Inf", RESOURCE)
    order = np.array(task.source.canonical_order, dtype=np.int64)
    anchors = order[np.any(source[order], axis=1)]
    asked = np.array(list(wanted), dtype=np.int64)
    ids = asked[np.any(target[asked], axis=1)]
    if len(asked) and not target.any():
        raise UnavailableError("no target token has a vector", "all word vectors of the target language are zero; " + RESOURCE)
    if len(ids) and len(anchors) < k:
        raise UnavailableError(
            f"{len(anchors)} source tokens have a vector, {k} are needed",
            "lower neighbours, train word_vectors on more text, or choose a method without word vectors",
        )
    if not len(ids):
        return Neighbours(ids, np.zeros((0, k), dtype=np.int64), np.zeros((0, k)), len(anchors))
    places: dict[bytes, int] = {}  # tokens that differ in a space only have one vector: it is looked up once
    back = [places.setdefault(target[number].tobytes(), len(places)) for number in ids]
    unique = target[ids[np.unique(back, return_index=True)[1]]]
    found, cosines = nearest(unique, source[anchors], k)
    return Neighbours(ids, anchors[found][back], cosines[back], len(anchors))
