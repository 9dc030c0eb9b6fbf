"""Methods that learn from a donor: cases computed by hand, options, and bad donors."""

from __future__ import annotations

import numpy as np
import pytest

import donors
import toys
from tokgraft import methods
from tokgraft.errors import ConfigError, DataError
from tokgraft.methods.clp import _mix
from tokgraft.methods.common_interpolation import _Space
from tokgraft.methods.omp import Omp, _carry
from tokgraft.numerics import pursuit_loops as _pursuit
from tokgraft.numerics import sparse as _sparse
from tokgraft.numerics.linear import procrustes
from tokgraft.numerics.sparse import _Products, _select, least_squares, pursue
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


@pytest.mark.parametrize("offset", [0.0, 30.0])  # far from 0 float32 products tell no neighbours apart
@pytest.mark.parametrize("equal", [1, 20])
def test_the_nearest_are_the_nearest(offset: float, equal: int) -> None:
    rng = np.random.default_rng(0)
    anchors = np.repeat(rng.normal(size=(300 // equal, 24)), equal, axis=0).astype(np.float32)[rng.permutation(300 // equal * equal)]
    queries = np.concatenate([rng.normal(size=(40, 24)), anchors[:10] + 1e-3 * rng.normal(size=(10, 24))]).astype(np.float32)
    anchors, queries = anchors + np.float32(offset), queries + np.float32(offset)
    queries, anchors = queries.astype(np.float64), anchors.astype(np.float64)
    near, distance = _Space(anchors, 8).nearest(queries)
    all_of_them = np.linalg.norm(queries[:, None] - anchors[None], axis=2)
    assert np.allclose(distance, np.sort(all_of_them, axis=1)[:, :8], rtol=1e-5)
    assert np.allclose(distance, np.take_along_axis(all_of_them, near, axis=1), rtol=1e-5)
    assert all(len(set(row)) == 8 for row in near.tolist())


def test_clp_by_hand() -> None:
    """cosines 1 and 0.6: weights 1/1.6 and 0.6/1.6. Cosines 1 and -0.6 would be weights 2.5 and -1.5: longer than any row."""
    made: Made = _mix(side([[2, 0]], [[1, 0], [3, 4]], [[8, 0], [0, 8]]), guard=True)
    assert np.allclose(made.rows, [[5, 3]]) and made.failed is not None and not made.failed.any()
    steep = side([[2, 0]], [[1, 0], [-3, 4]], [[8, 0], [0, 8]])
    assert np.allclose(_mix(steep, guard=False).rows, [[20, -12]])
    assert np.asarray(_mix(steep, guard=True).failed).all()
    assert np.asarray(_mix(side([[1, 0]], [[0, 1], [0, 2]], [[8, 0], [0, 8]]), guard=False).failed).all(), "cosines that sum to 0"


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


def test_omp_of_tokens_that_one_shared_token_explains() -> None:
    """Fewer atoms than k, and no negative weight beside them: what is not taken is no source."""
    given = side([[2, 0], [0, 3]], [[1, 0], [0, 1], [5, 5]], [[8, 0], [0, 8], [1, 1]])
    made = _carry(given, Omp(k=2, normalise=True))
    assert np.allclose(made.rows, [[16, 0], [0, 24]])
    assert made.used is not None and made.used.tolist() == [[0, -1], [1, -1]]


@pytest.mark.parametrize("blocks", [1, 3])
def test_pursuit_takes_the_same_atoms_by_estimates_and_by_products(blocks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Estimates in 8 bits (used where the processor is fast at them) and products in float32, also among atoms that are nearly equal."""
    rng = np.random.default_rng(0)
    atoms = rng.normal(size=(700, 48)).astype(np.float32) + 1
    atoms[1::2] = atoms[::2] + 0.02 * atoms[1::2]
    atoms[11] = atoms[10]  # of equals the first
    targets = np.vstack([donors.rows(57, 48, 1), atoms[10] * 3, atoms[11] - atoms[300], np.zeros(48)]).astype(np.float32)
    monkeypatch.setattr(_sparse, "BLOCK", -(-len(atoms) // blocks))
    estimated, plain = (_select(targets, _Products(atoms, fast), 20) for fast in (True, False))
    assert np.array_equal(estimated, plain)
    assert (plain[-1] == -1).all() and plain[-3].tolist() == [10] + [-1] * 19 and (plain != 11).all()
    assert np.array_equal(_select(targets[7:8], _Products(atoms, True), 20), plain[7:8]), "what is looked for beside it makes no difference"
    for target, picks in zip(targets[:57].astype(np.float64), plain):
        for number in range(20):
            taken = atoms[picks[:number]].astype(np.float64)
            rest = target - taken.T @ np.linalg.lstsq(taken.T, target, rcond=None)[0] if number else target
            sizes = np.abs(atoms.astype(np.float64) @ rest)
            assert sizes[picks[number]] >= (1 - 1e-12) * sizes.max()
    atoms[0] *= 1e6  # one atom so long that 8 bits say nothing of the others
    assert np.array_equal(_select(targets, _Products(atoms, True), 20), _select(targets, _Products(atoms, False), 20))
    _, sizes, *_ = next(_Products(atoms).of(targets)())
    assert sizes.dtype == np.float32, "and where that is so they are not used"


@pytest.mark.parametrize("fast", [True, False])
def test_pursuit_tells_atoms_apart_that_are_equal_up_to_rounding(fast: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stronger one of each pair of twins is found in float64; float32 alone takes one or the other."""
    rng = np.random.default_rng(2)
    atoms = (rng.normal(size=(300, 48)) + 0.5).astype(np.float32)
    twins = (atoms * (1 + 1e-7 * rng.normal(size=atoms.shape))).astype(np.float32)
    atoms, targets = np.vstack([atoms, twins]), donors.rows(60, 48, 3)

    def weaker() -> int:
        """Choices of an atom that is not the strongest."""
        found = 0
        for target, picks in zip(targets.astype(np.float64), _select(targets, _Products(atoms, fast), 12)):
            for number in range(12):
                taken = atoms[picks[:number]].astype(np.float64)
                rest = target - taken.T @ np.linalg.lstsq(taken.T, target, rcond=None)[0] if number else target
                sizes = np.abs(atoms.astype(np.float64) @ rest)
                found += sizes[picks[number]] < (1 - 1e-12) * sizes.max()
        return found

    assert weaker() == 0
    monkeypatch.setattr(_sparse, "DOUBT", np.float32(0))
    assert weaker() > 20


def test_estimates_of_products_are_as_near_as_they_say() -> None:
    """And not much nearer: what they leave open is little."""
    rng = np.random.default_rng(1)
    rows, atoms = (rng.standard_t(4, size=(count, 96)).astype(np.float32) for count in (40, 500))
    rows[0] = 0
    ((_, sizes, units, errors),) = _Products(atoms, True).of(rows)()
    off = np.abs(sizes * units[:, None].astype(np.float64) - rows.astype(np.float64) @ atoms.T.astype(np.float64))
    assert (off <= errors[:, None]).all() and (off[1:].max(axis=1) > errors[1:] / 20).all()
    assert (errors[1:] < 0.3 * np.abs(rows @ atoms.T).max(axis=1)[1:]).all()
    bias = (sizes * units[:, None] - rows @ atoms.T)[1:].mean(axis=1) / errors[1:]
    assert np.abs(bias.mean()) < 0.02, "up as often as down"


def test_a_pursuit_where_machine_code_cannot_be_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere(*args: object, **kwargs: object) -> object:
        raise RuntimeError("cannot cache function: no locator available")

    monkeypatch.setattr("numba.core.caching.FunctionCache.__init__", nowhere)
    assert _pursuit.compiled(lambda x: x + 1)(1) == 2


def test_least_squares_takes_the_shortest_of_many() -> None:
    points = np.array([[[1.0, 0], [1, 0], [0, 2]], [[1, 0], [0, 1], [1, 1]]])
    assert np.allclose(least_squares(points, np.array([[2.0, 2], [3, 0]])), [[1, 1, 1], [2, -1, 1]])


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
