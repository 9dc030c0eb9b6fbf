"""Orthogonal matching pursuit, and small least-squares problems, many at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from tokgraft.numerics.similarity import EPSILON, lengths
from tokgraft.numerics.types import Floats

Doubles = npt.NDArray[np.float64]
Ids = npt.NDArray[np.int64]
Estimates = tuple[int, npt.NDArray[Any], Floats, Floats]  # see _Products
Places = list[tuple[int, Any, npt.NDArray[Any]]]  # the first atom of each block, the block, and where its products go
BATCH = 64  # targets at once: few enough for their orthogonal bases to stay near the processor
HELD = 16_000_000  # numbers of the orthogonal bases held at once: 64 MB
BLOCK = 16_384  # atoms at once: products of 4 MB
LARGEST = 127  # of 8 bits
EVEN = 32  # a table whose largest number exceeds this many typical ones leaves 8 bits too few for the others
DOUBT = np.float32(8)  # products nearer than so many roundings of numbers of their size are compared in float64
TOGETHER = 32  # targets whose weights are fitted at once
MISSED = np.float32(
    math.sqrt(math.log(2e12) / 2)
)  # a sum of independent parts is off by more than this many lengths of its ranges once in 10^12


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
    picks: Ids
    weights: Doubles
    left: Doubles


def pursue(targets: Floats, atoms: Floats, k: int, *, normalise: bool = False) -> Iterator[Pursuit]:
    """Orthogonal matching pursuit (Pati et al. 1993) of each target over the same atoms.

    Each step takes the unused atom with the largest absolute product with the residual, and projects the target on all atoms taken. The
    search is in float32, but for atoms that are equally good up to its rounding; the coefficients are fitted anew in float64. A target that is
    explained before k atoms are taken stops there.

    Args:
        targets: (n, d), float32.
        atoms: (m, d), float32, m >= k.
        k: Atoms of a target.
        normalise: Choose by the cosine with the residual; otherwise long atoms are preferred.
    """
    scale = np.linalg.norm(atoms, axis=1, keepdims=True)
    search = np.divide(atoms, scale, out=np.zeros_like(atoms), where=scale > 0) if normalise else atoms
    step = max(min(BATCH, HELD // (k * atoms.shape[1])), 1)
    products = _Products(search)
    for begin in range(0, len(targets), step):
        where = slice(begin, min(begin + step, len(targets)))
        picks = _select(targets[where], products, k)
        weights, left = np.empty(picks.shape), np.empty(len(picks))
        for first in range(0, len(picks), TOGETHER):
            some = slice(first, first + TOGETHER)
            weights[some], left[some] = _fit(targets[where][some], atoms, picks[some])
        yield Pursuit(where, picks, weights, left)


def _fit(targets: Floats, atoms: Floats, picks: Ids) -> tuple[Doubles, Doubles]:
    """Weights of the atoms that bring them nearest to each target, (n, k), and the share of its length that is left, (n,), in float64."""
    none = picks < 0
    taken, goal = atoms[picks].astype(np.float64), targets.astype(np.float64)
    taken[none] = 0
    weights = least_squares(taken, goal, none)
    rest = np.linalg.norm(goal - np.matmul(weights[:, None], taken)[:, 0], axis=1)
    return weights, rest / np.maximum(np.linalg.norm(goal, axis=1), np.finfo(float).tiny)


def _select(targets: Floats, products: _Products, k: int) -> Ids:
    """The atoms that each target takes, (n, k); -1 after it is explained."""
    from tokgraft.numerics import pursuit_loops as _pursuit

    count, width = targets.shape
    basis = np.empty((count, k, width), dtype=np.float32)
    picks = np.full((count, k), -1, dtype=np.int64)
    targets = np.ascontiguousarray(targets, dtype=np.float32)
    residuals = targets.copy()
    length = lengths(residuals)
    live, doubts = length > 0, DOUBT * EPSILON * products.longest * length
    best, strength = np.zeros(count, dtype=np.int64), np.full(count, -1, dtype=np.float32)
    estimates = products.of(residuals)
    for number in range(k):
        for begin, sizes, units, errors in estimates():
            _pursuit.strongest(sizes, units, errors, begin, targets, residuals, doubts, products.atoms, picks, number, live, best, strength)
        if not _pursuit.take(products.atoms, best, strength, number, basis, residuals, length, live, picks):
            break
    return picks


class _Products:
    """Products of residuals with all atoms, by blocks, and how far off they may be.

    What is given of a block: its first atom, products (n, m), what these are to be multiplied with, (n,), and by how much they may then be
    off, (n,).

    Most time of a pursuit goes into these. Where the processor multiplies matrices of 8 bits several times faster than float32 ones, they are
    estimated with those. Atoms that may have the largest product are compared anew, pair by pair in float32, so that what is found depends
    neither on the processor's matrices nor on what else is looked for at once.

    Numbers become integers at random: the nearer one is to the upper integer, the more likely this is taken. So the error of a product has the
    mean 0 and is a sum of independent parts: by Hoeffding's inequality one of 10^12 is off by more than what is told.
    """

    def __init__(self, atoms: Floats, fast: bool | None = None) -> None:
        self.atoms = np.ascontiguousarray(atoms, dtype=np.float32)
        norms, largest = lengths(self.atoms), np.abs(self.atoms).max(initial=np.finfo(np.float32).tiny)
        self.longest = np.float32(norms.max(initial=0))
        even = largest <= EVEN * np.median(norms) / math.sqrt(atoms.shape[1])
        self._fast = bool(even and multiplies_8_bits()) if fast is None else fast
        self._chances = np.random.default_rng(0).random((2, atoms.shape[1]), dtype=np.float32)
        self._blocks: list[tuple[int, Any]] = [(begin, self.atoms[begin : begin + BLOCK].T) for begin in range(0, len(atoms), BLOCK)]
        if self._fast:
            import torch

            self._unit = np.float32(largest / LARGEST)
            narrow = np.clip(np.floor(self.atoms / self._unit + self._chances[0]), -LARGEST, LARGEST).astype(np.int8)
            self._blocks = [(begin, torch.from_numpy(narrow[begin : begin + BLOCK]).t()) for begin, _ in self._blocks]
        self._slack = np.float32(2 * atoms.shape[1] * EPSILON * self.longest)  # of products in float32, for a residual of length 1

    def of(self, residuals: Floats) -> Callable[[], Iterator[Estimates]]:
        """What gives the products of residuals (n, d), as they then are, block by block: each block stands in the place of the one before."""
        count, most = len(residuals), max((atoms.shape[1] for _, atoms in self._blocks), default=0)
        held = np.empty(count * most, dtype=np.int32 if self._fast else np.float32)
        units, errors = np.ones(count, dtype=np.float32), np.empty(count, dtype=np.float32)
        places = [(begin, atoms, held[: count * atoms.shape[1]].reshape(count, -1)) for begin, atoms in self._blocks]
        return partial(self._estimated if self._fast else self._multiplied, residuals, places, units, errors)

    def _multiplied(self, residuals: Floats, places: Places, units: Floats, errors: Floats) -> Iterator[Estimates]:
        errors[:] = self._slack * lengths(residuals)
        for begin, atoms, sizes in places:
            np.matmul(residuals, atoms, out=sizes)
            yield begin, sizes, units, errors

    def _estimated(self, residuals: Floats, places: Places, units: Floats, errors: Floats) -> Iterator[Estimates]:
        import torch

        from tokgraft.numerics import pursuit_loops as _pursuit

        narrow = np.empty(residuals.shape, dtype=np.int8)
        _pursuit.to_8_bits(residuals, self._chances[1], LARGEST, narrow, units, errors, self.longest, self._unit, self._slack, MISSED)
        for begin, atoms, sizes in places:
            torch._int_mm(torch.from_numpy(narrow), atoms, out=torch.from_numpy(sizes))
            yield begin, sizes, units, errors


def multiplies_8_bits() -> bool:
    """Whether the processor multiplies matrices of 8 bits, with exact sums of 32 bits, several times faster than float32 ones (AVX-512 VNNI)."""
    import torch

    return bool(torch.backends.mkldnn.is_available()) and bool(getattr(torch.cpu, "_is_vnni_supported", bool)())  # type: ignore[no-untyped-call]


def least_squares(points: Doubles, goals: Doubles, unused: npt.NDArray[np.bool_] | None = None) -> Doubles:
    """Weights w of each problem that minimise ||goal - w @ points||; the shortest ones where several do.

    Args:
        points: (n, k, d).
        goals: (n, d).
        unused: Points to leave out, (n, k); their weight is 0 and their rows must be 0.

    Returns:
        (n, k).
    """
    gram = np.matmul(points, points.transpose(0, 2, 1))
    if unused is not None:
        diagonal = np.arange(gram.shape[1])
        gram[:, diagonal, diagonal] += unused * 1.0
    return solve(gram, np.matmul(points, goals[:, :, None])[:, :, 0])


def solve(matrices: Doubles, right: Doubles) -> Doubles:
    """Solutions of symmetric systems, (n, k, k) and (n, k) -> (n, k); the shortest ones where a matrix is singular."""
    if matrices.shape[1] == 0:
        return np.zeros_like(right)
    try:
        found: Doubles = np.linalg.solve(matrices, right[:, :, None])[:, :, 0].astype(np.float64)
    except np.linalg.LinAlgError:
        found = np.full_like(right, np.nan)
    # A matrix that is singular up to rounding gives weights that do not solve the system, or none at all.
    error = np.abs(np.matmul(matrices, found[:, :, None])[:, :, 0] - right).max(axis=1)
    bad = np.flatnonzero(~(error <= 1e-6 * np.maximum(np.abs(right).max(axis=1), np.finfo(float).tiny)))
    if len(bad):
        found[bad] = np.matmul(np.linalg.pinv(matrices[bad], rcond=1e-10, hermitian=True), right[bad][:, :, None])[:, :, 0]
    return found
