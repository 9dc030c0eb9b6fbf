"""Whether a difference between two scores is more than chance: paired bootstrap, exact tests, effect sizes.

Everything works on per-document samples (`samples/<task>.jsonl` of a scores artifact), never on averages. A score is a ratio of sums,
`sum(top) / sum(bottom)`: bits over bytes for bits per byte, correct answers over items for accuracy. All functions are pure, numpy only,
and give the same numbers for the same seed.

Design of the resampling: documents and training seeds are *crossed* (every seed is scored on the same documents), so one draw resamples
the seeds with replacement and, independently, the units with replacement; the same draw is applied to both sides of a comparison, which
is what makes it paired. The unit is the page for bits per byte (documents of one page are not independent) and the item for choices.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tokgraft import jsonl
from tokgraft.errors import DataError

Array = npt.NDArray[np.float64]

DRAWS = 10_000
LEVEL = 0.95
_CHUNK = 4_000_000  # counts held at once while resampling


@dataclass(frozen=True)
class Samples:
    """What one model scored on one task, per unit of resampling.

    Attributes:
        ids: Name of each unit, sorted.
        top: Numerator of each unit (bits, or correct answers), shape (n,).
        bottom: Denominator of each unit (bytes, or items), shape (n,).
    """

    ids: tuple[str, ...]
    top: Array
    bottom: Array

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def score(self) -> float:
        """The ratio of sums: bits per byte, or accuracy."""
        return float(self.top.sum() / self.bottom.sum())


@dataclass(frozen=True)
class Interval:
    """A score with its bootstrap interval."""

    mean: float
    low: float
    high: float
    n: int
    seeds: int = 1


@dataclass(frozen=True)
class Difference:
    """Score of A minus score of B on the same documents.

    Attributes:
        mean: Difference of the scores (not the mean of the draws).
        low, high: Percentile bootstrap interval.
        n: Units that were resampled.
        seeds: Training seeds that were resampled.
        p: Two-sided bootstrap p-value of "no difference", at least 1 / (draws + 1).
    """

    mean: float
    low: float
    high: float
    n: int
    seeds: int
    p: float

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval excludes 0: only then may a ranking be claimed."""
        return self.low > 0 or self.high < 0


def from_records(records: Iterable[Mapping[str, Any]], metric: str = "auto") -> Samples:
    """Group the records of a samples file into units.

    Args:
        records: Lines of `samples/<task>.jsonl`.
        metric: `bits_per_byte` (unit: page), `acc`, `acc_norm` or `acc_bytes` (unit: item); `auto`: what the records hold
            (bits_per_byte, else acc_bytes).

    Raises:
        DataError: No record, or the records do not hold that metric.
    """
    rows = list(records)
    if not rows:
        raise DataError("no sample to compare", "score the model on this task first")
    if metric == "auto":
        metric = "bits_per_byte" if "bits" in rows[0] else "acc_bytes"
    top: dict[str, float] = {}
    bottom: dict[str, float] = {}
    for row in rows:
        try:
            if metric == "bits_per_byte":
                unit, over, under = str(row["page"]), float(row["bits"]), float(row["bytes"])
            else:
                unit, over, under = str(row["id"]), float(row[metric]), 1.0
        except KeyError as error:
            raise DataError(f"the samples hold no {error} for {metric}", f"they hold: {', '.join(sorted(row))}") from None
        top[unit] = top.get(unit, 0.0) + over
        bottom[unit] = bottom.get(unit, 0.0) + under
    ids = tuple(sorted(top))
    return Samples(ids, np.array([top[unit] for unit in ids]), np.array([bottom[unit] for unit in ids]))


def read_samples(path: Path, metric: str = "auto") -> Samples:
    """`from_records` of a file `samples/<task>.jsonl`."""
    return from_records(jsonl.records(path, "score the model on this task (again)"), metric)


def bootstrap_interval(samples: Sequence[Samples], *, draws: int = DRAWS, seed: int = 0, level: float = LEVEL) -> Interval:
    """The mean score over seeds, with its interval.

    Args:
        samples: One entry per training seed, all on the same documents.
        draws: Bootstrap draws.
        seed: Seed of the draws.
        level: Coverage aimed at.
    """
    top, bottom = _stack(samples)
    scores = top.sum(1) / bottom.sum(1)
    drawn = _draw_scores([(top, bottom)], draws, seed)[0]
    low, high = np.quantile(drawn, _tails(level))
    return Interval(float(scores.mean()), float(low), float(high), top.shape[1], len(samples))


