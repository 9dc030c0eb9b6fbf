"""Intervals hold for few pages and few seeds, by simulation of pages like the real ones."""

from __future__ import annotations

import numpy as np
import pytest

from tests.bench.coverage import DIFFERENCES, PAGES, SCORES, covered, ours, percentile, seeds_covered


@pytest.mark.parametrize("pages", PAGES)
@pytest.mark.parametrize("name", [*SCORES, *DIFFERENCES])
def test_intervals_hold_for_few_pages(pages: int, name: str) -> None:
    """95 % intervals of bits per byte hold the truth in at least 93 % of simulated experiments with pages like the real ones."""
    one = {**SCORES, **DIFFERENCES}[name]
    bits, sizes = one.sample(np.random.default_rng(pages), 1000, pages)
    share = covered(ours(bits, sizes, name in SCORES), one.mean)
    assert share >= 0.93
    if pages == 10:
        assert covered(percentile(bits, sizes), one.mean) < 0.91, "the simulation would not have found what percentiles hide"


@pytest.mark.parametrize("seeds", [2, 3, 5])
@pytest.mark.parametrize("between", [0.0, 0.02, 0.1])
def test_intervals_hold_for_few_seeds(seeds: int, between: float) -> None:
    assert seeds_covered(seeds, between, 20, 400, np.random.default_rng(seeds)) >= 0.93
