"""The methods with a donor and `subword` beside the command mergekit-tokensurgeon, on real tables, tokenizers and donors."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

import donors
import real
from tokgraft import methods
from tokgraft.methods import Floats, Rows, Transplant
from tokgraft.numerics.linear import principal
from tokgraft.numerics.pursuit import pursue

pytestmark = pytest.mark.slow

surgeon = pytest.importorskip("mergekit.tokensurgeon")

from mergekit.tokensurgeon import common_interpolation as interpolation  # noqa: E402

COMMAND = shutil.which("mergekit-tokensurgeon", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))
RUN = "from mergekit.scripts import tokensurgeon as surgeon\n{patch}\nsurgeon.main()"
# What keeps two of its methods from running, or from running twice alike, is replaced in the process of the command.
EXACT_DIRECTIONS = """
import torch
from tokgraft.numerics.linear import principal
torch.pca_lowrank = lambda rows, q: (None, None, torch.from_numpy(principal(rows.numpy(), q)).float())
"""
NUMBER_GIVEN = """
import torch
from mergekit.tokensurgeon import token_basis
from tokgraft.numerics.linear import principal
def basis(points, k, d):
    directions = torch.from_numpy(principal(points.numpy(), d)).T.float()
    picks, weights = token_basis.batch_omp(directions.double(), points.double() - points.double().mean(dim=0), k)
    return picks, weights.float()
token_basis.sparse_linear_basis = basis
given = surgeon.compute_token_basis
surgeon.compute_token_basis = lambda *arguments: given(*arguments[:5], arguments[5].k)
"""
Tables = dict[str, Floats]
Exact = Callable[[Any, Any, list[int]], tuple[Any, Any]]


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A folder for the models, which are hundreds of megabytes: pytest would keep them."""
    with tempfile.TemporaryDirectory(prefix="tokgraft-test-") as folder:
        yield Path(folder)


@cache
def transplant(size: int, tied: bool) -> Transplant:
    return real.with_donor(size, tied)


