"""Whether a difference between two scores is more than chance: intervals that hold for few pages, exact tests, effect sizes.

Everything works on per-document samples (`samples/<task>.jsonl` of a scores artifact), never on averages. A score is a ratio of sums,
`sum(top) / sum(bottom)`: bits over bytes for bits per byte, correct answers over items for accuracy. All functions are pure and draw
nothing at random. The unit is the page, for choices as well: documents and items of one page are not independent. Where the samples name no
page (tasks of the harness), the item is the unit.

The interval is that of a ratio of sums (`tokgraft.intervals`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from tokgraft import jsonl
from tokgraft.errors import DataError
from tokgraft.intervals import FEWEST as FEWEST
from tokgraft.intervals import LEVEL, estimate

Array = npt.NDArray[np.float64]

Unit = Literal["page", "item"]


@dataclass(frozen=True)
class Samples:
    """What one model scored on one task, per unit of resampling.

    Attributes:
        ids: Name of each unit, sorted.
        top: Numerator of each unit (bits, or correct answers), shape (n,).
        bottom: Denominator of each unit (bytes, or items), shape (n,).
        unit: What a unit is.
        answers: Whether `top` counts right answers and `bottom` items.
    """

    ids: tuple[str, ...]
    top: Array
    bottom: Array
    unit: Unit = "page"
    answers: bool = False

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def score(self) -> float:
        """The ratio of sums: bits per byte, or accuracy."""
        return float(self.top.sum() / self.bottom.sum())


@dataclass(frozen=True)
class Interval:
    """A score, or the paired difference of two scores on the same documents, with its 95 % interval.

    Attributes:
        mean: The score or difference, averaged over seeds.
        low, high: Bounds.
        n: Units that it was measured on; of a difference: both scores.
        seeds: Training seeds.
        unit: What a unit is.
        p: Two-sided p-value of "no difference"; below 0.05 exactly where the interval excludes 0. NaN for a score.
        detectable: Smallest true difference that a comparison of this size and spread would find with 80 % power.
    """

    mean: float
    low: float
    high: float
    n: int
    seeds: int = 1
    unit: Unit = "page"
    p: float = math.nan
    detectable: float = math.inf

    @property
    def enough(self) -> bool:
        """Whether it was measured on enough units to claim anything."""
        return self.n >= FEWEST

    @property
    def claimed(self) -> bool:
        """Whether a difference may be claimed: enough units, and the interval excludes 0."""
        return self.enough and (self.low > 0 or self.high < 0)

    def above(self, value: float) -> bool | None:
        """Whether the score lies above a fixed value; None when the interval includes it or there are fewer than `FEWEST` units."""
        return None if not self.enough or self.low <= value <= self.high else self.low > value


def from_records(records: Iterable[Mapping[str, Any]], metric: str = "auto", unit: Unit = "page") -> Samples:
    """Group the records of a samples file into units.

    Args:
        records: Lines of `samples/<task>.jsonl`.
        metric: `bits_per_byte`, `acc`, `acc_norm` or `acc_bytes`; `auto`: what the records hold (bits_per_byte, else acc_bytes).
        unit: `page`: the pages that the records name, or the items where they name none; `item`: the items, whatever page they are of.

    Raises:
        DataError: No record, or the records do not hold that metric.
    """
    rows = list(records)
    if not rows:
        raise DataError("no sample to compare", "score the model on this task first")
    if metric == "auto":
        metric = "bits_per_byte" if "bits" in rows[0] else "acc_bytes"
    if not all("page" in row for row in rows):
        unit = "item"
    top: dict[str, float] = {}
    bottom: dict[str, float] = {}
    answers = metric != "bits_per_byte"
    for row in rows:
        try:
            name = str(row["page" if unit == "page" else "id"])
            over, under = (float(row[metric]), 1.0) if metric != "bits_per_byte" else (float(row["bits"]), float(row["bytes"]))
        except KeyError as error:
            raise DataError(f"the samples hold no {error} for {metric}", f"they hold: {', '.join(sorted(row))}") from None
        answers = answers and over in (0.0, 1.0)
        top[name] = top.get(name, 0.0) + over
        bottom[name] = bottom.get(name, 0.0) + under
    ids = tuple(sorted(top))
    return Samples(ids, np.array([top[name] for name in ids]), np.array([bottom[name] for name in ids]), unit, answers)


def read_samples(path: Path, metric: str = "auto", unit: Unit = "page") -> Samples:
    """`from_records` of a file `samples/<task>.jsonl`."""
    return from_records(jsonl.records(path, "score the model on this task (again)"), metric, unit)


def score_interval(samples: Sequence[Samples], *, level: float = LEVEL) -> Interval:
    """The mean score over seeds, with its interval.

    Args:
        samples: One entry per training seed, all on the same documents.
        level: Coverage aimed at.
    """
    top, bottom = _stack(samples)
    answers = _are_answers(samples)
    low, high = estimate(top, bottom, (0.0, 0.0, 1.0, 1.0) if answers else ()).bounds(level)
    mean = float((top.sum(1) / bottom.sum()).mean())
    return Interval(mean, max(low, 0.0), min(high, 1.0) if answers else high, len(bottom), len(samples), samples[0].unit)


def paired_difference(a: Sequence[Samples], b: Sequence[Samples], *, level: float = LEVEL) -> Interval:
    """Score of `a` minus score of `b` on the same documents, with its interval.

    Args:
        a: One entry per training seed.
        b: The same seeds in the same order; or a single entry (a control without seeds), compared with each of `a`.
        level: Coverage aimed at.

    Raises:
        DataError: The two sides were not scored on the same documents, or on numbers of seeds that cannot be paired.
    """
    if len(a) != len(b) and 1 not in (len(a), len(b)):
        raise DataError(f"{len(a)} seeds cannot be paired with {len(b)}", "compare the seeds that both have")
    seeds = max(len(a), len(b))
    a, b = (list(side) * (seeds if len(side) == 1 else 1) for side in (a, b))
    top, bottom = _stack([*a, *b])
    top = top[:seeds] - top[seeds:]
    found = estimate(top, bottom, (1.0, -1.0) if _are_answers([*a, *b]) else ())
    low, high = found.bounds(level)
    mean = float((top.sum(1) / bottom.sum()).mean())
    return Interval(mean, low, high, len(bottom), seeds, a[0].unit, found.p(), found.detectable(level))


def mcnemar(a: Samples, b: Samples) -> float:
    """Exact two-sided McNemar test of two models on the same choice items: the p-value of "equally often right".

    It takes items for independent: on several items of one page it says too small a p-value, and `paired_difference` does not.

    Raises:
        DataError: The items differ, or a unit is not right-or-wrong.
    """
    _same_documents([a, b])
    if not all(set(np.unique(side.top)) <= {0.0, 1.0} and (side.bottom == 1).all() for side in (a, b)):
        raise DataError("McNemar's test needs right-or-wrong items", 'read the samples of a choice task with unit="item"')
    only_a = int(((a.top == 1) & (b.top == 0)).sum())
    only_b = int(((a.top == 0) & (b.top == 1)).sum())
    if only_a + only_b == 0:
        return 1.0
    from scipy.stats import binomtest

    return float(binomtest(only_a, only_a + only_b).pvalue)


def wilcoxon(differences: Sequence[float]) -> float:
    """Exact two-sided signed-rank test over languages: the p-value of "differences are symmetric about 0".

    Zeros are dropped, ties share their mean rank. Enumerates by dynamic programming over the doubled ranks, so it is exact for any
    number of languages that a matrix may have.
    """
    kept = np.array([value for value in differences if value != 0.0])
    if kept.size == 0:
        return 1.0
    magnitude = np.abs(kept)
    ranks = np.array([int((magnitude < value).sum() * 2 + (magnitude == value).sum() + 1) for value in magnitude])  # doubled mean ranks
    counts = [1] + [0] * int(ranks.sum())
    for rank in ranks:
        counts = [old + (counts[total - rank] if total >= rank else 0) for total, old in enumerate(counts)]
    positive = int(ranks[kept > 0].sum())
    smaller = min(positive, int(ranks.sum()) - positive)
    return min(1.0, float(2 * sum(counts[: smaller + 1]) / 2**kept.size))


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Holm's step-down correction of several p-values (family-wise error)."""
    adjusted: dict[str, float] = {}
    highest = 0.0
    for rank, (name, value) in enumerate(sorted(p_values.items(), key=lambda item: (item[1], item[0]))):
        highest = max(highest, min(1.0, value * (len(p_values) - rank)))
        adjusted[name] = highest
    return {name: adjusted[name] for name in p_values}


