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


def right(top, bottom=None, unit="page") -> st.Samples:
    """Right answers of each unit."""
    one = make(top, bottom)
    return st.Samples(one.ids, one.top, one.bottom, unit, True)


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
    values = np.random.default_rng(3).normal(2.0, 0.5, size=4000)
    got = st.score_interval([make(values)])
    error = values.std() / math.sqrt(4000)
    assert got.mean == pytest.approx(values.mean())
    assert got.low == pytest.approx(values.mean() - 1.96 * error, abs=0.05 * error)
    assert got.high == pytest.approx(values.mean() + 1.96 * error, abs=0.05 * error)
    assert st.standard_error(make(values)) == pytest.approx(error, rel=0.01)


def test_the_error_is_that_of_the_jackknife() -> None:
    rng = np.random.default_rng(4)
    top, bottom = rng.gamma(2, 1, 12), rng.integers(1, 9, 12).astype(float)
    out = [np.delete(top, i).sum() / np.delete(bottom, i).sum() for i in range(12)]
    jackknife = math.sqrt(11 / 12 * np.sum((np.array(out) - np.mean(out)) ** 2))
    assert st.estimate(top[None], bottom, ()).error == pytest.approx(jackknife, rel=1e-9)


@pytest.mark.parametrize(("n", "chance"), [(12, 0.25), (24, 0.4), (48, 0.6)])
def test_intervals_of_accuracies_hold(n: int, chance: float) -> None:
    rng = np.random.default_rng(n)
    answers = rng.random((400, n)) < chance
    found = [st.score_interval([right(row)]) for row in answers]
    assert np.mean([one.low <= chance <= one.high for one in found]) >= 0.93
    other = np.where(rng.random((400, n)) < 0.5, answers, rng.random((400, n)) < chance)  # half of the items agree
    pairs = [st.paired_difference([right(a)], [right(b)]) for a, b in zip(answers, other, strict=True)]
    assert np.mean([one.low <= 0 <= one.high for one in pairs]) >= 0.93
    assert st.score_interval([right(np.ones(n))]).low < 1, "all right is no certainty"


@pytest.mark.parametrize(("pages", "chance", "alike"), [(10, 0.25, 0.0), (10, 0.4, 0.3), (12, 0.7, 0.6), (20, 0.95, 0.2)])
def test_intervals_of_accuracies_hold_where_items_of_a_page_are_alike(pages: int, chance: float, alike: float) -> None:
    rng = np.random.default_rng(pages)
    held, apart = [], []
    for _ in range(400):
        items = rng.poisson(3, pages) + 1  # pages have unlike numbers of items, of which a share `alike` of the variance is common
        k = (1 - alike) / alike if alike else 0
        one, other = (rng.binomial(items, rng.beta(chance * k, (1 - chance) * k, pages) if alike else chance) for _ in range(2))
        found, pair = st.score_interval([right(one, items)]), st.paired_difference([right(one, items)], [right(other, items)])
        held.append(found.low <= chance <= found.high)
        apart.append(pair.low <= 0 <= pair.high)
    assert np.mean(held) >= 0.93 and np.mean(apart) >= 0.93
    assert st.score_interval([right(items, items)]).low < 1, "all right is no certainty"


def test_items_of_one_page_are_one_unit() -> None:
    """Thirty items on three pages are three pieces of evidence; nothing is claimed of them, alone or in a pair."""
    records = [{"id": f"p{i // 10}/{i}", "page": f"p{i // 10}", "acc": 1} for i in range(30)]
    wrong = [{**record, "acc": 0} for record in records]
    ours, theirs = st.from_records(records, "acc"), st.from_records(wrong, "acc")
    assert ours.ids == ("p0", "p1", "p2") and ours.score == 1.0 and ours.bottom.tolist() == [10, 10, 10]
    found, pair = st.score_interval([ours]), st.paired_difference([ours], [theirs])
    assert (found.n, found.unit, found.above(0.25)) == (3, "page", None)
    assert (pair.n, pair.unit, pair.claimed) == (3, "page", False)
    single = st.from_records(records, "acc", "item")
    assert len(single) == 30 and single.unit == "item" and st.mcnemar(single, st.from_records(wrong, "acc", "item")) < 1e-6
    with pytest.raises(DataError, match="unit="):
        st.mcnemar(ours, theirs)


def test_items_without_pages_are_the_unit() -> None:
    records = [{"id": str(i), "acc": i % 2} for i in range(12)]
    found = st.score_interval([st.from_records(records, "acc")])
    assert (found.n, found.unit) == (12, "item")


