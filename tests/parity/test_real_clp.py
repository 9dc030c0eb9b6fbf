"""`clp` and `clp_plus` beside langsfer, on real tables, tokenizers and donors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import real
from tokgraft import methods

pytestmark = pytest.mark.slow

high_level = pytest.importorskip("langsfer.high_level")
from langsfer import embeddings, weights  # noqa: E402


@pytest.mark.parametrize("method", ["clp", "clp_plus"])
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("size", real.SIZES)
def test_langsfer(size: int, tied: bool, method: str) -> None:
    """Equal strings are equal tokens here, both tokenizers being byte-level ones with the same special tokens.

    langsfer fills one table; the other one is its own with the other tables.
    """
    task = real.with_donor(size, tied)
    donor = task.resources["donor"]
    published: dict[str, Any] = {"guard": False} if method == "clp" else {}
    ours = methods.apply(method, task, published)
    for name, found, table, helper in (("input", ours.input, task.E, donor.E), ("head", ours.output, task.U, donor.U)):
        if found is None:
            continue
        auxiliary = embeddings.TransformersEmbeddings(helper.astype(float), real.target(size))
        theirs = high_level.clp_transfer(real.source(), table.astype(float), real.target(size), auxiliary)
        if method == "clp_plus":
            theirs.weights_strategy = weights.SparsemaxWeights()
        expected = theirs.initialize(seed=0)
        real.compare(f"{method}, langsfer 0.1.0, {size:,}, {'tied' if tied else 'untied'}, {name}", found, expected)
        if method == "clp":
            guarded = methods.apply(method, task, {})
            moved = real.differences(guarded.input if name == "input" else guarded.output, expected) > real.LIMIT
            kept = np.flatnonzero(~moved)
            longest = np.linalg.norm(table, axis=1).max() * (1 + 1e-6)
            assert (np.linalg.norm(expected[kept], axis=1) <= longest).all()
            real.tell(f"    corrected: {moved.sum()} rows that are no mean become fallbacks")
