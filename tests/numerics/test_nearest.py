"""The nearest rows of a table beside all products and distances."""

from __future__ import annotations

import numpy as np
import pytest

from tokgraft.numerics import nearest as module
from tokgraft.numerics.largest import Largest
from tokgraft.numerics.nearest import Space, nearest
from tokgraft.numerics.similarity import unit_rows


@pytest.mark.parametrize(("width", "cone"), [(6, 0.0), (20, 0.0), (20, 5.0)])  # at 5 all cosines are above 0.9
@pytest.mark.parametrize(("queries", "anchors", "k"), [(50, 700, 10), (3, 10, 10), (200, 37, 1), (1, 5000, 10)])
def testmodule_are_themodule(monkeypatch: pytest.MonkeyPatch, queries: int, anchors: int, k: int, width: int, cone: float) -> None:
    rng = np.random.default_rng(queries)
    left, right = rng.normal(cone, size=(queries, width)), rng.normal(cone, size=(anchors, width))
    right[anchors // 2] = right[0]  # a tie
    exact = unit_rows(left) @ unit_rows(right).T
    order = np.lexsort((np.broadcast_to(np.arange(anchors), exact.shape), -np.round(exact, 9)), axis=1)[:, :k]
    places, cosines = nearest(left, right, k)
    assert np.array_equal(places, order)
    assert np.allclose(cosines, np.take_along_axis(exact, order, axis=1), atol=1e-12)
    monkeypatch.setattr(module, "BLOCK", 1000)
    monkeypatch.setattr(module, "EXACT", 7)
    again = nearest(left, right, k)
    assert np.array_equal(again[0], places) and np.allclose(again[1], cosines, atol=1e-12)


def test_equal_cosines_are_decided_by_order() -> None:
    right = np.repeat(np.random.default_rng(0).normal(size=(3, 4)), 400, axis=0)
    places, _ = nearest(right[[0, 500, 1199]], right, 10)
    assert np.array_equal(places, np.arange(10) + np.array([[0], [400], [800]]))


@pytest.mark.parametrize("offset", [0.0, 30.0])  # far from 0 float32 products tell no neighbours apart
@pytest.mark.parametrize("equal", [1, 20])
def test_the_nearest_points_are_the_nearest(offset: float, equal: int) -> None:
    rng = np.random.default_rng(0)
    anchors = np.repeat(rng.normal(size=(300 // equal, 24)), equal, axis=0).astype(np.float32)[rng.permutation(300 // equal * equal)]
    queries = np.concatenate([rng.normal(size=(40, 24)), anchors[:10] + 1e-3 * rng.normal(size=(10, 24))]).astype(np.float32)
    anchors, queries = anchors + np.float32(offset), queries + np.float32(offset)
    queries, anchors = queries.astype(np.float64), anchors.astype(np.float64)
    near, distance = Space(anchors, 8).nearest(queries)
    all_of_them = np.linalg.norm(queries[:, None] - anchors[None], axis=2)
    assert np.allclose(distance, np.sort(all_of_them, axis=1)[:, :8], rtol=1e-5)
    assert np.allclose(distance, np.take_along_axis(all_of_them, near, axis=1), rtol=1e-5)
    assert all(len(set(row)) == 8 for row in near.tolist())


@pytest.mark.parametrize(("columns", "width"), [(10, 3), (12, 4), (3, 8), (5, 1)])
def test_what_reaches_a_bound_is_found(columns: int, width: int) -> None:
    rng = np.random.default_rng(0)
    queries, table = (rng.normal(size=(count, 6)).astype(np.float32) for count in (20, columns))
    values, bound = queries @ table.T, np.linspace(-2, 2, 20).astype(np.float32)
    largest = Largest(table, width)
    for some in (slice(0, 4), slice(0, 20), slice(3, 9)):  # buffers are used again
        row, column, value = largest.reaching(queries[some], lambda maxima, some=some: bound[some])
        assert (np.diff(row) >= 0).all() and np.array_equal(value, values[some][row, column])
        assert sorted(zip(row.tolist(), column.tolist())) == list(
            zip(*(part.tolist() for part in np.nonzero(values[some] >= bound[some, None])))
        )
