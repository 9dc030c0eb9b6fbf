"""What target tokens are made of, as sparse weights over source tokens: they give the rows of any table, can be blended and looked at."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from tokgraft.numerics.similarity import heaviest
from tokgraft.numerics.sums import weighted_sums
from tokgraft.numerics.types import Doubles, Flags, Floats, Ints

SHOWN = 16  # sources of a token that its provenance lists at most


@dataclass(frozen=True)
class Mixtures:
    """Weighted means of source rows: the row of target token ids[i] is sum_j w_j E[s_j] / sum_j w_j, j from ends[i] up to ends[i + 1].

    The same weights serve the input table, the output table and the bias of the head.

    Attributes:
        ids: Target ids, (n,), each once.
        sources: Source ids, mixture after mixture, (m,); one may stand more than once in a mixture.
        weights: Their weights, (m,), float64, at least 0, with a positive sum in each mixture.
        ends: Where each mixture begins, and where the last one ends, (n + 1,). No mixture is empty.
    """

    ids: Ints
    sources: Ints
    weights: Doubles
    ends: Ints

    @classmethod
    def of(cls, parts: Mapping[int, tuple[Sequence[int] | Ints, Sequence[float] | Doubles]]) -> Mixtures:
        """From target id -> (source ids, their weights); tokens without a source id are left out."""
        parts = {number: part for number, part in parts.items() if len(part[0])}
        ends = np.cumsum([0, *(len(sources) for sources, _ in parts.values())], dtype=np.int64)
        sources = np.fromiter(chain.from_iterable(part[0] for part in parts.values()), np.int64, ends[-1])
        weights = np.fromiter(chain.from_iterable(part[1] for part in parts.values()), np.float64, ends[-1])
        return cls(np.array(list(parts), dtype=np.int64), sources, weights, ends)

    @classmethod
    def means(cls, pieces: Mapping[int, Sequence[int]]) -> Mixtures:
        """The plain mean over source ids, from target id -> source ids; tokens without any are left out."""
        ones = {count: (1.0,) * count for count in set(map(len, pieces.values()))}
        return cls.of({number: (ids, ones[len(ids)]) for number, ids in pieces.items()})

    @classmethod
    def counted(cls, counts: Mapping[int, Mapping[int, float]]) -> Mixtures:
        """From target id -> source id -> weight; sources are summed in ascending order."""
        return cls.of({number: (order := sorted(found), [found[source] for source in order]) for number, found in counts.items()})

    @classmethod
    def table(cls, ids: Ints, sources: Ints, weights: Doubles) -> Mixtures:
        """Of equally many sources: ids (n,), source ids (n, k), weights (n, k)."""
        return cls(ids, sources.ravel(), weights.ravel(), sources.shape[1] * np.arange(len(ids) + 1, dtype=np.int64))

    @classmethod
    def copies(cls, origins: Mapping[int, int]) -> Mixtures:
        """One source token each, from target id -> source id."""
        return cls.means({number: (source,) for number, source in origins.items()})

    @classmethod
    def joined(cls, *parts: Mixtures) -> Mixtures:
        """The mixtures of several that have no target token in common."""
        starts = np.cumsum([0, *(len(part.sources) for part in parts)])
        ends = [part.ends[:-1] + start for part, start in zip(parts, starts.tolist())]
        ids, sources, weights = (np.concatenate([getattr(part, name) for part in parts]) for name in ("ids", "sources", "weights"))
        return cls(ids, sources, weights, np.concatenate([*ends, starts[-1:]]))

    def __len__(self) -> int:
        """Number of target tokens."""
        return len(self.ids)

    @property
    def lengths(self) -> Ints:
        """Number of sources of each mixture, (n,)."""
        return np.diff(self.ends)

    @property
    def totals(self) -> Doubles:
        """Sum of the weights of each mixture, (n,)."""
        return np.add.reduceat(self.weights, self.ends[:-1]) if len(self) else np.zeros(0)

    def rows(self, table: Floats) -> Floats:
        """The mixed rows of a table, (|Vs|, d) -> (n, d), float32."""
        if not len(self):
            return np.zeros((0, table.shape[1]), dtype=np.float32)
        return weighted_sums(self.weights, self.sources, self.ends, table, self.totals)

    def without(self, ids: Collection[int]) -> Mixtures:
        """The mixtures of other target tokens than these."""
        return self._kept(np.array([number not in ids for number in self.ids.tolist()], dtype=bool))

    def _kept(self, kept: Flags) -> Mixtures:
        lengths = self.lengths
        inside = np.repeat(kept, lengths)
        return Mixtures(self.ids[kept], self.sources[inside], self.weights[inside], np.cumsum([0, *lengths[kept].tolist()], dtype=np.int64))

    def blend(self, other: Mixtures, share: float) -> Mixtures:
        """(1 - share) of these and `share` of the others, each scaled to sum 1 before; tokens that only one of them has stay as they are."""
        ours, theirs = set(self.ids.tolist()), set(other.ids.tolist())
        both = sorted(ours & theirs)
        parts = [part._ordered(both, factor) for part, factor in ((self, 1 - share), (other, share))]
        order = np.argsort(np.concatenate([np.repeat(np.arange(len(both)), part.lengths) for part in parts]), kind="stable")
        sources, weights = (np.concatenate([getattr(part, name) for part in parts])[order] for name in ("sources", "weights"))
        blended = Mixtures(np.array(both, dtype=np.int64), sources, weights, parts[0].ends + parts[1].ends)
        return Mixtures.joined(blended, self.without(theirs), other.without(ours))

    def _ordered(self, ids: Sequence[int], total: float) -> Mixtures:
        """The mixtures of these target tokens in this order, their weights scaled to sum `total`."""
        place = {number: at for at, number in enumerate(self.ids.tolist())}
        chosen = np.array([place[number] for number in ids], dtype=np.int64)
        lengths, scale = self.lengths[chosen], self.totals[chosen]
        ends = np.cumsum([0, *lengths.tolist()], dtype=np.int64)
        inside = np.arange(ends[-1]) + np.repeat(self.ends[chosen] - ends[:-1], lengths)
        weights = total * self.weights[inside] / np.repeat(scale, lengths)
        return Mixtures(np.array(ids, dtype=np.int64), self.sources[inside], weights, ends)

    def matrix(self, targets: int, sources: int) -> Any:
        """The weights, scaled to sum 1, as a scipy.sparse.csr_array (targets, sources); rows of other tokens are empty."""
        from scipy.sparse import coo_array

        rows = np.repeat(self.ids, self.lengths)
        return coo_array((self.weights / np.repeat(self.totals, self.lengths), (rows, self.sources)), (targets, sources)).tocsr()

    def heaviest(self) -> list[tuple[int, ...]]:
        """The sources of each mixture by falling weight, at most `SHOWN`; those of weight 0 are left out."""
        from scipy.sparse import csr_array

        if not len(self):
            return []
        weights = csr_array((self.weights, self.sources, self.ends), shape=(len(self), int(self.sources.max()) + 1))
        counts = np.add.reduceat(self.weights > 0, self.ends[:-1], dtype=np.int64).tolist()
        return [tuple(row[:count]) for row, count in zip(heaviest(weights, SHOWN).tolist(), counts)]
