"""Methods that learn from a donor: cases computed by hand, options, and bad donors."""

from __future__ import annotations

import numpy as np
import pytest

import donors
import toys
from tokgraft import methods
from tokgraft.errors import ConfigError, DataError
from tokgraft.methods.clp import _mix
from tokgraft.methods.omp import Omp, _carry
from tokgraft.numerics.linear import procrustes
from tokgraft.rows.donor import DonorSide, Made

ALL = [name for name, entry in methods.METHODS.items() if "donor" in entry.requires]
NEEDS_K = ["omp", "common_interpolation", "sparse_basis"]


def small(name: str) -> dict[str, int]:
    return {"k": 8} if name in NEEDS_K else {}


def test_all_methods_with_a_donor_are_here() -> None:
    assert sorted(["clp", "clp_plus", "omp", "common_interpolation", "landmark_pca", "sparse_basis", "sava"]) == ALL


# --- donors that cannot be used ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALL)
def test_a_donor_of_another_size_or_with_nan_is_refused(name: str) -> None:
    task = donors.task()
    E = task.resources["donor"].E
    with pytest.raises(DataError, match=f"has {len(E) - 1} rows, the target vocabulary {len(E)} ids"):
        methods.apply(name, donors.with_donor(task, E[:-1]), small(name))
    broken = E.copy()
    broken[7, 3] = np.nan
    with pytest.raises(DataError, match=r"NaN or Inf in 1 rows, first \[7\]"):
        methods.apply(name, donors.with_donor(task, E, broken), small(name))


@pytest.mark.parametrize("name", ALL)
def test_rows_of_zeros_are_left_out_and_counted(name: str) -> None:
    task = donors.task(tied=False, donor_tied=False)
    anchors, new = donors.made(task)
    E = task.resources["donor"].E.copy()
    E[[anchors[3], new[0], new[5]]] = 0
    rows = methods.apply(name, donors.with_donor(task, E, task.resources["donor"].U), small(name))
    assert rows.stats["zero_donor_rows"] == 3 and rows.stats["anchors"] == len(anchors) - 1
    lost = [number for number, made in enumerate(rows.provenance) if made.how == "fallback"]
    assert {new[0], new[5]} <= set(lost) and rows.stats["fallbacks"] == len(lost)
    assert rows.output is not None
    for number in (new[0], new[5]):
        assert np.allclose(rows.input[number], task.E.mean(axis=0), atol=1e-6)
        assert np.allclose(rows.output[number], task.U.mean(axis=0), atol=1e-6)
    assert rows.provenance[anchors[3]].how in ("copied", "role")


@pytest.mark.parametrize("name", NEEDS_K)
def test_fewer_anchors_than_k(name: str) -> None:
    task = donors.task()
    anchors, _ = donors.made(task)
    with pytest.raises(DataError, match=f"{len(anchors)} tokens are shared .* {len(anchors) + 1} are needed"):
        methods.apply(name, task, {"k": len(anchors) + 1})
    same = toys.tokenizer("byte_level")
    assert methods.apply(name, donors.task(same, same), {"k": 10_000}).stats["fallbacks"] == 0, "nothing is new, nothing is needed"
    with pytest.raises(ConfigError, match="greater than or equal to 1"):
        methods.apply(name, task, {"k": 0})


@pytest.mark.parametrize("name", ALL)
def test_a_donor_that_knows_nothing(name: str) -> None:
    task = donors.task()
    rows = methods.apply(name, donors.with_donor(task, np.zeros_like(task.resources["donor"].E)), small(name))
    _, new = donors.made(task)
    assert rows.stats["fallbacks"] == len(new) and all(rows.provenance[number].how == "fallback" for number in new)


# --- what the methods compute -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "params"), [("omp", {"k": 40}), ("landmark_pca", {}), ("sava", {}), ("sparse_basis", {"k": 40})])
def test_a_donor_that_is_the_base_turned_gives_the_base(name: str, params: dict[str, int]) -> None:
    """The donor's space is the base's after a rotation; whatever maps or codes, new tokens must come out where they belong."""
    task = donors.task(width=24, donor_width=24)
    rng = np.random.default_rng(3)
    truth = donors.rows(len(task.target), 24, 9)
    for number, match in task.overlap.items():
        truth[number] = task.E[match.source]
    turn = np.linalg.qr(rng.normal(size=(24, 24)))[0]
    rows = methods.apply(name, donors.with_donor(task, (truth @ turn).astype(np.float32)), params)
    _, new = donors.made(task)
    cosine = (rows.input[new] * truth[new]).sum(1) / np.linalg.norm(rows.input[new], axis=1) / np.linalg.norm(truth[new], axis=1)
    assert cosine.min() > 0.999


