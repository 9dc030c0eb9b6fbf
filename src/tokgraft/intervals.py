"""Intervals of ratios of sums over pages, made to hold for few of them: of scores, of differences of scores, of metrics of tokenizers.

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
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

Array = npt.NDArray[np.float64]

LEVEL = 0.95
POWER = 0.8
FEWEST = 10
"""Units (pages; items where these have no pages) below which nothing is claimed: no ranking, no better or worse, whatever the interval says."""
KURTOSIS = 3.0  # how many times fewer degrees of freedom pages give than normal values, at least


def ratio_bounds(top: npt.ArrayLike, bottom: npt.ArrayLike, *, level: float = LEVEL) -> tuple[float, float]:
    """The interval of `top.sum() / bottom.sum()`, both at least 0.

    Args:
        top, bottom: A value of each page, shape (pages,).
        level: Coverage aimed at.
    """
    low, high = estimate(np.asarray(top, dtype=float)[None], np.asarray(bottom, dtype=float), ()).bounds(level)
    return max(low, 0.0), high


@dataclass(frozen=True)
class Estimate:
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


def estimate(top: Array, bottom: Array, pseudo: Sequence[float]) -> Estimate:
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
        return Estimate(centre, ((abs(centre) or 1.0, 1.0),), 0.0)  # a single page says nothing of its spread
    residuals = units - centre * sizes
    influence = residuals / (whole - sizes) * (n - 1)  # n - 1 times what leaving a unit out changes
    pages, freedom, bend = float(influence.std(ddof=1)) / math.sqrt(n), float(n - 1), 0.0
    if not pseudo:
        skewness, kurtosis = _shape(residuals)
        freedom, bend = max(freedom / max(KURTOSIS, 1 + kurtosis), 1.0), skewness / math.sqrt(n)
    if seeds == 1:
        return Estimate(centre, ((pages, freedom),), bend)
    runs = float((top.sum(1) / bottom.sum()).std(ddof=1)) / math.sqrt(seeds)
    whole_error = math.hypot(pages, runs)
    return Estimate(centre, ((pages, freedom), (runs, seeds - 1.0)), bend * (pages / whole_error) ** 3 if whole_error else 0.0)


def _shape(values: Array) -> tuple[float, float]:
    """Sample skewness (adjusted Fisher-Pearson) and excess kurtosis; 0 where they are not defined."""
    n = len(values)
    away = values - values.mean()
    spread = float((away**2).mean())
    if n < 3 or spread == 0:
        return 0.0, 0.0
    skewness = float((away**3).mean() / spread**1.5 * math.sqrt(n * (n - 1)) / (n - 2))
    return skewness, float((away**4).mean() / spread**2 - 3)
