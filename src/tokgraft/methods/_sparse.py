"""Orthogonal matching pursuit, and small least-squares problems, many at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tokgraft.methods._bfloat16 import EPSILON, ROUNDING, bits, bits_below, from_bits, is_fast, lengths, narrow, product
from tokgraft.methods._contract import Floats

Doubles = npt.NDArray[np.float64]
Ids = npt.NDArray[np.int64]
BATCH = 512  # targets at once
HELD = 16_000_000  # numbers of the orthogonal bases held at once: 64 MB
BLOCK = 4_000_000  # numbers of one block of products: 16 MB
PAIRS = 4096  # products that are compared anew at once
TOGETHER = 32  # targets whose atoms are worked on at once: they stay near the processor
MANY = 64  # more candidates than this for a residual are dearer than all its products
EXPLAINED = 1e-5  # a target is done when this share of its length is left; less is rounding in float32


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
    search is in float32; the coefficients are fitted anew in float64. A target that is explained before k atoms are taken stops there.

    Args:
        targets: (n, d), float32.
        atoms: (m, d), float32, m >= k.
        k: Atoms of a target.
        normalise: Choose by the cosine with the residual; otherwise long atoms are preferred.
    """
    scale = np.linalg.norm(atoms, axis=1, keepdims=True) if normalise else np.ones((len(atoms), 1), dtype=np.float32)
    search = np.divide(atoms, scale, out=np.zeros_like(atoms), where=scale > 0)
    step = max(min(BATCH, HELD // (k * atoms.shape[1])), 1)
    strongest = _Search(search)
    for begin in range(0, len(targets), step):
        where = slice(begin, min(begin + step, len(targets)))
        picks = _select(targets[where], strongest, k)
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


def _select(targets: Floats, search: _Search, k: int) -> Ids:
    """The atoms that each target takes, (n, k); -1 after it is explained."""
    count, width = targets.shape
    basis = np.zeros((count, k, width), dtype=np.float32)
    picks = np.full((count, k), -1, dtype=np.int64)
    residual = targets.copy()
    length = np.linalg.norm(targets, axis=1)
    live = length > 0
    for number in range(k):
        if not live.any():
            break
        best = np.zeros(count, dtype=np.int64)
        best[live] = search(residual[live], picks[live, :number])
        vector = search.atoms[best]
        before = lengths(vector)
        _project_out(vector, basis[:, :number])
        after = lengths(vector)
        if len(again := np.flatnonzero(after < 0.5 * before)):  # the rule of Kahan and Parlett: once is not enough where atoms are alike
            part = vector[again]
            _project_out(part, basis[again, :number])
            vector[again], after[again] = part, lengths(part)
        live &= after > EXPLAINED * before
        vector *= np.divide(1, after, out=np.zeros_like(after), where=live)[:, None]
        picks[live, number] = best[live]
        basis[:, number] = vector
        residual -= np.einsum("nd,nd->n", residual, vector)[:, None] * vector
        live &= lengths(residual) > EXPLAINED * length
    return picks


class _Search:
    """Finds the unused atom that has the largest absolute product with a residual; the first of equals.

    Most time of a pursuit goes into these products. Where the processor multiplies bfloat16 matrices several times faster, they are bounded
    with those first. Atoms that may be the largest within the rounding are compared anew, pair by pair in float32, so that what is
    found depends neither on the processor's matrices nor on what else is looked for at once.
    """

    def __init__(self, atoms: Floats, fast: bool | None = None) -> None:
        self.atoms = atoms
        self._narrow: Any = narrow(atoms) if (is_fast() if fast is None else fast) else None
        self._longest = float(lengths(atoms).max(initial=0))
        self._rough: Any = None  # products, held to be used again
        self._exact: Floats | None = None
        self._lost = 0.0 if self._narrow is None else float(lengths(atoms - self._narrow.float().numpy()).max(initial=0))

    def __call__(self, residual: Floats, used: Ids) -> Ids:
        """Places of the atoms, (n,), for residuals (n, d) and the places already used, (n, j)."""
        best, strength = np.zeros(len(residual), dtype=np.int64), np.full(len(residual), -1, dtype=np.float32)
        step = max(BLOCK // len(residual), 1)
        for begin in range(0, len(self.atoms), step):
            block = slice(begin, begin + step)
            found, value, unclear = self._in_block(residual, used - begin, block, self._narrow is not None)
            if len(unclear):
                found[unclear], value[unclear], _ = self._in_block(residual[unclear], used[unclear] - begin, block, False)
            better = value > strength
            best[better], strength[better] = found[better] + begin, value[better]
        return best

    def _in_block(self, residual: Floats, used: Ids, block: slice, bounded: bool) -> tuple[Ids, Floats, Ids]:
        """The place within the block, and the product, of the strongest atom of each residual; -1 for a product where all are used.

        Also the residuals of which the bounds say nothing: they leave too many atoms, or used ones only.
        """
        atoms, count, slack = self.atoms[block], len(residual), 2 * residual.shape[1] * EPSILON * self._longest * lengths(residual)
        if bounded:
            sizes, error = self._bounds(residual, block)
            highest = from_bits(sizes.max(axis=1))
            lowest = np.maximum(highest * (1 - ROUNDING) - 2 * error - slack, 0)
            found = np.flatnonzero(sizes >= bits_below(lowest * (1 - ROUNDING))[:, None])
        else:
            products = self._sizes(residual, atoms)
            row, column = np.nonzero((used >= 0) & (used < len(atoms)))
            products[row, used[row, column]] = -1
            highest = products.max(axis=1)
            found = np.flatnonzero((products >= (highest - slack)[:, None]) & (products >= 0))
        row, column = np.divmod(found, len(atoms))
        several = np.bincount(row, minlength=count) > (MANY if bounded else len(atoms))
        kept = np.flatnonzero(~(several[row] | (used[row] == column[:, None]).any(axis=1)))
        row, column = row[kept], column[kept]
        places, values = np.zeros(count, dtype=np.int64), np.full(count, -1, dtype=np.float32)
        if len(row):
            exact = _products(residual, atoms, row, column)
            first = np.flatnonzero(np.diff(row, prepend=-1))
            values[row[first]] = np.maximum.reduceat(exact, first)
            best = np.flatnonzero(exact == values[row])[::-1]  # of equals the first atom: it is assigned last
            places[row[best]] = column[best]
        return places, values, np.flatnonzero(values < 0) if bounded else np.zeros(0, dtype=np.int64)

    def _sizes(self, residual: Floats, atoms: Floats) -> Floats:
        """Absolute products, (n, m)."""
        if self._exact is None:
            self._exact = np.empty(BLOCK, dtype=np.float32)
        found = self._exact[: len(residual) * len(atoms)].reshape(len(residual), len(atoms))
        return np.abs(np.matmul(residual, atoms.T, out=found), out=found)

    def _bounds(self, residual: Floats, block: slice) -> tuple[npt.NDArray[np.int16], Floats]:
        """Absolute products in bfloat16, (n, m), as integers in the same order, and by how much they may be off but for their own rounding."""
        rough = narrow(residual)
        atoms = self._narrow[block]
        if self._rough is None:
            self._rough = narrow(np.zeros(BLOCK, dtype=np.float32))
        sizes = bits(product(rough, atoms.T, self._rough[: len(rough) * len(atoms)].view(len(rough), len(atoms))))
        sizes &= 0x7FFF  # without their sign they are in the order of their absolute values
        # r a - r' a' = (r - r') a' + r (a - a')
        error = lengths(residual - rough.float().numpy()) * self._longest * (1 + ROUNDING) + lengths(residual) * self._lost
        return sizes, error


def _products(left: Floats, right: Floats, row: Ids, column: Ids) -> Floats:
    """Absolute products left[row] right[column], (n,)."""
    found = np.empty(len(row), dtype=np.float32)
    for begin in range(0, len(row), PAIRS):
        pairs = slice(begin, begin + PAIRS)
        np.einsum("nd,nd->n", left[row[pairs]], right[column[pairs]], out=found[pairs])
    return np.abs(found, out=found)


def _project_out(vectors: Floats, basis: Floats) -> None:
    """Subtract from each vector, in place, its part in the span of its own basis, (n, d) and (n, j, d)."""
    for begin in range(0, len(vectors), TOGETHER):  # a basis is read twice: it stays near the processor
        some, own = vectors[begin : begin + TOGETHER], basis[begin : begin + TOGETHER]
        some -= np.matmul(np.matmul(own, some[:, :, None]).transpose(0, 2, 1), own)[:, 0]


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
