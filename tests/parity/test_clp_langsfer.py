"""`clp` and `clp_plus` beside langsfer, and beside the formulas written out."""

from __future__ import annotations

import numpy as np
import pytest

import donors
import toys
from tokgraft import methods
from tokgraft.methods import Floats, Transplant


def written_out(task: Transplant, G: Floats, table: Floats) -> Floats:
    """sum_o cos(g_t, g_o) E[o] / sum_o cos(g_t, g_o), token by token in float64."""
    anchors, new = donors.made(task)
    unit = G.astype(float) / np.linalg.norm(G.astype(float), axis=1, keepdims=True)
    known = table[[task.overlap[anchor].source for anchor in anchors]].astype(float)
    rows = [(weights := unit[anchors] @ unit[number]) @ known / weights.sum() for number in new]
    return np.array(rows)


def test_clp_is_its_formula_in_each_table() -> None:
    task = donors.task(tied=False, donor_tied=False)
    rows = methods.apply("clp", task, {"guard": False})
    _, new = donors.made(task)
    donor = task.resources["donor"]
    assert rows.output is not None
    for ours, expected in ((rows.input, written_out(task, donor.E, task.E)), (rows.output, written_out(task, donor.U, task.U))):
        assert np.allclose(ours[new], expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("method", ["clp", "clp_plus"])
def test_same_rows_as_langsfer(method: str) -> None:
    langsfer = pytest.importorskip("langsfer.high_level")
    weights = pytest.importorskip("langsfer.weights")
    embeddings = pytest.importorskip("langsfer.embeddings")
    source, target = toys.tokenizer("byte_level"), toys.tokenizer("byte_level", 1200, "both")  # equal strings are equal bytes here
    task = donors.task(source, target)
    auxiliary = embeddings.TransformersEmbeddings(task.resources["donor"].E.astype(float), target)
    theirs = langsfer.clp_transfer(source, task.E.astype(float), target, auxiliary)
    if method == "clp_plus":
        theirs.weights_strategy = weights.SparsemaxWeights()
    expected = theirs.initialize(seed=0)
    rows = methods.apply(method, task, {"guard": False} if method == "clp" else {})
    scale = np.abs(expected).max(axis=1, keepdims=True)
    assert (np.abs(rows.input - expected) / scale).max() < 1e-4