def run(place: Path, size: int, tied: bool, *flags: str, patch: str = "") -> Tables:
    """The tables that the command makes of two model folders."""
    task = transplant(size, tied)
    donor = task.resources["donor"]
    base, helper = (place / f"{kind}-{size}-{tied}" for kind in ("base", "donor"))
    for folder, tokenizer, E, U in ((base, real.source(), task.E, task.U), (helper, real.target(size), donor.E, donor.U)):
        if not folder.exists():
            real.write_model(folder, tokenizer, E, None if tied else U)
    program = [sys.executable, "-c", RUN.format(patch=patch)] if patch else [str(COMMAND)]
    words = [str(base), str(helper), str(place / "out"), *flags, "--device", "cpu", "--quiet"]
    done = subprocess.run([*program, *words], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    found = load_file(next((place / "out").glob("*.safetensors")))
    shutil.rmtree(place / "out")
    names = {"input": "model.embed_tokens.weight", **({} if tied else {"head": "lm_head.weight"})}
    return {name: found[weight][:size] for name, weight in names.items()}


def both(rows: Rows) -> Tables:
    return {"input": rows.input, **({} if rows.output is None else {"head": rows.output})}


def title(name: str, size: int, tied: bool, table: str) -> str:
    return f"{name}, mergekit-tokensurgeon 0.1.5, {size:,}, {'tied' if tied else 'untied'}, {table}"


def side(task: Transplant, table: str) -> tuple[Any, Any, Any, list[int]]:
    """Donor rows of new tokens and of anchors, base rows of anchors, all in float64, and the new ids."""
    anchors, new = donors.made(task)
    donor = task.resources["donor"]
    theirs, ours = (donor.E, task.E) if table == "input" else (donor.U, task.U)
    origin = [task.overlap[anchor].source for anchor in anchors]
    return *(torch.from_numpy(rows).double() for rows in (theirs[new], theirs[anchors], ours[origin])), new


def beside(what: str, task: Transplant, table: str, ours: Floats, theirs: Floats, exact: Exact) -> None:
    """Compare with the command's rows, and the few for which a search in float32 went another way with an exact one.

    Args:
        what: What is compared.
        task: The transplant.
        table: "input" or "head".
        ours, theirs: Rows of all target tokens.
        exact: The same in float64: donor rows of new tokens and of anchors, places of some new tokens -> the anchors taken for
            these, and their weights.
    """
    same = real.differences(ours, theirs) <= real.LIMIT
    assert same.mean() > 0.99
    real.compare(what, ours[same], theirs[same])
    X, A, B, new = side(task, table)
    others = [number for number, token in enumerate(new) if not same[token]]
    assert len(others) == (~same).sum(), "tokens of both vocabularies are copies"
    if others:
        picks, weights = exact(X, A, others)
        expected = torch.bmm(weights[:, None].double(), B[picks])[:, 0]
        real.compare("    the others, in float64", ours[[new[number] for number in others]], expected)


def in_batches(X: Any, A: Any, k: int) -> tuple[Any, Any]:
    found = [surgeon.batch_omp(X[begin : begin + 512], A, k) for begin in range(0, len(X), 512)]
    return torch.cat([picks for picks, _ in found]), torch.cat([weights for _, weights in found])


@pytest.mark.parametrize(("size", "tied", "k"), [(8192, True, 64), (8192, False, 16), (16384, True, 16), (16384, False, 16)])
def test_omp(place: Path, size: int, tied: bool, k: int) -> None:
    """Its rows, but for the few tokens for which a search in float32 takes the other one of two atoms equally good up to rounding.

    For these each of our atoms is shown to be the best one left, and the row to be its sum by exact coefficients.
    """
    task = transplant(size, tied)
    theirs = run(place, size, tied, "-k", str(k))
    for name, found in both(methods.apply("omp", task, {"k": k})).items():
        what = title(f"omp, k = {k}", size, tied, name)
        beside(what, task, name, found, theirs[name], partial(best_left, k=k))


def best_left(X: Any, A: Any, places: list[int], k: int) -> tuple[Any, Any]:
    """Our atoms and their exact coefficients; each atom must have the largest product with the residual, in float64."""
    picks = torch.from_numpy(np.concatenate([code.picks for code in pursue(X[places].float().numpy(), A.float().numpy(), k)]))
    weights = torch.empty(picks.shape, dtype=torch.float64)
    for number, (goal, chosen) in enumerate(zip(X[places], picks)):
        basis, triangle = torch.linalg.qr(A[chosen].T)
        for step, atom in enumerate(chosen):
            products = (A @ (goal - basis[:, :step] @ (basis[:, :step].T @ goal))).abs()
            products[chosen[:step]] = 0
            assert products[atom] >= (1 - 1e-11) * products.max()
        weights[number] = torch.linalg.solve_triangular(triangle, (basis.T @ goal)[:, None], upper=True)[:, 0]
    return picks, weights


@pytest.mark.parametrize(("size", "step"), [(8192, 1), (16384, 8)])
def test_omp_picks_the_same_support_sets(size: int, step: int) -> None:
    """Against batch_omp in float64, k = 64: every token, and every eighth of the larger vocabulary."""
    X, A, _, _ = side(transplant(size, True), "input")
    picks, weights = in_batches(X[::step], A, 64)
    codes = list(pursue(X[::step].float().numpy(), A.float().numpy(), 64))
    ours, coefficients = np.concatenate([code.picks for code in codes]), np.concatenate([code.weights for code in codes])
    sets = (np.sort(ours, axis=1) == np.sort(picks.numpy(), axis=1)).all(axis=1)
    assert sets.all()
    dense = [np.zeros((sets.sum(), len(A))) for _ in range(2)]
    for matrix, places, values in zip(dense, (ours, picks.numpy()), (coefficients, weights.numpy())):
        np.put_along_axis(matrix, places[sets], values[sets], axis=1)
    difference = real.compare(f"omp, coefficients of batch_omp in float64, {size:,}", *dense)
    real.tell(f"    the same 64 tokens: {sets.sum():,} of {len(sets):,}; difference of coefficients {difference:.1e}")


SCHEMES = {"distance": "distance_proportional", "barycentric": "barycentric", "least_squares": "least_squares"}


@pytest.mark.parametrize(("size", "tied", "metric", "weights"), [
    *((8192, True, metric, weights) for metric in ("euclid", "cosine") for weights in SCHEMES),
    (8192, False, "euclid", "distance"), (16384, True, "euclid", "distance"), (16384, False, "cosine", "barycentric"),
])  # fmt: skip
def test_common_interpolation(place: Path, size: int, tied: bool, metric: str, weights: str) -> None:
    task = transplant(size, tied)
    flags = ["-a", "common_interpolation", "-w", SCHEMES[weights], *(["--cosine-similarity"] if metric == "cosine" else [])]
    theirs = run(place, size, tied, *flags)
    measure = {"euclid": interpolation.DistanceMetric.EUCLIDEAN, "cosine": interpolation.DistanceMetric.COSINE}[metric]
    scheme = surgeon.WeightingScheme(SCHEMES[weights])

    def exact(X: Any, A: Any, places: list[int]) -> tuple[Any, Any]:
        found: tuple[Any, Any] = surgeon.common_interp_approximate(X[places], A, k=64, metric=measure, weight_scheme=scheme)
        return found

    for name, found in both(methods.apply("common_interpolation", task, {"metric": metric, "weights": weights})).items():
        beside(title(f"common_interpolation, {metric}, {weights}", size, tied, name), task, name, found, theirs[name], exact)


@pytest.mark.parametrize(("size", "tied"), [(8192, True), (8192, False), (16384, True)])
def test_landmark_pca(place: Path, size: int, tied: bool) -> None:
    """Its transposed rotation in the mode that has it, the better one beside it; its random directions replaced by exact ones."""
    task = transplant(size, tied)
    theirs = run(place, size, tied, "-a", "landmark_pca", patch=EXACT_DIRECTIONS)
    ours = both(methods.apply("landmark_pca", task, {}))
    for name, found in both(methods.apply("landmark_pca", task, {"compatibility": "mergekit"})).items():
        real.compare(title("landmark_pca", size, tied, name), found, theirs[name])
        X, A, B, new = side(task, name)
        assert (real.differences(ours[name][new], theirs[name][new]) > 0.01).all()
        # How well either rotation carries the anchors themselves over.
        X, A, B = (rows - mean for rows, mean in ((X, A.mean(0)), (A, A.mean(0)), (B, B.mean(0))))
        left, right = (torch.from_numpy(principal(rows.numpy(), min(A.shape[1], B.shape[1]))).double() for rows in (A, B))
        u, _, v = torch.linalg.svd((A @ left).T @ (B @ right))
        errors = [float(((A @ left @ turn @ right.T - B) ** 2).sum() / (B**2).sum()) for turn in (u @ v, (u @ v).T)]
        assert errors[0] < errors[1]
        real.tell(f"    corrected: squared error of the anchors {errors[0]:.3f} of their length, {errors[1]:.3f} with its rotation")


@pytest.mark.parametrize(("size", "tied"), [(8192, True), (8192, False)])
def test_sparse_basis(place: Path, size: int, tied: bool) -> None:
    """As it stands the method stops; given the number of tokens, it makes the rows of our mode that centres as it does.

    Its singular vectors in float32 are replaced by exact ones: the smaller ones are nearly equal, and turn by rounding. Its pursuit of them is
    done in float64: of two tokens that are equally good up to rounding it takes one or the other by the processor, and all rows move.
    """
    task = transplant(size, tied)
    if tied:
        with pytest.raises(RuntimeError, match="TypeError"):
            run(place, size, tied, "-a", "stb")
    theirs = run(place, size, tied, "-a", "stb", patch=NUMBER_GIVEN)
    ours = both(methods.apply("sparse_basis", task, {}))
    for name, found in both(methods.apply("sparse_basis", task, {"compatibility": "mergekit"})).items():
        real.compare(title("sparse_basis", size, tied, name), found, theirs[name])
        new = side(task, name)[3]
        moved = real.differences(ours[name][new], theirs[name][new])
        assert (moved > 0.01).mean() > 0.9
        real.tell(f"    corrected: rows move by {np.median(moved):.2f} of their largest value (median)")


SUBWORDS: dict[str, dict[str, Any]] = {
    "mean": {"preset": "mean"},
    "weighted_mean": {"preset": "mergekit_weighted_mean"},
    "first_last": {"preset": "first_last"},
}


@pytest.mark.parametrize(("size", "tied", "scheme"), [
    (8192, True, "mean"), (8192, False, "mean"), (8192, False, "weighted_mean"), (8192, False, "first_last"), (16384, True, "mean"),
    (16384, False, "weighted_mean"),
])  # fmt: skip
def test_subword(place: Path, size: int, tied: bool, scheme: str) -> None:
    """Its rows in the mode that gives vocabulary strings to the tokenizer; by default those of the tokens' bytes."""
    task = transplant(size, tied)
    theirs = run(place, size, tied, "-a", "subword", "-s", scheme)
    options = SUBWORDS[scheme]
    meant = {**options, "preset": "weighted_mean"} if scheme == "weighted_mean" else options
    ours = both(methods.apply("subword", task, meant))
    for name, found in both(methods.apply("subword", task, {**options, "compatibility": "mergekit"})).items():
        real.compare(title(f"subword {scheme}", size, tied, name), found, theirs[name])
        foreign = [n for n in task.target.text_ids if n not in task.overlap and not task.target[n].text.isascii()]
        moved = real.differences(ours[name], theirs[name]) > real.LIMIT
        assert moved[foreign].sum() > 100
        if scheme != "weighted_mean":
            assert not moved[[n for n in range(size) if n not in foreign and printable(task, n)]].any()
        real.tell(f"    corrected: {moved.sum():,} rows, {moved[foreign].sum():,} of them of tokens that are not ASCII")


def printable(task: Transplant, number: int) -> bool:
    text = task.target[number].text
    return text.isascii() and text.decode().isprintable() and not text.startswith(b"  ")


def test_its_choice_of_a_table_is_crossed(place: Path) -> None:
    """What it is told to match in the head it matches in the input table, and the other way round; ours has no such choice."""
    size = real.SIZES[0]
    found = {choice: run(place, size, False, "-a", "mean", "-pm", choice) for choice in ("no", "yes", "lm_head", "embed")}
    assert (found["yes"]["input"] != found["no"]["input"]).any() and (found["yes"]["head"] != found["no"]["head"]).any()
    for choice, input_as, head_as in (("lm_head", "yes", "no"), ("embed", "no", "yes")):
        assert np.array_equal(found[choice]["input"], found[input_as]["input"])
        assert np.array_equal(found[choice]["head"], found[head_as]["head"])
