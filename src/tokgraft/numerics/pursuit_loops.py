"""The search of orthogonal matching pursuit on a processor: products in 8 bits, and loops that are compiled when they are first called.

It stands beside `pursuit_torch` because on a processor it is seven times as fast on real sizes (docs/decisions.md): 0.75 ms for the 64 steps of a
token over 3,300 atoms of 256 dimensions, where torch takes 5.3. The machine code is kept beside this file.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from tokgraft.numerics.similarity import EPSILON, lengths
from tokgraft.numerics.types import Flags, Floats, Ints

Rows = npt.NDArray[np.floating[Any]]
BATCH = 64  # targets at once: few enough for their orthonormal bases to stay near the processor
BLOCK = 16_384  # atoms at once: products of 4 MB
GROUPS = 256  # products are looked at in so many groups, of each the largest first
LARGEST = 127  # of 8 bits
EVEN = 32  # a table whose largest number exceeds this many typical ones leaves 8 bits too few for the others
EXPLAINED = 1e-5  # a target is done when this share of its length is left; less is rounding in float32
DOUBT = np.float32(8)  # products nearer than so many roundings of numbers of their size are compared in float64
MISSED = np.float32(math.sqrt(math.log(2e12) / 2))  # a sum of independent parts is off by more lengths of its ranges once in 10^12


def select(targets: Floats, products: Products, k: int) -> Ints:
    """The atoms that each target takes, in order of choice, (n, d) -> (n, k); -1 after it is explained."""
    count, width = targets.shape
    basis = np.empty((count, k, width), dtype=np.float32)
    picks = np.full((count, k), -1, dtype=np.int64)
    residuals = targets.copy()
    length = lengths(residuals)
    live, doubts = length > 0, DOUBT * EPSILON * products.longest * length
    best, strength = np.zeros(count, dtype=np.int64), np.full(count, -1, dtype=np.float32)
    for number in range(k):
        for begin, sizes, units, errors in products.of(residuals):
            strongest(sizes, units, errors, begin, targets, residuals, doubts, products.atoms, picks, number, live, best, strength)
        if not take(products.atoms, best, strength, number, basis, residuals, length, live, picks):
            break
    return picks


class Products:
    """Products of residuals with all atoms, by blocks, and how far off they may be.

    Most time of a pursuit goes into these. Where the processor multiplies matrices of 8 bits several times faster than float32 ones, they are
    estimated with those. Atoms that may have the largest product are compared anew, pair by pair in float32, so that what is found depends
    neither on the processor's matrices nor on what else is looked for at once.

    Numbers become integers at random: the nearer one is to the upper integer, the more likely this is taken. So the error of a product has the
    mean 0 and is a sum of independent parts: by Hoeffding's inequality one of 10^12 is off by more than what is told.
    """

    def __init__(self, atoms: Floats, narrow: bool | None = None) -> None:
        self.atoms = np.ascontiguousarray(atoms, dtype=np.float32)
        norms, largest = lengths(self.atoms), np.abs(self.atoms).max(initial=np.finfo(np.float32).tiny)
        self.longest = np.float32(norms.max(initial=0))
        even = largest <= EVEN * np.median(norms) / math.sqrt(atoms.shape[1])
        self._narrow = bool(even and multiplies_8_bits()) if narrow is None else narrow
        self._chances = np.random.default_rng(0).random((2, atoms.shape[1]), dtype=np.float32)
        self._unit = np.float32(largest / LARGEST)
        self._slack = np.float32(2 * atoms.shape[1] * EPSILON * self.longest)  # of products in float32, for a residual of length 1
        table: Any = self.atoms
        if self._narrow:
            import torch

            table = torch.from_numpy(_integers(self.atoms / self._unit, self._chances[0]).astype(np.int8))
        self._blocks = [(begin, table[begin : begin + BLOCK].T) for begin in range(0, len(atoms), BLOCK)]
        self._held = np.empty(BATCH * min(BLOCK, len(atoms)), dtype=np.int32 if self._narrow else np.float32)

    def of(self, residuals: Floats) -> Iterator[tuple[int, npt.NDArray[Any], Floats, Floats]]:
        """Of each block: its first atom, estimated products, (n, m), what they are to be multiplied with, (n,), and how far off they then are, (n,).

        The products of a block stand where those of the one before stood; there are at most BATCH residuals.
        """
        units, errors = np.ones(len(residuals), dtype=np.float32), self._slack * lengths(residuals)
        if self._narrow:
            import torch

            own = np.maximum(np.abs(residuals).max(axis=1), np.finfo(np.float32).tiny) / LARGEST
            narrow = _integers(residuals / own[:, None], self._chances[1])
            errors += MISSED * own * np.sqrt(self.longest**2 + self._unit**2 * np.einsum("nd,nd->n", narrow, narrow))
            units, narrow = own * self._unit, narrow.astype(np.int8)
        for begin, atoms in self._blocks:
            sizes = self._held[: len(residuals) * atoms.shape[1]].reshape(len(residuals), -1)
            if self._narrow:
                torch._int_mm(torch.from_numpy(narrow), atoms, out=torch.from_numpy(sizes))
            else:
                np.matmul(residuals, atoms, out=sizes)
            yield begin, sizes, units, errors


def _integers(rows: Floats, chances: Floats) -> Floats:
    """Rows (n, d), rounded up where what is above the lower integer exceeds 1 - chance, (d,), and no larger than LARGEST."""
    found: Floats = np.clip(np.floor(rows + chances), -LARGEST, LARGEST)
    return found


def multiplies_8_bits() -> bool:
    """Whether the processor multiplies matrices of 8 bits, with exact sums of 32 bits, several times faster than float32 ones (AVX-512 VNNI)."""
    import torch

    return bool(torch.backends.mkldnn.is_available()) and bool(getattr(torch.cpu, "_is_vnni_supported", bool)())  # type: ignore[no-untyped-call]


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function as machine code.

    Sums may be taken in any order and nothing is NaN, so that loops over a row use the processor's wide registers: they do where a loop is a
    function of its own.
    """
    options = {"nogil": True, "error_model": "numpy", "fastmath": {"reassoc", "contract", "nnan", "nsz"}}
    made: Callable[..., Any]
    try:
        made = njit(cache=True, **options)(function)
    except RuntimeError:  # neither beside this file nor in the user's cache anything can be written
        made = njit(**options)(function)
    return made


