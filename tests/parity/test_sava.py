"""`sava` beside independent solutions: scikit-learn's ridge, scipy's Procrustes, torch's Adam."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import donors
from tokgraft import methods
from tokgraft.methods import Transplant
from tokgraft.methods.sava import RIDGES, STEPS


def scaled(task: Transplant) -> tuple[Any, Any, Any, Any, list[int]]:
    """Anchors in both spaces, scaled as the paper says; new rows; how to go back; the new ids."""
    anchors, new = donors.made(task)
    donor = task.resources["donor"].E.astype(float)
    A, B = donor[anchors], task.E[[task.overlap[number].source for number in anchors]].astype(float)
    Z, W = (A - A.mean(0)) / A.std(0), (B - B.mean(0)) / B.std(0)
    left, right = np.linalg.norm(Z, axis=1).mean(), np.linalg.norm(W, axis=1).mean()
    return Z / left, W / right, (donor[new] - A.mean(0)) / A.std(0) / left, lambda rows: rows * right * B.std(0) + B.mean(0), new


@pytest.mark.parametrize(("width", "donor_width"), [(24, 40), (40, 24)])
def test_rotation(width: int, donor_width: int) -> None:
    linalg = pytest.importorskip("scipy.linalg")
    task = donors.task(width=width, donor_width=donor_width)
    X, Y, new_rows, back, new = scaled(task)
    # Unequal widths are filled up with zeros.
    size = max(width, donor_width)
    rotation, _ = linalg.orthogonal_procrustes(*(np.pad(rows, ((0, 0), (0, size - rows.shape[1]))) for rows in (X, Y)))
    expected = back((np.pad(new_rows, ((0, 0), (0, size - donor_width))) @ rotation)[:, :width])
    assert np.allclose(methods.apply("sava", task, {"map": "orthogonal"}).input[new], expected, rtol=1e-4, atol=1e-5)


def test_ridge_and_what_it_says_about_itself() -> None:
    linear, selection = pytest.importorskip("sklearn.linear_model"), pytest.importorskip("sklearn.model_selection")
    task = donors.task()
    X, Y, new_rows, back, new = scaled(task)
    folds = selection.PredefinedSplit(np.arange(len(X)) % 5)
    found = {}
    for ridge in RIDGES:
        made = np.empty_like(Y)
        for train, test in folds.split():
            fitted = linear.Ridge(alpha=ridge * (X[train] ** 2).sum() / X.shape[1]).fit(X[train], Y[train])
            made[test] = fitted.predict(X[test])
        cosine = (made * Y).sum(1) / np.linalg.norm(made, axis=1) / np.linalg.norm(Y, axis=1)
        found[ridge] = (((made - Y) ** 2).sum(), cosine.mean())
    best = min(found, key=lambda ridge: found[ridge][0])
    rows = methods.apply("sava", task, {})
    assert rows.stats["ridge"] == pytest.approx(best)
    assert rows.stats["held_out_cosine"] == pytest.approx(found[best][1], abs=1e-5)
    expected = back(linear.Ridge(alpha=best * (X**2).sum() / X.shape[1]).fit(X, Y).predict(new_rows))
    assert np.allclose(rows.input[new], expected, rtol=1e-4, atol=1e-5)


def test_descent() -> None:
    task = donors.task()
    X, Y, new_rows, back, new = (torch.from_numpy(part) if isinstance(part, np.ndarray) else part for part in scaled(task))
    layer = torch.nn.Linear(X.shape[1], Y.shape[1], dtype=torch.float64)
    torch.nn.init.zeros_(layer.weight), torch.nn.init.zeros_(layer.bias)
    optimizer = torch.optim.Adam(layer.parameters(), lr=1e-3)
    for _ in range(STEPS):
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(layer(X), Y).backward()
        optimizer.step()
    expected = back(layer(new_rows).detach().numpy())
    assert np.allclose(methods.apply("sava", task, {"map": "sgd"}).input[new], expected, rtol=1e-2, atol=1e-3 * np.abs(expected).max())
