"""VIPI: a new token is the mean over all ways to write it with the fewest source tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic import Field

from tokgraft.methods import Composition, Mixtures, Params, Transplant, method
from tokgraft.vocab import Vocabulary

Edge = tuple[int, int]


class Vipi(Params):
    """Mean over the partitions of a token into the fewest source tokens; tokens of both vocabularies are copied."""

    ties: Literal["average", "longest"] = Field(
        "average", description="average: over all partitions with the fewest parts; longest: over those of them with the longest part."
    )


@method("vipi", Vipi, version=1, paper="arXiv:2112.14569", copies_overlap=True, convex=True)
def build(task: Transplant, params: Vipi) -> Composition:
    """Copy the overlap; for the rest the mean over minimal partitions of the mean over their parts; global mean where none exists."""
    index = by_bytes(task.source)
    longest = max(map(len, index), default=0)
    weights: dict[int, dict[int, float]] = {}
    parts = ways = 0
    for number in task.target.text_ids:
        if number in task.overlap:
            continue
        found = edge_shares(task.target[number].text, index, longest, params.ties)
        if not found.shares:
            continue
        weight = weights[number] = {}
        for (begin, end), share in found.shares.items():
            piece = index[task.target[number].text[begin:end]]
            weight[piece] = weight.get(piece, 0.0) + share
        parts, ways = parts + found.parts, ways + found.ways
    stats = {"parts_per_token": round(parts / max(len(weights), 1), 4), "partitions_per_token": round(ways / max(len(weights), 1), 4)}
    return Composition(task.overlap, Mixtures.counted(weights), stats=stats)


def by_bytes(vocabulary: Vocabulary) -> dict[bytes, int]:
    """Bytes -> the text token that stands for them: a normal one before a byte token, then the lowest id."""
    order = sorted(vocabulary.text_ids, key=lambda number: (vocabulary[number].kind != "normal", number), reverse=True)
    return {vocabulary[number].text: number for number in order if vocabulary[number].text}


class Shares:
    """Minimal partitions of one text.

    Attributes:
        shares: (begin, end) of a part -> share of the partitions that have it.
        parts: Number of parts of each partition.
        ways: Number of partitions that count.
    """

    __slots__ = ("parts", "shares", "ways")

    def __init__(self, shares: Mapping[Edge, float], parts: int, ways: int) -> None:
        self.shares, self.parts, self.ways = shares, parts, ways


def edge_shares(text: bytes, index: Mapping[bytes, int], longest: int, ties: str) -> Shares:
    """How often each part stands in the minimal partitions of `text`, by counting paths and so without listing them.

    Args:
        text: What to write.
        index: The source tokens by their bytes.
        longest: Length of the longest of them.
        ties: As in `Vipi`.
    """
    size = len(text)
    edges = [(i, j) for i in range(size) for j in range(i + 1, min(size, i + longest) + 1) if text[i:j] in index]
    ahead, behind = _fewest(edges, size), _fewest([(size - j, size - i) for i, j in reversed(edges)], size)
    fewest = ahead[size]
    if fewest is None:
        return Shares({}, 0, 0)
    best = [(i, j) for i, j in edges if _sum(ahead[i], behind[size - j]) == fewest - 1]
    through, ways = _through(best, size)
    if ties == "longest":
        length = max(j - i for i, j in best)
        without, fewer = _through([(i, j) for i, j in best if j - i < length], size)
        through = {edge: count - without.get(edge, 0) for edge, count in through.items()}
        ways -= fewer
    return Shares({edge: count / ways for edge, count in through.items() if count}, fewest, ways)


def _sum(left: int | None, right: int | None) -> int:
    return -1 if left is None or right is None else left + right


def _fewest(edges: Sequence[Edge], size: int) -> list[int | None]:
    """Fewest edges from 0 to each place; the edges are sorted by where they begin."""
    found: list[int | None] = [0] + [None] * size
    for begin, end in sorted(edges):
        here, there = found[begin], found[end]
        if here is not None and (there is None or here + 1 < there):
            found[end] = here + 1
    return found


def _through(edges: Sequence[Edge], size: int) -> tuple[dict[Edge, int], int]:
    """Number of paths from 0 to `size` through each edge, and of all paths."""
    before, after = [1] + [0] * size, [0] * size + [1]
    for begin, end in sorted(edges):
        before[end] += before[begin]
    for begin, end in sorted(edges, reverse=True):
        after[begin] += after[end]
    return {(begin, end): before[begin] * after[end] for begin, end in edges}, before[size]
