"""`cw2v` and its training beside torch: softmax(A1 A2) E, the published losses, their gradients and Adam."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
import torch
from torch.nn.functional import logsigmoid

from tokgraft.numerics.hull import Factors, points
from tokgraft.resources._word2vec import Training, WordTable, step

TOKENS, NEW, SOURCE, WIDTH, RANK = 20, 12, 30, 8, 5


def training(loss: Literal["standard", "summed"]) -> Training:
    return Training(window=2, negatives=3, batch=16, epochs=1, max_steps=1, rate=1e-2, keep=2.0, loss=loss, replace=True)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("loss", ["standard", "summed"])
def test_steps_are_those_of_autograd_and_adam(loss: Literal["standard", "summed"], tied: bool) -> None:
    rng = np.random.default_rng(0)
    mixture = np.concatenate([np.full(TOKENS - NEW, -1), np.arange(NEW)])
    tables, theirs = [], []
    for _ in range(1 if tied else 2):
        left, right = (rng.normal(size=(size, RANK)).astype(np.float32) for size in (NEW, SOURCE))
        source, fixed = (rng.normal(size=(size, WIDTH)).astype(np.float32) for size in (SOURCE, TOKENS))
        theirs.append([torch.tensor(array, dtype=torch.float64) for array in (left, right, source, fixed)])
        tables.append(WordTable(fixed, mixture, Factors(left, right, np.ones(SOURCE, dtype=np.int64)), source))
    parameters = [tensor.requires_grad_() for factors in theirs for tensor in factors[:2]]
    optimizer = torch.optim.Adam(parameters, lr=1e-2)
    for _ in range(3):
        centres, others = rng.integers(0, TOKENS, 16), rng.integers(0, TOKENS, (16, 4))
        found = step((tables[0], tables[-1]), centres, others, training(loss))
        rows = [torch.cat([fixed[: TOKENS - NEW], torch.softmax(left @ right.T, dim=1) @ source]) for left, right, source, fixed in theirs]
        scores = (rows[0][centres][:, None] * rows[-1][others]).sum(dim=-1)
        wrong = scores[:, 1:].sum(dim=1, keepdim=True) if loss == "summed" else scores[:, 1:]
        expected = -(logsigmoid(scores[:, 0]) + logsigmoid(-wrong).sum(dim=1)).mean()
        assert found == pytest.approx(expected.item(), rel=1e-5)
        optimizer.zero_grad()
        expected.backward()
        optimizer.step()
    for table, (left, right, *_) in zip(tables, theirs):
        assert np.allclose(table.factors.left, left.detach(), atol=1e-4)
        assert np.allclose(table.factors.right, right.detach(), atol=1e-4)


def test_groups_are_a_softmax_over_source_rows_with_shared_logits() -> None:
    rng = np.random.default_rng(1)
    groups = np.concatenate([np.arange(7), rng.integers(0, 7, SOURCE - 7)])
    left, right = (rng.normal(size=(size, RANK)).astype(np.float32) for size in (NEW, 7))
    E = rng.normal(size=(SOURCE, WIDTH)).astype(np.float32)
    factors = Factors(left, right, np.bincount(groups))
    found = factors.rows(np.arange(NEW), points(E, np.arange(SOURCE), groups, 7))
    logits = torch.tensor(left, dtype=torch.float64) @ torch.tensor(right, dtype=torch.float64).T
    expected = torch.softmax(logits[:, groups], dim=1) @ torch.tensor(E, dtype=torch.float64)
    assert np.allclose(found, expected, atol=1e-5)