def test_landmark_pca_turns_the_right_way() -> None:
    """With noise on the donor the principal directions of both spaces differ, and the transposed rotation goes wrong."""
    task = donors.task(width=24, donor_width=24)
    rng = np.random.default_rng(3)
    truth = donors.rows(len(task.target), 24, 9)
    for number, match in task.overlap.items():
        truth[number] = task.E[match.source]
    noisy = truth @ np.linalg.qr(rng.normal(size=(24, 24)))[0] + 0.02 * rng.normal(size=truth.shape)
    given = donors.with_donor(task, noisy.astype(np.float32))
    _, new = donors.made(task)
    right, wrong = (methods.apply("landmark_pca", given, {"compatibility": mode}).input[new] for mode in ("none", "mergekit"))
    off = [np.linalg.norm(rows - truth[new]) / np.linalg.norm(truth[new]) for rows in (right, wrong)]
    assert off[0] < 0.3 and off[1] > 2 * off[0]


def side(X: list[list[float]], A: list[list[float]], B: list[list[float]]) -> DonorSide:
    arrays = [np.array(part, dtype=np.float32) for part in (X, A, B)]
    return DonorSide("input", *arrays, lambda: (arrays[1].mean(axis=0, dtype=np.float64), arrays[2].mean(axis=0, dtype=np.float64)))


def test_clp_by_hand() -> None:
    """cosines 1 and 0.6: weights 1/1.6 and 0.6/1.6. Cosines 1 and -0.6 would be weights 2.5 and -1.5: longer than any row."""
    made: Made = _mix(side([[2, 0]], [[1, 0], [3, 4]], [[8, 0], [0, 8]]), guard=True)
    assert np.allclose(made.rows, [[5, 3]]) and made.failed is not None and not made.failed.any()
    steep = side([[2, 0]], [[1, 0], [-3, 4]], [[8, 0], [0, 8]])
    assert np.allclose(_mix(steep, guard=False).rows, [[20, -12]])
    assert np.asarray(_mix(steep, guard=True).failed).all()
    assert np.asarray(_mix(side([[1, 0]], [[0, 1], [0, 2]], [[8, 0], [0, 8]]), guard=False).failed).all(), "cosines that sum to 0"


def test_omp_of_tokens_that_one_shared_token_explains() -> None:
    """Fewer atoms than k, and no negative weight beside them: what is not taken is no source."""
    given = side([[2, 0], [0, 3]], [[1, 0], [0, 1], [5, 5]], [[8, 0], [0, 8], [1, 1]])
    made = _carry(given, Omp(k=2, normalise=True))
    assert np.allclose(made.rows, [[16, 0], [0, 24]])
    assert made.used is not None and made.used.tolist() == [[0, -1], [1, -1]]


def test_rotation_is_the_best_one() -> None:
    rng = np.random.default_rng(0)
    P, turn = rng.normal(size=(50, 5)), np.linalg.qr(rng.normal(size=(5, 5)))[0]
    assert np.allclose(procrustes(P.T @ (P @ turn)), turn)


def test_options_of_omp() -> None:
    task = donors.task()
    anchors, new = donors.made(task)
    plain = methods.apply("omp", task, {"k": 30})
    clipped = methods.apply("omp", task, {"k": 30, "clip_norms": True})
    limit = np.quantile(np.linalg.norm(task.E[[task.overlap[n].source for n in anchors]], axis=1), 0.999)
    assert np.linalg.norm(plain.input[new], axis=1).max() > limit >= np.linalg.norm(clipped.input[new], axis=1).max() * 0.9999
    assert clipped.stats["clipped"] == (np.linalg.norm(plain.input[new], axis=1) > limit).sum() > 0
    short = np.linalg.norm(plain.input, axis=1) <= limit
    assert np.array_equal(plain.input[short], clipped.input[short])
    # A donor shifted by a constant gives the same rows when both spaces are centred, and others when not.
    shifted = donors.with_donor(task, task.resources["donor"].E + np.float32(0.25))
    centred = [methods.apply("omp", given, {"k": 12, "centre": True}).input for given in (task, shifted)]
    assert (np.abs(centred[0] - centred[1]).max(axis=1) < 1e-4).mean() > 0.98
    assert not np.allclose(methods.apply("omp", shifted, {"k": 12}).input, methods.apply("omp", task, {"k": 12}).input, atol=1e-2)


def test_options_of_sava() -> None:
    task = donors.task()
    _, new = donors.made(task)
    plain, long, few = (methods.apply("sava", task, given) for given in ({}, {"rescale": True}, {"anchors": 100}))
    centre = plain.input[new] - long.input[new]
    assert long.stats["held_out_length"] < 1 and np.abs(centre).max() > 0
    assert np.linalg.norm(long.input[new], axis=1).mean() > np.linalg.norm(plain.input[new], axis=1).mean()
    assert not np.array_equal(plain.input[new], few.input[new])
