"""A lexicon of units that is learned by reading, as in the Less-is-Better model (Yang, Frank and van den Bosch, CogALex 2020).

Text is read by longest match. Units that stood side by side are memorised as one; a unit is credited with the tokens that it saves (its
reading against that with the next shorter match in its place), and what does not pay is forgotten. So tokens and types fall together.
"""

from __future__ import annotations

import heapq
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

Trie = dict[str, Any]
WHOLE = ""  # marks in the trie where a unit ends; no character is empty
DECAY = 0.8  # what a credit is worth one reading later
FORGOTTEN = 0.05  # a credit below this: what stood there a few times, and has not been seen or has not paid for ten readings
SPARE = 1.25  # units remembered while learning, as a multiple of those wanted


class LexiconReader:
    """Reads by longest match with a fixed set of units; single characters are always known."""

    def __init__(self, units: Iterable[str]) -> None:
        self.root: Trie = {}
        for unit in units:
            node = self.root
            for character in unit:
                node = node.setdefault(character, {})
            node[WHOLE] = True

    def matches(self, text: str, start: int) -> list[int]:
        """Where units that begin at `start` end, ascending; the single character first."""
        found, node = [start + 1], self.root.get(text[start])
        at = start + 1
        while node is not None and at < len(text):
            node = node.get(text[at])
            at += 1
            if node is not None and WHOLE in node:
                found.append(at)
        return found

    def read(self, text: str) -> list[list[int]]:
        """A text by longest match: for each unit the ends of all units that begin there; it ends at the last of them."""
        found, at = [], 0
        while at < len(text):
            found.append(self.matches(text, at))
            at = found[-1][-1]
        return found

    def gains(self, text: str, reading: Sequence[Sequence[int]]) -> Iterator[tuple[str, int]]:
        """Each unit of a reading, and how many tokens it saves there; negative where a shorter one reads better."""
        ends = [0, *(matches[-1] for matches in reading)]
        place = {end: number for number, end in enumerate(ends)}
        for number, matches in enumerate(reading):
            if len(matches) == 1:
                continue
            at, tokens = matches[-2], 1
            while at not in place:
                at, tokens = self.matches(text, at)[-1], tokens + 1
            yield text[ends[number] : ends[number + 1]], tokens - (place[at] - number)


def learn(batches: Iterable[Mapping[str, int]], room: int, longest: int, min_frequency: int) -> list[str]:
    """Learn units of two characters or more.

    Args:
        batches: What is read, one batch after the other: phrase -> how often it stands there.
        room: How many units are wanted.
        longest: Longest unit, in characters.
        min_frequency: Units must have stood side by side this often in a batch to be memorised.

    Returns:
        At most `room` units, those that save most first. Ties are broken by the unit, so that no order in memory matters.
    """
    credit: dict[str, float] = {}
    for batch in batches:
        reader = LexiconReader(credit)
        saved: Counter[str] = Counter()
        pairs: Counter[str] = Counter()
        for phrase, count in batch.items():
            reading = reader.read(phrase)
            for unit, gain in reader.gains(phrase, reading):
                saved[unit] += gain * count
            ends = [0, *(matches[-1] for matches in reading)]
            for start, end in zip(ends, ends[2:]):
                if end - start <= longest:
                    pairs[phrase[start:end]] += count
        credit = {unit: DECAY * old + (1 - DECAY) * saved[unit] for unit, old in credit.items()}
        for unit, count in pairs.items():
            if count >= min_frequency and unit not in credit:
                credit[unit] = (1 - DECAY) * count
        credit = dict(_best(credit, int(SPARE * room) + 8))
    return [unit for unit, _ in _best(credit, room)]


def _best(credit: Mapping[str, float], most: int) -> list[tuple[str, float]]:
    """The units that pay, best first."""
    paying = ((unit, value) for unit, value in credit.items() if value >= FORGOTTEN)
    return heapq.nsmallest(most, paying, key=lambda item: (-item[1], item[0]))


def batches_of(lines: Sequence[Sequence[str]], order: Sequence[int], size: int, count: int) -> Iterator[Counter[str]]:
    """`count` batches of the phrases of `lines`, which are read in `order`, over and over, about `size` characters at a time."""
    ring = itertools.cycle(order)
    for _ in range(count):
        batch: Counter[str] = Counter()
        left = size
        for number in itertools.islice(ring, len(order)):
            batch.update(lines[number])
            left -= sum(map(len, lines[number]))
            if left <= 0:
                break
        yield batch