@compiled
def dot(left: Rows, right: Rows) -> Any:
    """Product of two rows, (d,), in the precision of the first."""
    total = left.dtype.type(0)
    for place in range(len(left)):
        total += left[place] * right[place]
    return total


@compiled
def strongest(
    sizes: npt.NDArray[np.generic],
    units: Floats,
    errors: Floats,
    begin: int,
    targets: Floats,
    residuals: Floats,
    doubts: Floats,
    atoms: Floats,
    picks: Ints,
    taken: int,
    live: Flags,
    best: Ints,
    strength: Floats,
) -> None:
    """Find the unused atom that has the largest absolute product with each residual, the first of equals, among some atoms.

    Of products that are equal up to rounding in float32 the larger one is found in float64.

    Args:
        sizes: Estimated products with these atoms, (n, m); overwritten.
        units: What they are to be multiplied with, (n,).
        errors: By how much they may then be off, (n,).
        begin: The place of the first of these atoms among all.
        targets: (n, d).
        residuals: What is left of them, (n, d).
        doubts: How near products are to each other between which float32 does not decide, (n,).
        atoms: All of them, (a, d).
        picks: Places of used atoms, (n, k), of which `taken` are filled.
        taken: How many are filled.
        live: Which residuals to look at, (n,).
        best: Places of the strongest atoms so far, (n,); updated.
        strength: Their products, (n,); updated.
    """
    count = sizes.shape[1]
    groups = min(GROUPS, count)
    maxima = np.empty(groups, dtype=sizes.dtype)
    for number in range(len(sizes)):
        if not live[number]:
            continue
        row, unit, used, doubt = sizes[number], units[number], picks[number, :taken], doubts[number]
        error, exactly, sure = errors[number] + doubt, np.empty(0), -1.0
        for order in range(taken):
            if 0 <= used[order] - begin < count:
                row[used[order] - begin] = 0
        first = group_maxima(row, maxima)
        reach = max(strength[number], maxima[first] * unit - error)
        for step in range(groups):
            group = (first + step) % groups  # the likeliest first: the others have to come near what it has
            if maxima[group] * unit + error < reach:
                continue
            for place in range(group, count, groups):
                if abs(row[place]) * unit + error < reach or holds(used, begin + place):
                    continue
                found = abs(dot(residuals[number], atoms[begin + place]))
                if found < strength[number] - doubt:
                    continue
                surely = -1.0
                if strength[number] >= 0 and found <= strength[number] + doubt:
                    if len(exactly) == 0:
                        exactly = remainder(targets[number], atoms, used)
                    if sure < 0:
                        sure = abs(dot(exactly, atoms[best[number]]))
                    surely = abs(dot(exactly, atoms[begin + place]))
                    if surely < sure or (surely == sure and begin + place > best[number]):
                        continue
                strength[number], best[number], sure = found, begin + place, surely
                reach = max(reach, found)