def paired_difference(
    a: Sequence[Samples], b: Sequence[Samples], *, draws: int = DRAWS, seed: int = 0, level: float = LEVEL
) -> Difference:  # fmt: skip
    """Score of `a` minus score of `b` with a paired, over seeds hierarchical, percentile bootstrap interval.

    Args:
        a: One entry per training seed.
        b: The same seeds in the same order; or a single entry (a control without seeds), compared with each of `a`.
        draws: Bootstrap draws.
        seed: Seed of the draws: the same for all comparisons, so that all see the same resampled documents.
        level: Coverage aimed at.

    With fewer than about five seeds the interval underestimates what another set of seeds would give: the seeds that were run stand for
    all that could have been.

    Raises:
        DataError: The two sides were not scored on the same documents, or on numbers of seeds that cannot be paired.
    """
    if len(a) != len(b) and 1 not in (len(a), len(b)):
        raise DataError(f"{len(a)} seeds cannot be paired with {len(b)}", "compare the seeds that both have")
    seeds = max(len(a), len(b))
    a, b = (list(side) * (seeds if len(side) == 1 else 1) for side in (a, b))
    _same_documents([*a, *b])
    left, right = _stack(a), _stack(b)
    drawn_a, drawn_b = _draw_scores([left, right], draws, seed)
    drawn = drawn_a - drawn_b
    mean = (left[0].sum(1) / left[1].sum(1)).mean() - (right[0].sum(1) / right[1].sum(1)).mean()
    low, high = np.quantile(drawn, _tails(level))
    return Difference(float(mean), float(low), float(high), left[0].shape[1], seeds, _p_value(drawn))


def mcnemar(a: Samples, b: Samples) -> float:
    """Exact two-sided McNemar test of two models on the same choice items: the p-value of "equally often right".

    Raises:
        DataError: The items differ, or a unit is not right-or-wrong.
    """
    _same_documents([a, b])
    if not all(set(np.unique(side.top)) <= {0.0, 1.0} and (side.bottom == 1).all() for side in (a, b)):
        raise DataError("McNemar's test needs right-or-wrong items", "use it for choice tasks")
    only_a = int(((a.top == 1) & (b.top == 0)).sum())
    only_b = int(((a.top == 0) & (b.top == 1)).sum())
    n = only_a + only_b
    return min(1.0, float(2 * sum(math.comb(n, k) for k in range(min(only_a, only_b) + 1)) / 2**n))


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


def detectable(a: Samples, b: Samples, *, power: float = 0.8, level: float = LEVEL) -> float:
    """Smallest true difference that a paired comparison of this size would find with the given power (normal approximation).

    Uses the linearised per-unit differences of the two ratios of sums.
    """
    from statistics import NormalDist

    _same_documents([a, b])
    n = len(a)
    if n < 2:
        return math.inf
    unit = (a.top - a.score * a.bottom) / a.bottom.mean() - (b.top - b.score * b.bottom) / b.bottom.mean()
    error = float(unit.std(ddof=1)) / math.sqrt(n)
    return (NormalDist().inv_cdf(0.5 + level / 2) + NormalDist().inv_cdf(power)) * error


def standard_error(samples: Samples) -> float:
    """Standard error of a ratio of sums over its units (linearisation); infinite for a single unit."""
    n = len(samples)
    if n < 2:
        return math.inf
    residual = (samples.top - samples.score * samples.bottom) / samples.bottom.mean()
    return float(residual.std(ddof=1)) / math.sqrt(n)


def _tails(level: float) -> list[float]:
    return [(1 - level) / 2, (1 + level) / 2]


def _p_value(drawn: Array) -> float:
    below, above = int((drawn <= 0).sum()), int((drawn >= 0).sum())
    return min(1.0, 2 * (min(below, above) + 1) / (len(drawn) + 1))


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
    if not samples:
        raise DataError("no scores to compare", "give at least one seed for each side")
    _same_documents(samples)
    return np.stack([one.top for one in samples]), np.stack([one.bottom for one in samples])


def _draw_scores(sides: Sequence[tuple[Array, Array]], draws: int, seed: int) -> list[Array]:
    """Bootstrap draws of each side's mean score over seeds; every side sees the same resampled seeds and units."""
    seeds, n = sides[0][0].shape
    out: list[list[Array]] = [[] for _ in sides]
    for units, weights in _resampling(draws, n, seeds, seed):
        for collected, (top, bottom) in zip(out, sides, strict=True):
            collected.append(((units @ top.T) / (units @ bottom.T) * weights).sum(1))
    return [np.concatenate(collected) for collected in out]


@lru_cache(maxsize=2)
def _resampling(draws: int, n: int, seeds: int, seed: int) -> tuple[tuple[Array, Array], ...]:
    """Chunks of (counts of units, weights of seeds). Kept, because a table compares many models on the same documents."""
    rng = np.random.default_rng(seed)
    rows = max(1, min(draws, _CHUNK // max(n, seeds)))
    sizes = [min(rows, draws - start) for start in range(0, draws, rows)]
    return tuple((_counts(rng, size, n), _counts(rng, size, seeds) / seeds) for size in sizes)


def _counts(rng: np.random.Generator, rows: int, n: int) -> Array:
    """How often each of `n` things is drawn in `rows` draws of n with replacement, shape (rows, n)."""
    drawn = rng.integers(0, n, size=(rows, n)) + np.arange(rows)[:, None] * n
    return np.bincount(drawn.ravel(), minlength=rows * n).reshape(rows, n).astype(np.float64)
