"""Continued byte-pair encoding: learn more merges on top of an existing list, so that the old ones keep their ranks.

Every word is first segmented by the old merges. Then the most frequent adjacent pair is merged, again and again, exactly as
inference will do it: lowest rank first, leftmost first. Since each new merge ranks after all old ones, it can only join what the
old list had left apart (old text is coarsened or left alone), and since it was learned between two tokens that really stood side
by side, its product is reachable (projection of the word's merges onto the product's span).
"""

from __future__ import annotations

import heapq
import itertools
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

Pair = tuple[int, int]
Merges = dict[Pair, tuple[int, int]]


@dataclass(frozen=True)
class Learned:
    """What continued BPE found.

    Args:
        merges: New merges in rank order, as token strings.
        tokens: New tokens in id order.
        frequency: How often the last pair stood in the text when it was merged (0: nothing was learned).
    """

    merges: list[tuple[str, str]]
    tokens: list[str]
    frequency: int


def settle(symbols: Sequence[int], merges: Mapping[Pair, tuple[int, int]]) -> list[int]:
    """Apply merges until none fits: lowest rank first, leftmost first among equals.

    Args:
        symbols: Token ids of one word.
        merges: Pair -> (rank, id of the product).
    """
    out = list(symbols)
    while True:
        best = min(((merges[pair][0], i) for i, pair in enumerate(itertools.pairwise(out)) if pair in merges), default=None)
        if best is None:
            return out
        i = best[1]
        out[i : i + 2] = [merges[out[i], out[i + 1]][1]]


@dataclass
class _State:
    """The words, and where each adjacent pair stands in them."""

    words: list[list[int]]
    counts: list[int]
    pairs: dict[Pair, int] = field(default_factory=lambda: defaultdict(int))
    places: dict[Pair, set[int]] = field(default_factory=lambda: defaultdict(set))


def continue_merges(
    words: Mapping[tuple[int, ...], int],
    vocabulary: Mapping[str, int],
    merges: Merges,
    new_tokens: int,
    next_id: int,
    allowed: Callable[[str], bool],
    barred: frozenset[int] = frozenset(),
    min_frequency: int = 2,
    beat: Callable[[int], None] = lambda done: None,
) -> Learned:
    """Learn up to `new_tokens` tokens.

    Args:
        words: Segmentation of each distinct word by the old merges -> how often the word stands in the text.
        vocabulary: Token -> id, complete.
        merges: The old merges, pair -> (rank, product); not altered.
        new_tokens: How many tokens to add.
        next_id: Id of the first new token; the others follow.
        allowed: Whether a string may become a token.
        barred: Ids that no merge may touch (unknown token, single-byte fallback pieces).
        min_frequency: A pair must have been seen this often.
        beat: Called with the number of tokens so far.

    Returns:
        What was learned; fewer tokens than asked for when the text has no more frequent pairs. Ties are broken by the pair's ids,
        so the result does not depend on the order of `words`. A merge whose product is an old token adds a route, no token.
    """
    strings = {index: token for token, index in vocabulary.items()}
    ids = dict(vocabulary)
    table = dict(merges)
    state = _count(words, barred)
    heap = [(-count, pair) for pair, count in state.pairs.items() if count >= min_frequency]
    heapq.heapify(heap)
    learned = Learned([], [], 0)
    frequency = 0
    while heap and len(learned.tokens) < new_tokens:
        negative, pair = heapq.heappop(heap)
        count = state.pairs.get(pair, 0)
        if count != -negative:  # the entry is older than the count
            if min_frequency <= count < -negative:
                heapq.heappush(heap, (-count, pair))
            continue
        product = strings[pair[0]] + strings[pair[1]]
        if pair in table or not allowed(product):
            continue
        index = ids.get(product)
        route = index is not None
        if index is None:
            index = next_id + len(learned.tokens)
            ids[product], strings[index] = index, product
            learned.tokens.append(product)
        table[pair] = (len(table), index)
        learned.merges.append((strings[pair[0]], strings[pair[1]]))
        frequency = count
        grown = _apply(state, pair, index, table if route else None, barred)
        for other in grown:
            if state.pairs[other] >= min_frequency:
                heapq.heappush(heap, (-state.pairs[other], other))
        beat(len(learned.tokens))
    return Learned(learned.merges, learned.tokens, frequency)


def _count(words: Mapping[tuple[int, ...], int], barred: frozenset[int]) -> _State:
    state = _State([list(word) for word in words], list(words.values()))
    for place, (word, count) in enumerate(zip(state.words, state.counts)):
        for pair in itertools.pairwise(word):
            if barred.isdisjoint(pair):
                state.pairs[pair] += count
                state.places[pair].add(place)
    return state


def _apply(state: _State, pair: Pair, index: int, table: Merges | None, barred: frozenset[int]) -> set[Pair]:
    """Merge `pair` in every word it stands in; the pairs that became more frequent.

    With a `table` (the product is an old token) the word is settled anew, since old merges may fit again.
    """
    grown: set[Pair] = set()
    for place in state.places.pop(pair):
        old = state.words[place]
        new = settle(old, table) if table is not None else _join(old, pair, index)
        if len(new) == len(old):
            continue
        count = state.counts[place]
        for gone in itertools.pairwise(old):
            if barred.isdisjoint(gone):
                state.pairs[gone] -= count
        for come in itertools.pairwise(new):
            if barred.isdisjoint(come):
                state.pairs[come] += count
                if come != pair:
                    state.places[come].add(place)
                    grown.add(come)
        state.words[place] = new
    state.pairs.pop(pair, None)
    return grown


def _join(word: list[int], pair: Pair, index: int) -> list[int]:
    left, right = pair
    out: list[int] = []
    i, last = 0, len(word) - 1
    while i <= last:
        if word[i] == left and i < last and word[i + 1] == right:
            out.append(index)
            i += 2
        else:
            out.append(word[i])
            i += 1
    return out
