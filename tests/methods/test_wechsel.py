"""`wechsel`, and the common word space and nearest tokens that it shares: hand-made cases, bad input."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import toyspaces
from tokgraft import methods
from tokgraft.errors import ConfigError, DataError
from tokgraft.numerics import nearest as _nearest
from tokgraft.numerics.linear import procrustes
from tokgraft.numerics.nearest import nearest
from tokgraft.numerics.similarity import unit_rows
from tokgraft.rows.words import AlignedParams, common_space, neighbours

SOURCE = toyspaces.vocabulary(" house", " tree", " dog", "1", b"\xc3")
TARGET = toyspaces.vocabulary(" Haus", " Baum", "1", b"\xc3", " ?")
ENGLISH = {"house": [1, 0, 0], "tree": [0, 1, 0], "dog": [0, 0, 1], "1": [1, 1, 1]}
GERMAN = {"Haus": [1, 0.2, 0], "Baum": [0, 1, 0], "1": [1, 1, 0.9]}


def small(**changes: Any) -> Any:
    return toyspaces.task(SOURCE, TARGET, {**toyspaces.resources(ENGLISH, GERMAN, 3), **changes})


def test_weights_by_hand() -> None:
    rows = methods.apply("wechsel", small(), {"neighbors": 2})
    length = np.sqrt(1.04)
    cosines = {1: (1 / length, 1.2 / np.sqrt(3) / length), 2: (1, 1 / np.sqrt(3))}  # Haus: house, 1; Baum: tree, 1
    for number, (near, first) in {1: (cosines[1], 1), 2: (cosines[2], 2)}.items():
        weights = np.exp(np.array(near) / 0.1) / np.exp(np.array(near) / 0.1).sum()
        expected = np.zeros(6)
        expected[[first, 4]] = weights
        assert np.allclose(rows.input[number], expected, atol=1e-6)
        assert rows.provenance[number].sources == (first, 4)
    # The digit is a mixture although both vocabularies have it; a byte without a vector is copied; the rest is random.
    assert [row.how for row in rows.provenance] == ["role", "combined", "combined", "combined", "copied", "random"]
    assert 0 < rows.input[3, 4] < 1
    random = methods.apply("wechsel", small(), {"neighbors": 2, "copy_unknown": False})
    assert [row.how for row in random.provenance][4:] == ["random", "random"]


def test_rotation_is_found_and_case_variants_count() -> None:
    loaded = toyspaces.resources(ENGLISH, GERMAN, 3)
    space = common_space(small(), AlignedParams())
    assert np.allclose(space.rotation, toyspaces.rotation(3), atol=1e-5)
    assert space.pairs == 9 * 4  # three spellings each, of which two are one: e0, e0 and E0
    both = loaded["word_vectors"]
    one = replace(both.target, words=("Tag", "tag")), replace(both.english, words=("day",))
    few = toyspaces.Both(toyspaces.Words(one[0].words, both.target.vectors[:2]), toyspaces.Words(one[1].words, both.english.vectors[:1]))
    found = common_space(small(word_vectors=few, dictionary=(("day", "TAG", 0.5),)), AlignedParams())
    assert found.pairs == 4  # "day" as it is and in lower case, with "tag" in lower and title case


def test_dictionary_weights_turn_the_space() -> None:
    vectors = np.eye(2, dtype=np.float32)
    both = toyspaces.Both(toyspaces.Words(("links", "oben"), vectors), toyspaces.Words(("left", "up"), vectors))
    entries = (("left", "links", 1.0), ("up", "oben", 1.0)) + (("left", "oben", 0.1), ("up", "links", 0.1)) * 4
    given = small(word_vectors=both, dictionary=entries)
    plain, weighted = (common_space(given, AlignedParams(dictionary_weights=choice)).rotation for choice in (False, True))
    assert np.allclose(plain, [[0, 1], [1, 0]], atol=1e-6)  # four doubtful entries outvote one good one
    assert np.allclose(weighted, np.eye(2), atol=1e-6)


def test_procrustes_beats_every_other_rotation() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 5)), rng.normal(size=(40, 5))
    best = np.linalg.norm(x @ procrustes(x.T @ y) - y)
    assert all(np.linalg.norm(x @ toyspaces.rotation(5, seed) - y) >= best for seed in range(50))


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize(("width", "cone"), [(6, 0.0), (20, 0.0), (20, 5.0)])  # at 5 all cosines are above 0.9
@pytest.mark.parametrize(("queries", "anchors", "k"), [(50, 700, 10), (3, 10, 10), (200, 37, 1), (1, 5000, 10)])
def test_nearest_are_the_nearest(
    monkeypatch: pytest.MonkeyPatch, queries: int, anchors: int, k: int, width: int, cone: float, fast: bool
) -> None:
    rng = np.random.default_rng(queries)
    left, right = rng.normal(cone, size=(queries, width)), rng.normal(cone, size=(anchors, width))
    right[anchors // 2] = right[0]  # a tie
    exact = unit_rows(left) @ unit_rows(right).T
    order = np.lexsort((np.broadcast_to(np.arange(anchors), exact.shape), -np.round(exact, 9)), axis=1)[:, :k]
    places, cosines = nearest(left, right, k, fast=fast)
    assert np.array_equal(places, order)
    assert np.allclose(cosines, np.take_along_axis(exact, order, axis=1), atol=1e-12)
    monkeypatch.setattr(_nearest, "BLOCK", 1000)
    monkeypatch.setattr(_nearest, "EXACT", 7)
    monkeypatch.setattr(_nearest, "QUERIES", 9)
    again = nearest(left, right, k, fast=fast)
    assert np.array_equal(again[0], places) and np.allclose(again[1], cosines, atol=1e-12)


def test_bounds_leave_few_candidates_and_no_query_unclear() -> None:
    rng = np.random.default_rng(0)
    left, right = (unit_rows(rng.normal(3, size=(size, 50)) * 0.9 ** np.arange(50)) for size in (100, 5000))
    rows, columns, unclear = _nearest._Bounds(left, right, 10)(0, 100)
    best = np.argpartition(-left @ right.T, 9, axis=1)[:, :10]
    assert not len(unclear) and len(rows) < 100 * 100
    assert {(row, column) for row, found in enumerate(best.tolist()) for column in found} <= set(zip(rows.tolist(), columns.tolist()))


def test_queries_that_bounds_leave_unclear_are_found_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    left, right = rng.normal(3, size=(60, 20)), rng.normal(3, size=(900, 20))
    monkeypatch.setattr(_nearest, "MANY", 14)
    unclear = _nearest._Bounds(unit_rows(left), unit_rows(right), 10)(0, 60)[2]
    assert 0 < len(unclear) < 60
    assert np.array_equal(nearest(left, right, 10, fast=True)[0], nearest(left, right, 10, fast=False)[0])


@pytest.mark.parametrize("fast", [False, True])
def test_equal_cosines_are_decided_by_order(fast: bool) -> None:
    right = np.repeat(np.random.default_rng(0).normal(size=(3, 4)), 400, axis=0)
    places, _ = nearest(right[[0, 500, 1199]], right, 10, fast=fast)
    assert np.array_equal(places, np.arange(10) + np.array([[0], [400], [800]]))


def test_bad_input_is_explained() -> None:
    with pytest.raises(DataError, match="4 source tokens have a vector, 10 are needed"):
        methods.apply("wechsel", small(), {})
    with pytest.raises(DataError, match="none of the 1 entries of the dictionary"):
        methods.apply("wechsel", small(dictionary=(("nothing", "nichts", 1.0),)), {})
    with pytest.raises(DataError, match="none of the 0 entries"):
        methods.apply("wechsel", small(dictionary=()), {})
    both = small().resources["word_vectors"]
    zeros = replace(both.target, vectors=np.zeros_like(both.target.vectors))
    with pytest.raises(DataError, match="none of the 9 entries of the dictionary has a vector"):
        methods.apply("wechsel", small(word_vectors=replace(both, target=zeros)), {})
    with pytest.raises(DataError, match="NaN"):
        methods.apply(
            "wechsel", small(word_vectors=replace(both, english=replace(both.english, vectors=both.english.vectors * np.nan))), {}
        )
    with pytest.raises(DataError, match="3 and 2 dimensions"):
        methods.apply("wechsel", small(word_vectors=replace(both, english=replace(both.english, vectors=both.english.vectors[:, :2]))), {})
    with pytest.raises(DataError, match="no target token has a vector"):
        methods.apply("wechsel", small(word_vectors=replace(both, target=replace(both.target, others={}))), {"neighbors": 1})
    with pytest.raises(DataError, match="vectors of tokens hold NaN"):
        neighbours(small(), np.full((6, 3), np.nan), np.ones((6, 3)), [1], 1)
    with pytest.raises(ConfigError, match=r"made without (load_target_)?segmenter"):
        methods.apply("wechsel", small(), {"subword": "words"})
    with pytest.raises(ConfigError, match="temperature"):
        methods.parse("wechsel", {"temperature": 0})
    with pytest.raises(ConfigError, match="did you mean neighbors"):
        methods.parse("wechsel", {"neighbours": 3})
