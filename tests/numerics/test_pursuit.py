"""Orthogonal matching pursuit: by hand, beside float64, and the two ways of searching beside each other."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch

import donors
from tokgraft.numerics import pursuit, pursuit_loops, pursuit_torch
from tokgraft.numerics.least_squares import least_squares
from tokgraft.numerics.pursuit import pursue
from tokgraft.numerics.pursuit_loops import Products
from tokgraft.numerics.types import Floats, Ints

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
WAYS = ["8 bits", "float32", *DEVICES]


def search(way: str, atoms: Floats, k: int) -> Callable[[Floats], Ints]:
    """What finds the atoms of targets: compiled loops over estimates or products, or torch on a device."""
    if way in DEVICES:
        return lambda targets: pursuit_torch.select(*(torch.from_numpy(part).to(way) for part in (targets, atoms)), k).cpu().numpy()
    return partial(pursuit_loops.select, products=Products(atoms, way == "8 bits"), k=k)


def weaker(targets: Floats, atoms: Floats, picks: Ints) -> int:
    """Choices of an atom that is not the strongest in float64."""
    found = 0
    for target, chosen in zip(targets.astype(np.float64), picks):
        for number in range(int((chosen >= 0).sum())):
            taken = atoms[chosen[:number]].astype(np.float64)
            rest = target - taken.T @ np.linalg.lstsq(taken.T, target, rcond=None)[0] if number else target
            sizes = np.abs(atoms.astype(np.float64) @ rest)
            found += sizes[chosen[number]] < (1 - 1e-12) * sizes.max()
    return found


def test_pursuit_by_hand() -> None:
    """x = (3, 4, 1) over the axes and a long diagonal: by product the diagonal comes first, by cosine too; what is left is orthogonal."""
    atoms = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 9], [1, 1, 0]], dtype=np.float32)
    x = np.array([[3, 4, 1]], dtype=np.float32)
    (code,) = pursue(x, atoms, 2)
    assert code.picks.tolist() == [[3, 4]] and np.allclose(code.weights, [[1 / 9, 3.5]])
    (code,) = pursue(x, atoms, 2, normalise=True)
    assert code.picks.tolist() == [[4, 2]] and np.allclose(code.weights, [[3.5, 1]])
    (code,) = pursue(x, atoms, 5)
    assert code.picks[0, 3:].tolist() == [-1, -1] and code.left < 1e-6, "three atoms explain a vector of three dimensions"
    (code,) = pursue(np.zeros((2, 3), dtype=np.float32), atoms, 2)
    assert (code.picks == -1).all() and not code.weights.any(), "nothing is left to explain"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("blocks", [1, 3])
def test_every_way_takes_the_strongest_atoms(way: str, blocks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also among atoms that are nearly equal, in blocks, and whatever else is searched for at the same time."""
    rng = np.random.default_rng(0)
    atoms = rng.normal(size=(700, 48)).astype(np.float32) + 1
    atoms[1::2] = atoms[::2] + 0.02 * atoms[1::2]
    atoms[11] = atoms[10]  # of equals the first
    targets = np.vstack([donors.rows(57, 48, 1), atoms[10] * 3, atoms[11] - atoms[300], np.zeros(48)]).astype(np.float32)
    for module in (pursuit_loops, pursuit_torch):
        monkeypatch.setattr(module, "BLOCK", -(-len(atoms) // blocks))
    select = search(way, atoms, 20)
    picks = select(targets)
    assert (picks[-1] == -1).all() and picks[-3].tolist() == [10] + [-1] * 19 and (picks != 11).all()
    assert np.array_equal(select(targets[7:8]), picks[7:8]), "what is looked for beside it makes no difference"
    assert weaker(targets[:57], atoms, picks[:57]) == 0
    monkeypatch.setattr(pursuit_torch, "BATCH", 7)
    assert np.array_equal(select(targets[:57]), picks[:57])


def test_atoms_that_are_uneven_are_not_estimated() -> None:
    """One atom so long that 8 bits say nothing of the others."""
    atoms, targets = donors.rows(300, 48, 0), donors.rows(20, 48, 1)
    atoms[0] *= 1e6
    assert np.array_equal(search("8 bits", atoms, 20)(targets), search("float32", atoms, 20)(targets))
    _, sizes, *_ = next(Products(atoms).of(targets))
    assert sizes.dtype == np.float32, "and where that is so they are not used"


@pytest.mark.parametrize("way", WAYS)
def test_atoms_that_are_equal_up_to_rounding_are_told_apart(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stronger one of each pair of twins is found in float64; float32 alone takes one or the other."""
    rng = np.random.default_rng(2)
    atoms = (rng.normal(size=(300, 48)) + 0.5).astype(np.float32)
    twins = (atoms * (1 + 1e-7 * rng.normal(size=atoms.shape))).astype(np.float32)
    atoms, targets = np.vstack([atoms, twins]), donors.rows(60, 48, 3)
    assert weaker(targets, atoms, search(way, atoms, 12)(targets)) == 0
    for module in (pursuit_loops, pursuit_torch):
        monkeypatch.setattr(module, "DOUBT", np.float32(0))
    assert weaker(targets, atoms, search(way, atoms, 12)(targets)) > 20


@pytest.mark.parametrize("way", WAYS)
def test_one_atom_all_atoms_and_atoms_that_say_the_same(way: str) -> None:
    rng = np.random.default_rng(4)
    atoms, targets = rng.normal(size=(40, 64)).astype(np.float32), rng.normal(size=(9, 64)).astype(np.float32)
    assert np.array_equal(search(way, atoms, 1)(targets)[:, 0], np.abs(targets @ atoms.T).argmax(axis=1))
    assert np.array_equal(np.sort(search(way, atoms, 40)(targets), axis=1), np.tile(np.arange(40), (9, 1)))
    flat = np.vstack([atoms[:3], atoms[:3] * 2, np.zeros((2, 64))]).astype(np.float32)  # three directions, twice, and none
    picks = search(way, flat, 8)(targets)
    assert np.array_equal(np.sort(picks[:, :3], axis=1), np.tile([3, 4, 5], (9, 1))) and (picks[:, 3:] == -1).all()


def test_where_there_is_no_gpu_and_where_there_is_one_the_same_is_pursued(monkeypatch: pytest.MonkeyPatch) -> None:
    atoms, targets = donors.rows(500, 40, 0), donors.rows(90, 40, 1)
    (one, two) = pursue(targets, atoms, 12)
    monkeypatch.setattr(pursuit, "_search", lambda atoms, k: (search("cpu", atoms, k), 2048))
    (all_of_them,) = pursue(targets, atoms, 12)
    assert np.array_equal(np.concatenate([one.picks, two.picks]), all_of_them.picks)
    assert np.array_equal(np.concatenate([one.weights, two.weights]), all_of_them.weights)


def test_estimates_of_products_are_as_near_as_they_say() -> None:
    """And not much nearer: what they leave open is little."""
    rng = np.random.default_rng(1)
    rows, atoms = (rng.standard_t(4, size=(count, 96)).astype(np.float32) for count in (40, 500))
    rows[0] = 0
    ((_, sizes, units, errors),) = Products(atoms, True).of(rows)
    off = np.abs(sizes * units[:, None].astype(np.float64) - rows.astype(np.float64) @ atoms.T.astype(np.float64))
    assert (off <= errors[:, None]).all() and (off[1:].max(axis=1) > errors[1:] / 20).all()
    assert (errors[1:] < 0.3 * np.abs(rows @ atoms.T).max(axis=1)[1:]).all()
    bias = (sizes * units[:, None] - rows @ atoms.T)[1:].mean(axis=1) / errors[1:]
    assert np.abs(bias.mean()) < 0.02, "up as often as down"


def test_a_pursuit_where_machine_code_cannot_be_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere(*args: object, **kwargs: object) -> object:
        raise RuntimeError("cannot cache function: no locator available")

    monkeypatch.setattr("numba.core.caching.FunctionCache.__init__", nowhere)
    assert pursuit_loops.compiled(lambda x: x + 1)(1) == 2


def test_least_squares_takes_the_shortest_of_many() -> None:
    points = np.array([[[1.0, 0], [1, 0], [0, 2]], [[1, 0], [0, 1], [1, 1]]])
    assert np.allclose(least_squares(points, np.array([[2.0, 2], [3, 0]])), [[1, 1, 1], [2, -1, 1]])