@compiled
def holds(places: Ints, place: int) -> bool:
    """Whether a place is among others, (j,)."""
    found = False
    for number in range(len(places)):
        found |= places[number] == place
    return found


@compiled
def group_maxima(row: npt.NDArray[np.generic], maxima: npt.NDArray[np.generic]) -> int:
    """Write the largest absolute value of each group of places (g, g + groups, g + 2 groups, ...) of a row; the group of the largest of all."""
    for group in range(len(maxima)):
        maxima[group] = 0
    for start in range(0, len(row), len(maxima)):
        raise_to(maxima, row[start : start + len(maxima)])
    first = 0
    for group in range(len(maxima)):
        if maxima[group] > maxima[first]:
            first = group
    return first


@compiled
def raise_to(maxima: npt.NDArray[np.generic], values: npt.NDArray[np.generic]) -> None:
    """Raise the first numbers to the absolute values where these are larger, (g,) and (g or fewer,)."""
    for place in range(len(values)):
        maxima[place] = max(maxima[place], abs(values[place]))


@compiled
def add(vector: Rows, factor: Any, other: Rows) -> None:
    """vector += factor * other, (d,)."""
    for place in range(len(vector)):
        vector[place] += factor * other[place]


@compiled
def project_out(vector: Rows, basis: Rows) -> Any:
    """Subtract from a vector, in place, its part in the span of an orthonormal basis, (d,) and (j, d); the length of what is left."""
    for number in range(len(basis)):
        add(vector, -dot(vector, basis[number]), basis[number])
    return math.sqrt(dot(vector, vector))


@compiled
def remainder(target: Floats, atoms: Floats, places: Ints) -> npt.NDArray[np.float64]:
    """What is left of a target, (d,), without its part in the span of some atoms, in float64."""
    basis = np.empty((len(places), len(target)))
    for number in range(len(places)):
        vector, atom = basis[number], atoms[places[number]]
        for place in range(len(atom)):
            vector[place] = atom[place]
        project_out(vector, basis[:number])
        length = project_out(vector, basis[:number])
        for place in range(len(vector)):
            vector[place] /= length
    left = target.astype(np.float64)
    project_out(left, basis)
    project_out(left, basis)
    return left


@compiled
def take(
    atoms: Floats, best: Ints, strength: Floats, number: int, basis: Floats, residuals: Floats, lengths: Floats, live: Flags, picks: Ints
) -> bool:
    """Take an atom for each target: extend its basis, and subtract from its residual the part in the new direction.

    Args:
        atoms: (a, d).
        best: The place of the atom for each target, (n,).
        strength: Their products, (n,); -1 afterwards.
        number: Which one of each target's atoms this is.
        basis: Orthonormal directions of the atoms before, (n, k, d); updated.
        residuals: (n, d); updated.
        lengths: Of the targets, (n,).
        live: Which targets are not explained yet, (n,); updated.
        picks: Places of the atoms, (n, k); updated.

    Returns:
        Whether a target is left that is not explained.
    """
    left = False
    for target in range(len(best)):
        strength[target] = -1
        if not live[target]:
            continue
        vector, atom = basis[target, number], atoms[best[target]]
        before = np.float32(math.sqrt(dot(atom, atom)))
        for place in range(len(atom)):
            vector[place] = atom[place]
        after = project_out(vector, basis[target, :number])
        if after < 0.5 * before:  # the rule of Kahan and Parlett: once is not enough where atoms are alike
            after = project_out(vector, basis[target, :number])
        if after <= EXPLAINED * before:
            live[target] = False
            continue
        for place in range(len(vector)):
            vector[place] /= after
        picks[target, number] = best[target]
        live[target] = project_out(residuals[target], basis[target, number : number + 1]) > EXPLAINED * lengths[target]
        left |= live[target]
    return left
