"""The statistics against closed forms, enumeration and simulation."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from tokgraft.errors import DataError
from tokgraft.scoring import statistics as st


def make(top, bottom=None) -> st.Samples:
    top = np.asarray(top, dtype=float)
    bottom = np.ones_like(top) if bottom is None else np.asarray(bottom, dtype=float)
    return st.Samples(tuple(f"d{i:05d}" for i in range(len(top))), top, bottom)


def test_score_is_ratio_of_sums_and_pages_are_the_unit() -> None:
    records = [
        {"id": "p#0", "page": "p", "bits": 10.0, "bytes": 5},
        {"id": "p#1", "page": "p", "bits": 2.0, "bytes": 1},
        {"id": "q#0", "page": "q", "bits": 4.0, "bytes": 4},
    ]
    samples = st.from_records(records)
    assert samples.ids == ("p", "q")
    assert samples.score == pytest.approx(16 / 10)
    with pytest.raises(DataError, match="acc"):
        st.from_records(records, "acc")


def test_interval_of_the_mean_matches_the_normal_approximation() -> None:
    values = np.random.default_rng(3).normal(2.0, 0.5, size=400)
    got = st.bootstrap_interval([make(values)], draws=20_000)
    error = values.std() / math.sqrt(400)
    assert got.mean == pytest.approx(values.mean())
    assert got.low == pytest.approx(values.mean() - 1.96 * error, abs=0.15 * error)
    assert got.high == pytest.approx(values.mean() + 1.96 * error, abs=0.15 * error)
    assert st.standard_error(make(values)) == pytest.approx(error, rel=0.01)


def test_small_bootstrap_equals_full_enumeration() -> None:
    top, bottom = np.array([3.0, 1.0, 2.0]), np.array([2.0, 1.0, 4.0])
    exact = [top[list(pick)].sum() / bottom[list(pick)].sum() for pick in itertools.product(range(3), repeat=3)]
    drawn = st._draw_scores([(top[None], bottom[None])], 60_000, 0)[0]
    assert drawn.mean() == pytest.approx(np.mean(exact), abs=0.01)
    assert drawn.std() == pytest.approx(np.std(exact), rel=0.02)


def test_paired_coverage_is_near_nominal_and_pairing_helps() -> None:
    rng = np.random.default_rng(11)
    covered, narrow = 0, 0
    for trial in range(300):
        sizes = rng.integers(200, 900, size=60).astype(float)
        hardness = rng.normal(2.0, 0.4, size=60)
        a = make((hardness + rng.normal(0.05, 0.1, 60)) * sizes, sizes)
        b = make(hardness * sizes, sizes)
        got = st.paired_difference([a], [b], draws=600, seed=trial)
        covered += got.low <= 0.05 <= got.high
        narrow += (got.high - got.low) < (lambda one: one.high - one.low)(st.bootstrap_interval([a], draws=200, seed=trial))
    assert 0.90 <= covered / 300 <= 0.98
    assert narrow == 300


def test_seed_level_widens_the_interval() -> None:
    rng = np.random.default_rng(5)
    base = rng.normal(2, 0.1, 100)
    a = [make(base + shift) for shift in (0.0, 0.3, -0.3, 0.1)]
    b = [make(base)] * 4
    several = st.paired_difference(a, b, draws=4000)
    single = st.paired_difference(a[:1], b[:1], draws=4000)
    assert single.low == pytest.approx(0) and single.high == pytest.approx(0)
    spread = np.std([0.0, 0.3, -0.3, 0.1]) / 2
    assert several.high - several.low == pytest.approx(2 * 1.96 * spread, rel=0.15)
    assert several.mean == pytest.approx(0.025) and several.seeds == 4 and not several.excludes_zero


def test_one_control_is_paired_with_each_seed() -> None:
    rng = np.random.default_rng(1)
    control = make(rng.normal(2, 0.1, 50))
    seeds = [make(control.top - 0.2 + rng.normal(0, 0.02, 50)) for _ in range(3)]
    got = st.paired_difference(seeds, [control], draws=2000)
    assert got.high < 0 and got.excludes_zero and got.p < 0.01
    back = st.paired_difference([control], seeds, draws=2000)
    assert back.mean == pytest.approx(-got.mean) and back.low == pytest.approx(-got.high)
    with pytest.raises(DataError, match="cannot be paired"):
        st.paired_difference(seeds, seeds[:2])


def test_same_seed_same_numbers_and_chunks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    a, b = make(rng.random(40)), make(rng.random(40))
    assert st.paired_difference([a], [b], draws=500) == st.paired_difference([a], [b], draws=500)
    monkeypatch.setattr(st, "_CHUNK", 4_000)
    assert st.paired_difference([a], [b], draws=500).mean == st.paired_difference([a], [b], draws=500).mean


def test_different_documents_are_refused() -> None:
    a = make([1.0, 2.0])
    b = st.Samples(("d00000", "x"), a.top, a.bottom)
    with pytest.raises(DataError, match=r"different documents.*d00001"):
        st.paired_difference([a], [b])
    with pytest.raises(DataError, match="sizes differ"):
        st.paired_difference([a], [make([1.0, 2.0], [1.0, 3.0])])


def test_mcnemar_is_the_binomial_test() -> None:
    right = make([1] * 9 + [0] * 1 + [1] * 20)
    wrong = make([0] * 9 + [1] * 1 + [1] * 20)
    assert st.mcnemar(right, wrong) == pytest.approx(2 * (1 + 10) / 2**10)
    assert st.mcnemar(right, right) == 1.0
    with pytest.raises(DataError, match="right-or-wrong"):
        st.mcnemar(make([0.5]), make([0.5]))


def test_wilcoxon_equals_enumeration() -> None:
    values = [0.5, -0.2, 0.9, 0.2, 1.4, -0.1, 0.0]
    kept = np.array([value for value in values if value])
    order = np.abs(kept)
    ranks = np.array([np.mean([i + 1 for i, other in enumerate(sorted(order)) if other == one]) for one in order])
    observed = min(ranks[kept > 0].sum(), ranks[kept < 0].sum())
    signs = itertools.product([0, 1], repeat=len(kept))
    extreme = np.mean([(ranks * np.array(sign)).sum() <= observed for sign in signs])
    assert st.wilcoxon(values) == pytest.approx(min(1.0, 2 * extreme))
    assert st.wilcoxon([0.1] * 8) == pytest.approx(2 / 2**8)
    assert st.wilcoxon([0.0]) == 1.0


def test_holm_steps_down() -> None:
    assert st.holm({"a": 0.01, "b": 0.04, "c": 0.03}) == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06})


def test_detectable_effect_scales_with_size() -> None:
    rng = np.random.default_rng(8)
    small_a, small_b = make(rng.normal(0.3, 0.1, 100)), make(rng.normal(0.3, 0.1, 100))
    large = st.detectable(make(np.tile(small_a.top, 4)), make(np.tile(small_b.top, 4)))
    assert st.detectable(small_a, small_b) == pytest.approx(2 * large, rel=0.02)
    assert st.detectable(small_a, small_b) == pytest.approx((1.95996 + 0.84162) * np.std(small_a.top - small_b.top, ddof=1) / 10, rel=0.03)
    assert st.detectable(make([1.0]), make([1.0])) == math.inf
