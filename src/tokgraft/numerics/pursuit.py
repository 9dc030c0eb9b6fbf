"""Orthogonal matching pursuit: each target as a combination of few atoms."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from tokgraft.numerics.device import tensor
from tokgraft.numerics.least_squares import least_squares
from tokgraft.numerics.types import Doubles, Floats, Ints

HELD = 16_000_000  # numbers of the orthonormal bases that a processor holds at once: 64 MB
TOGETHER = 32  # targets whose weights are fitted at once


@dataclass(frozen=True)
class Pursuit:
    """Sparse codes of a batch of targets.

    Attributes:
        where: Which targets.
        picks: Chosen atoms in order of choice, (n, k); -1 where a target was explained with fewer.
        weights: Their coefficients, (n, k), float64; 0 where there is no atom.
        left: Share of each target's length that is left, (n,).
    """

    where: slice
    picks: Ints
    weights: Doubles
    left: Doubles


def pursue(targets: Floats, atoms: Floats, k: int, *, normalise: bool = False) -> Iterator[Pursuit]:
    """Orthogonal matching pursuit (Pati et al. 1993) of each target over the same atoms.

    Each step takes the unused atom with the largest absolute product with the residual, the first of equals, and projects the target on all
    atoms taken. Products are in float32; of atoms that are equally good up to its rounding the one that is better in float64 is taken, so that
    what is found depends neither on the device nor on what else is searched for at once. The coefficients are fitted anew in float64. A
    target that is explained before k atoms are taken stops there.

    Args:
        targets: (n, d), float32.
        atoms: (m, d), float32, m >= k.
        k: Atoms of a target.
        normalise: Choose by the cosine with the residual; otherwise long atoms are preferred.
    """
    scale = np.linalg.norm(atoms, axis=1, keepdims=True)
    select, step = _search(np.divide(atoms, scale, out=np.zeros_like(atoms), where=scale > 0) if normalise else atoms, k)
    for begin in range(0, len(targets), step):
        where = slice(begin, min(begin + step, len(targets)))
        picks = select(np.ascontiguousarray(targets[where], dtype=np.float32))
        weights, left = np.empty(picks.shape), np.empty(len(picks))
        for first in range(0, len(picks), TOGETHER):
            some = slice(first, first + TOGETHER)
            weights[some], left[some] = _fit(targets[where][some], atoms, picks[some])
        yield Pursuit(where, picks, weights, left)


def _search(atoms: Floats, k: int) -> tuple[Callable[[Floats], Ints], int]:
    """What finds the atoms of some targets, (n, d) -> (n, k), on a GPU where there is one, and of how many at once."""
    import torch

    if torch.cuda.is_available():
        from tokgraft.numerics import pursuit_torch

        table = tensor(atoms)
        return lambda targets: pursuit_torch.select(tensor(targets), table, k).cpu().numpy(), pursuit_torch.BATCH
    from tokgraft.numerics import pursuit_loops

    step = max(1, min(pursuit_loops.BATCH, HELD // (k * atoms.shape[1])))
    return partial(pursuit_loops.select, products=pursuit_loops.Products(atoms), k=k), step


def _fit(targets: Floats, atoms: Floats, picks: Ints) -> tuple[Doubles, Doubles]:
    """Weights of the atoms that bring them nearest to each target, (n, k), and the share of its length that is left, (n,), in float64."""
    none = picks < 0
    taken, goal = atoms[picks].astype(np.float64), targets.astype(np.float64)
    taken[none] = 0
    weights = least_squares(taken, goal, none)
    rest = np.linalg.norm(goal - np.matmul(weights[:, None], taken)[:, 0], axis=1)
    return weights, rest / np.maximum(np.linalg.norm(goal, axis=1), np.finfo(float).tiny)
