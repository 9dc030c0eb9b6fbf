"""Mixtures against dense matrices, and what a composition makes of its parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

import toys
import toytasks
from tokgraft.methods import Composition, Dense, Floats, Mixtures, Provenance, Transplant
from tokgraft.rows.composition import compose

TABLE = np.random.default_rng(0).normal(size=(6, 5)).astype(np.float32)
PARTS = {7: ([2, 0], [3.0, 1.0]), 3: ([5], [0.5]), 9: ([1, 1, 4], [1.0, 1.0, 2.0])}


def dense(mixtures: Mixtures) -> np.ndarray:
    """(12, 6): the weights of each token, scaled to sum 1, added up one by one."""
    found = np.zeros((12, 6))
    for at, number in enumerate(mixtures.ids.tolist()):
        part = slice(*mixtures.ends[at : at + 2].tolist())
        for source, weight in zip(mixtures.sources[part].tolist(), mixtures.weights[part].tolist()):
            found[number, source] += weight / mixtures.weights[part].sum()
    return found


def test_rows_are_the_product_with_the_weights() -> None:
    mixtures = Mixtures.of(PARTS)
    expected = dense(mixtures)
    assert expected[7].tolist() == [0.25, 0, 0.75, 0, 0, 0] and expected[9].tolist() == [0, 0.5, 0, 0, 0.5, 0]
    assert np.allclose(mixtures.matrix(12, 6).toarray(), expected)
    assert np.allclose(mixtures.rows(TABLE), (expected @ TABLE)[[7, 3, 9]], atol=1e-6)
    assert np.allclose(mixtures.rows(TABLE[:, :1]), (expected @ TABLE[:, :1])[[7, 3, 9]], atol=1e-6), "a bias is a table of one column"
    assert Mixtures.of({}).rows(TABLE).shape == (0, 5)


def test_every_way_to_make_them() -> None:
    means = Mixtures.means({7: (2, 0), 3: (), 9: (1, 1, 4)})
    assert means.ids.tolist() == [7, 9], "a token without pieces has no mixture"
    assert np.allclose(dense(means)[9], [0, 2 / 3, 0, 0, 1 / 3, 0])
    assert np.array_equal(Mixtures.copies({4: 3}).rows(TABLE)[0], TABLE[3]), "one source is a copy"
    counted = Mixtures.counted({7: {2: 3.0, 0: 1.0}})
    assert counted.sources.tolist() == [0, 2] and counted.weights.tolist() == [1, 3]
    table = Mixtures.table(np.array([7, 3]), np.array([[2, 0], [5, 5]]), np.array([[3.0, 1.0], [1.0, 0.0]]))
    assert np.allclose(dense(table)[[7, 3]], dense(Mixtures.of(PARTS))[[7, 3]])


def test_joined_and_without() -> None:
    whole = Mixtures.of(PARTS)
    apart = Mixtures.joined(whole.without({7, 9}), whole.without({3}), Mixtures.of({}))
    assert apart.ids.tolist() == [3, 7, 9] and np.array_equal(dense(apart), dense(whole))
    assert len(whole.without({3, 7, 9})) == 0


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_a_blend_is_a_weighted_mean(share: float) -> None:
    first, second = Mixtures.of(PARTS), Mixtures.of({9: ([3, 4], [10.0, 30.0]), 7: ([0], [2.0]), 11: ([2], [1.0])})
    blended = first.blend(second, share)
    one, two, both = dense(first), dense(second), dense(blended)
    assert sorted(blended.ids.tolist()) == [3, 7, 9, 11]
    assert np.allclose(both[[7, 9]], (1 - share) * one[[7, 9]] + share * two[[7, 9]])
    assert np.array_equal(both[3], one[3]) and np.array_equal(both[11], two[11]), "what only one of them has stays as it is"
    assert blended.sources[blended.ends[0] : blended.ends[1]].tolist() == [2, 0, 0], "the first ones, then the second ones"


def test_the_heaviest_sources_come_first() -> None:
    weights = np.array([0.0, 2.0, 1.0, 2.0])
    mixtures = Mixtures.joined(Mixtures.of({1: ([8, 5, 6, 3], weights)}), Mixtures.means({2: range(40)}))
    first, second = mixtures.heaviest()
    assert first == (5, 3, 6), "equal ones in their order, those of weight 0 left out"
    assert second == tuple(range(16))


@pytest.fixture(scope="module")
def task() -> Transplant:
    found = toytasks.task("mean", toys.tokenizer("byte_level"), toys.tokenizer("sp_bpe", 600, "both"), tied=False, bias=True)
    return replace(found, columns=toytasks.table(len(found.source), 3, seed=5))


def test_a_token_belongs_to_the_first_part_that_names_it(task: Transplant) -> None:
    copied, given, mixed, drawn, left = task.others(task.overlap)[:5]
    match = next(match for match in task.overlap.values() if match.level == "bytes")
    tables = {name: np.full((2, table.shape[1]), 7, dtype=np.float32) for name, table in task.tables.items()}

    def draw(table: Floats, ids: Sequence[int], rng: np.random.Generator) -> Floats:
        assert list(ids) == [drawn, mixed, given, copied]
        return np.full((4, table.shape[1]), 9, dtype=np.float32)

    made = Composition(
        {copied: match},
        Mixtures.means({mixed: (3, 5), given: (1,), copied: (1,)}),
        Mixtures.means({mixed: (4, 6)}),
        dense=Dense(np.array([given, copied]), tables, [Provenance("mapped", (2,))] * 2),
        how={mixed: "trained"},
        stats={"told": 1},
    )
    rows = compose(task, replace(made, drawn=[drawn, mixed, given, copied], draw=draw), "law")
    assert rows.output is not None and rows.bias is not None and rows.columns is not None and rows.stats == {"told": 1}
    assert np.array_equal(rows.input[copied], task.E[match.source]) and np.array_equal(rows.output[copied], task.U[match.source])
    assert (rows.input[given] == 7).all() and (rows.output[given] == 7).all()
    assert (rows.input[drawn] == 9).all()
    assert np.allclose(rows.input[mixed], task.E[[3, 5]].mean(axis=0), atol=1e-6)
    assert np.allclose(rows.input[left], task.E[task.live].mean(axis=0), atol=1e-5)
    assert [rows.provenance[number].how for number in (copied, given, drawn, left)] == ["copied", "mapped", "random", "fallback"]
    rows = compose(task, made, "law")
    assert rows.output is not None and rows.bias is not None and rows.columns is not None
    assert np.allclose(rows.input[mixed], task.E[[3, 5]].mean(axis=0), atol=1e-6)
    assert np.allclose(rows.output[mixed], task.U[[4, 6]].mean(axis=0), atol=1e-6)
    assert task.bias is not None and task.columns is not None
    assert np.isclose(rows.bias[mixed], task.bias[[4, 6]].mean(), atol=1e-6), "the bias follows the output table"
    assert np.allclose(rows.columns[mixed], task.columns[[4, 6]].mean(axis=0), atol=1e-6), "and so do further tables"
    assert rows.provenance[mixed] == Provenance("trained", (3, 5))
    other = compose(task, replace(made, bias=Mixtures.means({mixed: (1, 2)})), "law")
    assert other.bias is not None and np.isclose(other.bias[mixed], task.bias[[1, 2]].mean(), atol=1e-6), "unless it has weights of its own"


def test_rows_in_a_narrow_space(task: Transplant) -> None:
    new = task.others(task.overlap)[0]

    def halves(table: Floats) -> tuple[Floats, Floats]:
        return table[:, :4].copy(), np.eye(4, table.shape[1], dtype=np.float32) * 2

    rows = compose(task, Composition(task.overlap, Mixtures.means({new: (3, 5)}), low_rank=halves), "law")
    assert np.allclose(rows.input[new, :4], 2 * task.E[[3, 5], :4].mean(axis=0), atol=1e-6) and (rows.input[new, 4:] == 0).all()
    special, match = next(iter(task.specials.items()))
    assert np.array_equal(rows.input[special], task.E[match.source]), "special tokens keep their exact rows"
    plain, copied = next((number, match) for number, match in task.overlap.items() if number not in task.specials)
    assert np.array_equal(rows.input[plain, :4], 2 * task.E[copied.source, :4])