def test_p_is_below_five_percent_exactly_where_the_interval_excludes_zero() -> None:
    rng = np.random.default_rng(6)
    seen = set()
    for _ in range(300):
        sizes = rng.integers(50, 900, 12).astype(float)
        a, b = (make(sizes * (2 + rng.gamma(1, 0.3, 12)), sizes) for _ in range(2))
        got = st.paired_difference([a], [b])
        excluded = got.low > 0 or got.high < 0
        assert excluded == (got.p < 0.05) and got.low <= got.mean <= got.high
        seen.add(excluded)
    assert seen == {True, False}


def test_nothing_is_claimed_on_few_pages() -> None:
    rng = np.random.default_rng(7)
    for n, claimed in ((st.FEWEST - 1, False), (st.FEWEST, True)):
        base = rng.normal(2, 0.1, n)
        got = st.paired_difference([make(base + 1 + rng.normal(0, 0.01, n))], [make(base)])
        assert got.low > 0 and got.p < 0.05 and got.claimed is claimed
        assert st.score_interval([make(base)]).above(0.5) is (True if claimed else None)
    alone = st.paired_difference([make([3.0])], [make([2.0])])
    assert alone.low < 0 < alone.high and not alone.claimed


def test_pairing_helps() -> None:
    rng = np.random.default_rng(11)
    sizes, hardness = rng.integers(200, 900, size=60).astype(float), rng.normal(2.0, 0.4, size=60)
    a, b = make((hardness + rng.normal(0.05, 0.1, 60)) * sizes, sizes), make(hardness * sizes, sizes)
    paired, single = st.paired_difference([a], [b]), st.score_interval([a])
    assert paired.high - paired.low < (single.high - single.low) / 2


def test_seed_level_widens_the_interval() -> None:
    rng = np.random.default_rng(5)
    base = rng.normal(2, 0.1, 100)
    a = [make(base + shift) for shift in (0.0, 0.3, -0.3, 0.1)]
    b = [make(base)] * 4
    several, single = st.paired_difference(a, b), st.paired_difference(a[:1], b[:1])
    assert single.low == pytest.approx(0) and single.high == pytest.approx(0) and single.p == 1
    error = np.std([0.0, 0.3, -0.3, 0.1], ddof=1) / 2
    assert several.high - several.low == pytest.approx(2 * 3.182 * error, rel=0.01)  # t with three degrees of freedom
    assert several.mean == pytest.approx(0.025) and several.seeds == 4 and not several.claimed


def test_one_control_is_paired_with_each_seed() -> None:
    rng = np.random.default_rng(1)
    control = make(rng.normal(2, 0.1, 50))
    seeds = [make(control.top - 0.2 + rng.normal(0, 0.02, 50)) for _ in range(3)]
    got = st.paired_difference(seeds, [control])
    assert got.high < 0 and got.claimed and got.p < 0.01
    back = st.paired_difference([control], seeds)
    assert back.mean == pytest.approx(-got.mean) and back.low == pytest.approx(-got.high)
    with pytest.raises(DataError, match="cannot be paired"):
        st.paired_difference(seeds, seeds[:2])


def test_different_documents_are_refused() -> None:
    a = make([1.0, 2.0])
    b = st.Samples(("d00000", "x"), a.top, a.bottom)
    with pytest.raises(DataError, match=r"different documents.*d00001"):
        st.paired_difference([a], [b])
    with pytest.raises(DataError, match="sizes differ"):
        st.paired_difference([a], [make([1.0, 2.0], [1.0, 3.0])])


def test_mcnemar_is_the_binomial_test() -> None:
    ours = right([1] * 9 + [0] * 1 + [1] * 20)
    wrong = right([0] * 9 + [1] * 1 + [1] * 20)
    assert st.mcnemar(ours, wrong) == pytest.approx(2 * (1 + 10) / 2**10)
    assert st.mcnemar(ours, ours) == 1.0
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


def test_the_detectable_difference_is_found_as_often_as_it_says() -> None:
    rng = np.random.default_rng(8)
    base, found = rng.normal(2, 0.3, 40), []
    size = st.paired_difference([make(base + rng.normal(0, 0.1, 40))], [make(base)]).detectable
    for _ in range(400):
        found.append(st.paired_difference([make(base + size + rng.normal(0, 0.1, 40))], [make(base)]).claimed)
    assert 0.65 <= np.mean(found) <= 0.95
