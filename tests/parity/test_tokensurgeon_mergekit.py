"""`omp`, `common_interpolation`, `landmark_pca` and `sparse_basis` beside mergekit: its functions on arrays, and its command on models."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

import donors
import toys
from tokgraft import methods
from tokgraft.methods import Floats, Rows, Transplant
from tokgraft.numerics.pursuit import pursue

surgeon = pytest.importorskip("mergekit.tokensurgeon")
from mergekit.tokensurgeon import common_interpolation as interpolation  # noqa: E402
from mergekit.tokensurgeon import pca, token_basis  # noqa: E402

COMMAND = shutil.which("mergekit-tokensurgeon", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))


def spaces(task: Transplant, side: str = "input") -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, list[int]]:
    """Donor rows of new tokens and anchors, base rows of anchors, and the new ids."""
    anchors, new = donors.made(task)
    theirs, table = (getattr(task.resources["donor"], "E" if side == "input" else "U"), task.E if side == "input" else task.U)
    origin = [task.overlap[number].source for number in anchors]
    return torch.from_numpy(theirs[new]), torch.from_numpy(theirs[anchors]), torch.from_numpy(table[origin]), new


def check(ours: Floats, theirs: torch.Tensor, limit: float) -> None:
    scale = np.abs(theirs.numpy()).max(axis=1)
    assert (np.abs(ours - theirs.numpy()).max(axis=1) / scale).max() < limit


@pytest.mark.parametrize("k", [1, 16, 32])
def test_omp_takes_the_same_atoms_with_the_same_weights(k: int) -> None:
    X, A, B, new = spaces(task := donors.task(donor_width=64))
    picks, weights = surgeon.batch_omp(X, A, k)
    codes = list(pursue(X.numpy(), A.numpy(), k))
    same = (np.concatenate([code.picks for code in codes]) == picks.numpy()).all(axis=1)
    # Both work in float32: two atoms may be equally good up to rounding.
    assert same.mean() >= (1 if k < 32 else 0.99)
    assert np.abs(np.concatenate([code.weights for code in codes]) - weights.numpy())[same].max() < 1e-4
    rows = methods.apply("omp", task, {"k": k})
    check(rows.input[new][same], torch.bmm(weights[:, None], B[picks])[:, 0][torch.from_numpy(same)], 1e-4)


@pytest.mark.parametrize("metric", ["euclid", "cosine"])
@pytest.mark.parametrize("weights", ["distance", "barycentric", "least_squares"])
def test_interpolation_has_the_same_rows(metric: str, weights: str) -> None:
    X, A, B, new = spaces(task := donors.task())
    scheme = {"distance": "distance_proportional"}.get(weights, weights)
    measure = {"euclid": interpolation.DistanceMetric.EUCLIDEAN, "cosine": interpolation.DistanceMetric.COSINE}[metric]
    picks, found = surgeon.common_interp_approximate(X, A, k=12, metric=measure, weight_scheme=surgeon.WeightingScheme(scheme))
    rows = methods.apply("common_interpolation", task, {"k": 12, "metric": metric, "weights": weights})
    kept = [place for place, number in enumerate(new) if rows.provenance[number].how == "combined"]
    assert len(kept) == len(new)
    check(rows.input[new], torch.bmm(found[:, None], B[picks])[:, 0], 2e-4)


def test_landmark_pca_is_the_reference_with_its_rotation_transposed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its random PCA is replaced by an exact one with our signs, on which its transposed rotation depends."""
    from tokgraft.numerics.linear import principal

    monkeypatch.setattr(torch, "pca_lowrank", lambda rows, q: (None, None, torch.from_numpy(principal(rows.numpy(), q)).float()))
    X, A, B, new = spaces(task := donors.task())
    theirs = pca.landmark_pca_approximate(X, A, B)
    ours = methods.apply("landmark_pca", task, {"compatibility": "mergekit"}).input[new]
    check(ours, theirs, 1e-4)
    assert np.abs(methods.apply("landmark_pca", task, {}).input[new] - ours).max() > 0.01


@pytest.mark.parametrize(("width", "donor_width"), [(24, 40), (40, 24)])
def test_sparse_basis_has_the_same_rows(width: int, donor_width: int) -> None:
    """The reference's own call passes the wrong argument, so its parts are called here as they were meant."""
    task = donors.task(width=width, donor_width=donor_width)
    donor, (X, A, B, new) = torch.from_numpy(task.resources["donor"].E), spaces(task)
    narrow = A if donor_width < width else B
    picks, weights = token_basis.sparse_linear_basis(narrow, k=8, d=min(width, donor_width))
    bases = [torch.bmm(weights[:, None], rows[picks])[:, 0] for rows in (A, B)]
    codes = torch.linalg.lstsq(bases[0].T, (X - donor.mean(dim=0)).T).solution.T
    theirs = codes @ bases[1] + torch.from_numpy(task.E).mean(dim=0)
    check(methods.apply("sparse_basis", task, {"k": 8, "compatibility": "mergekit"}).input[new], theirs, 5e-3)


@pytest.mark.skipif(COMMAND is None, reason="mergekit-tokensurgeon is not installed")
@pytest.mark.parametrize("tied", [True, False])
def test_the_command_gives_the_same_tables(tmp_path: Path, tied: bool) -> None:
    source, target = toys.tokenizer("byte_level"), toys.tokenizer("byte_level", 1200, "both")
    task = donors.task(tied=tied, donor_tied=tied)
    for name, tokenizer, tables in (
        ("base", source, (task.E, task.U)),
        ("donor", target, (task.resources["donor"].E, task.resources["donor"].U)),
    ):
        model = toys.decoder(len(tokenizer), tied, width=tables[0].shape[1], bos=0, eos=1, pad=2)
        with torch.no_grad():
            model.get_input_embeddings().weight.copy_(torch.from_numpy(tables[0]))
            model.get_output_embeddings().weight.copy_(torch.from_numpy(tables[1]))
        model.save_pretrained(tmp_path / name)
        tokenizer.save_pretrained(tmp_path / name)
    given = [str(tmp_path / name) for name in ("base", "donor", "out")]
    subprocess.run([str(COMMAND), *given, "-k", "16", "--device", "cpu", "--quiet"], check=True, capture_output=True)
    weights: dict[str, Any] = load_file(next((tmp_path / "out").glob("*.safetensors")))
    rows: Rows = methods.apply("omp", task, {"k": 16})
    size = len(rows.input)
    check(rows.input, torch.from_numpy(weights["model.embed_tokens.weight"][:size]), 1e-3)
    if not tied:
        assert rows.output is not None
        check(rows.output, torch.from_numpy(weights["lm_head.weight"][:size]), 1e-3)
