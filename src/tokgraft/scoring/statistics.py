"""Whether a difference between two scores is more than chance: intervals that hold for few pages, exact tests, effect sizes.

Everything works on per-document samples (`samples/<task>.jsonl` of a scores artifact), never on averages. A score is a ratio of sums,
`sum(top) / sum(bottom)`: bits over bytes for bits per byte, correct answers over items for accuracy. All functions are pure and draw
nothing at random. The unit is the page, for choices as well: documents and items of one page are not independent. Where the samples name no
page (tasks of the harness), the item is the unit.

The interval of a ratio of sums is Student's, made to hold for pages of natural text, which differ in length and are skewed:
- standard error by the jackknife over units;
- Hall's transformation for skewness (Hall 1992, J. R. Stat. Soc. B 54:221), which makes the interval longer on the side of the long tail;
- a third of the usual degrees of freedom, and fewer where the pages at hand have long tails: with an excess kurtosis of k the variance of
  n values is known as badly as that of n / (1 + k / 2) normal ones, pages have a k near 4, and a small sample understates its own.
docs/evaluation.md has its measured coverage beside that of other intervals. Right-or-wrong answers get pseudo-units instead: two right and
two wrong for one model (Agresti and Coull 1998), one for each side for a pair (Bonett and Price 2012), each as large as the mean page.

Training seeds are *crossed* with documents (every seed is scored on the same ones): the half-widths over pages and over seeds, each with
its own degrees of freedom, are added as squares, so two or three seeds give a wide interval.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy import special

from tokgraft import jsonl
from tokgraft.errors import DataError

Array = npt.NDArray[np.float64]

LEVEL = 0.95
POWER = 0.8
Unit = Literal["page", "item"]
FEWEST = 10
"""Units (pages; items where these have no pages) below which nothing is claimed: no ranking, no better or worse, whatever the interval says."""
KURTOSIS = 3.0  # how many times fewer degrees of freedom pages give than normal values, at least


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
    """A score with its 95 % interval.

    Attributes:
        mean: The score, averaged over seeds.
        low, high: Bounds.
        n: Units that it was measured on.
        seeds: Training seeds.
        unit: What a unit is.
    """

    mean: float
    low: float
    high: float
    n: int
    seeds: int = 1
    unit: Unit = "page"

    def above(self, value: float) -> bool | None:
        """Whether the score lies above a fixed value; None when the interval includes it or there are fewer than `FEWEST` units."""
        return None if self.n < FEWEST or self.low <= value <= self.high else self.low > value


@dataclass(frozen=True)
class Difference:
    """Score of A minus score of B on the same documents.

    Attributes:
        mean: Difference of the scores.
        low, high: Bounds of the 95 % interval.
        n: Units that both were measured on.
        seeds: Training seeds.
        p: Two-sided p-value of "no difference"; below 0.05 exactly where the interval excludes 0.
        detectable: Smallest true difference that a comparison of this size and spread would find with 80 % power.
        unit: What a unit is.
    """

    mean: float
    low: float
    high: float
    n: int
    seeds: int
    p: float
    detectable: float = math.inf
    unit: Unit = "page"

    @property
    def enough(self) -> bool:
        """Whether it was measured on enough units to claim anything."""
        return self.n >= FEWEST

    @property
    def claimed(self) -> bool:
        """Whether a ranking may be claimed: enough units, and the interval excludes 0."""
        return self.enough and (self.low > 0 or self.high < 0)


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
    low, high = _estimate(top, bottom, (0.0, 0.0, 1.0, 1.0) if answers else ()).bounds(level)
    mean = float((top.sum(1) / bottom.sum()).mean())
    return Interval(mean, max(low, 0.0), min(high, 1.0) if answers else high, len(bottom), len(samples), samples[0].unit)


def paired_difference(a: Sequence[Samples], b: Sequence[Samples], *, level: float = LEVEL) -> Difference:
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
    found = _estimate(top, bottom, (1.0, -1.0) if _are_answers([*a, *b]) else ())
    low, high = found.bounds(level)
    mean = float((top.sum(1) / bottom.sum()).mean())
    return Difference(mean, low, high, len(bottom), seeds, found.p(), found.detectable(level), a[0].unit)


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


@dataclass(frozen=True)
class _Estimate:
    """A ratio of sums and what is known of its error.

    Attributes:
        centre: The ratio; for items with the pseudo-items in it.
        parts: (standard error, degrees of freedom) of each independent source of error: pages, and seeds where there are several.
        bend: Skewness of the estimate's distribution, 0: symmetric.
    """

    centre: float
    parts: tuple[tuple[float, float], ...]
    bend: float

    @property
    def error(self) -> float:
        """Standard error of all parts together."""
        return math.hypot(*(error for error, _ in self.parts))

    def _reach(self, tail: float) -> float:
        """Standard errors from the centre to the bound of a symmetric interval with so much probability beyond each bound."""
        return math.hypot(*(error * float(special.stdtrit(freedom, 1 - tail)) for error, freedom in self.parts)) / self.error

    def bounds(self, level: float) -> tuple[float, float]:
        """The interval."""
        if self.error == 0:
            return self.centre, self.centre
        reach = self._reach((1 - level) / 2)
        return self.centre - self.error * self._unbent(reach), self.centre - self.error * self._unbent(-reach)

    def p(self) -> float:
        """Two-sided p-value of a true ratio of 0: one minus the level of the interval that ends there."""
        if self.error == 0:
            return 1.0 if self.centre == 0 else 0.0
        away = abs(self._bent(self.centre / self.error))
        if len(self.parts) == 1:
            return float(2 * special.stdtr(self.parts[0][1], -away))
        low, high = 1e-12, 0.5  # the reach falls while the tail grows
        for _ in range(60):
            middle = math.sqrt(low * high)
            low, high = (middle, high) if self._reach(middle) > away else (low, middle)
        return 2 * high

    def detectable(self, level: float) -> float:
        """Smallest true ratio that would be told from 0 with 80 % power (without the skewness)."""
        return 0.0 if self.error == 0 else self.error * (self._reach((1 - level) / 2) + float(special.ndtri(POWER)))

    def _bent(self, value: float) -> float:
        """Hall's transformation of a studentised value: ((1 + bend x / 3)^3 - 1) / bend + bend / 6."""
        bend = self.bend
        return value + bend * value**2 / 3 + bend**2 * value**3 / 27 + bend / 6

    def _unbent(self, value: float) -> float:
        """The inverse of `_bent`."""
        bend = self.bend
        return value if abs(bend) < 1e-6 else float(3 / bend * (np.cbrt(1 + bend * (value - bend / 6)) - 1))