def standard_error(samples: Samples) -> float:
    """Standard error of a ratio of sums over its units (linearisation); infinite for a single unit."""
    n = len(samples)
    if n < 2:
        return math.inf
    residual = (samples.top - samples.score * samples.bottom) / samples.bottom.mean()
    return float(residual.std(ddof=1)) / math.sqrt(n)


def _are_answers(samples: Sequence[Samples]) -> bool:
    """Whether units are made of right-or-wrong answers."""
    return all(one.answers for one in samples)


def _same_documents(samples: Sequence[Samples]) -> None:
    first = samples[0]
    for other in samples[1:]:
        if other.ids != first.ids or not np.array_equal(other.bottom, first.bottom):
            missing = sorted(set(first.ids) ^ set(other.ids))
            example = f", e.g. {missing[0]}" if missing else ": their sizes differ"
            raise DataError(
                f"scores of different documents cannot be paired ({len(missing)} differ{example})", "score both with the same tasks"
            )


def _stack(samples: Sequence[Samples]) -> tuple[Array, Array]:
    """(numerators, shape (entries, n); the denominators that all share, shape (n,))."""
    if not samples:
        raise DataError("no scores to compare", "give at least one seed for each side")
    _same_documents(samples)
    return np.stack([one.top for one in samples]), samples[0].bottom