def _estimate(top: Array, bottom: Array, pseudo: Sequence[float]) -> _Estimate:
    """The mean over seeds of `top.sum(1) / bottom.sum()`.

    Args:
        top: (seeds, n).
        bottom: (n,), the same for all seeds.
        pseudo: Score of each unit of mean size that is added to right-or-wrong answers; empty: the units are of text.
    """
    seeds = len(top)
    added = np.asarray(pseudo, dtype=float) * bottom.mean()
    units, sizes = np.append(top.mean(0), added), np.append(bottom, np.full(len(added), bottom.mean()))
    n, whole = len(units), sizes.sum()
    centre = float(units.sum() / whole)
    if n == 1:
        return _Estimate(centre, ((abs(centre) or 1.0, 1.0),), 0.0)  # a single page says nothing of its spread
    residuals = units - centre * sizes
    influence = residuals / (whole - sizes) * (n - 1)  # n - 1 times what leaving a unit out changes
    pages, freedom, bend = float(influence.std(ddof=1)) / math.sqrt(n), float(n - 1), 0.0
    if not pseudo:
        skewness, kurtosis = _shape(residuals)
        freedom, bend = max(freedom / max(KURTOSIS, 1 + kurtosis), 1.0), skewness / math.sqrt(n)
    if seeds == 1:
        return _Estimate(centre, ((pages, freedom),), bend)
    runs = float((top.sum(1) / bottom.sum()).std(ddof=1)) / math.sqrt(seeds)
    whole_error = math.hypot(pages, runs)
    return _Estimate(centre, ((pages, freedom), (runs, seeds - 1.0)), bend * (pages / whole_error) ** 3 if whole_error else 0.0)


def _shape(values: Array) -> tuple[float, float]:
    """Sample skewness (adjusted Fisher-Pearson) and excess kurtosis; 0 where they are not defined."""
    n = len(values)
    away = values - values.mean()
    spread = float((away**2).mean())
    if n < 3 or spread == 0:
        return 0.0, 0.0
    skewness = float((away**3).mean() / spread**1.5 * math.sqrt(n * (n - 1)) / (n - 2))
    return skewness, float((away**4).mean() / spread**2 - 3)


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
