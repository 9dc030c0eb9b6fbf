"""The search of orthogonal matching pursuit in torch: on any device, and the fastest one on a GPU."""

from __future__ import annotations

import torch
from torch import Tensor

from tokgraft.numerics.device import product
from tokgraft.numerics.largest import reaching

BATCH = 2048  # targets at once: their orthonormal bases of 64 atoms of 1,024 dimensions take 0.5 GB
BLOCK = 16_384  # atoms at once
FOLD = 32  # atoms of which the largest product is looked at first; a block is a multiple of it
PAIRS = 65_536  # pairs of a residual and an atom that are compared at once
EXPLAINED = 1e-5  # a target is done when this share of its length is left; less is rounding in float32
ROUNDING = 2.0**-24  # to float32, as a share of a number
DOUBT = 8.0  # products nearer than so many roundings of numbers of their size are compared in float64


def select(targets: Tensor, atoms: Tensor, k: int) -> Tensor:
    """The atoms that each target takes, in order of choice, (n, d) and (m, d) float32 -> (n, k); -1 after it is explained."""
    n, d = targets.shape
    basis = targets.new_empty((n, k, d))  # orthonormal directions of the atoms taken
    picks = torch.full((n, k), -1, device=targets.device)
    residuals, lengths = targets.clone(), targets.norm(dim=1)
    longest = atoms.norm(dim=1).max()
    live = lengths > 0
    for number in range(k):
        used = picks[:, :number]
        target, atom, size = _strongest(residuals, atoms, used, live, 2 * d * ROUNDING * longest * residuals.norm(dim=1))
        best = _best(target, atom, size, targets, atoms, used, DOUBT * ROUNDING * longest * lengths)
        vectors = atoms[best]
        before = vectors.norm(dim=1)
        vectors = _without(vectors, basis[:, :number])
        again = torch.nonzero(vectors.norm(dim=1) < 0.5 * before)[:, 0]  # Kahan and Parlett: once is not enough where atoms are alike
        vectors[again] = _without(vectors[again], basis[again, :number])
        after = vectors.norm(dim=1)
        live &= after > EXPLAINED * before
        picks[live, number] = best[live]
        basis[:, number] = vectors.div_(after.clamp(min=torch.finfo(after.dtype).tiny)[:, None])
        residuals -= (residuals * vectors).sum(1, keepdim=True) * vectors * live[:, None]
        live &= residuals.norm(dim=1) > EXPLAINED * lengths
        if not bool(live.any()):
            break
    return picks


def _without(vectors: Tensor, basis: Tensor) -> Tensor:
    """Vectors (n, d) less their part in the span of orthonormal ones, (n, j, d)."""
    inside = torch.bmm(basis, vectors[:, :, None])
    return torch.baddbmm(vectors[:, None], inside.mT, basis, alpha=-1)[:, 0]


def _strongest(residuals: Tensor, atoms: Tensor, used: Tensor, live: Tensor, errors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Residuals and unused atoms whose absolute products may be the largest of the residual, and these in float32.

    A product depends on what it is computed together with by `errors` at most, (n,): what may be the largest is multiplied again by itself.
    """
    reach = torch.where(live, 0, torch.inf)  # the largest product of each residual is no less than this
    found = []
    for begin in range(0, len(atoms), BLOCK):
        block = atoms[begin : begin + BLOCK]
        sizes = residuals.new_zeros((len(residuals), len(block) + -len(block) % FOLD))  # after the atoms of the last block: zeros
        product(residuals, block.T, sizes[:, : len(block)])
        sizes = sizes.abs_().view(len(residuals), FOLD, -1)
        largest = sizes.amax(dim=1)
        reach = torch.maximum(reach, largest.amax(dim=1) - 2 * errors)
        target, column, size = reaching(sizes, largest, reach)
        found.append((target, begin + column, size))
    target, atom, size = (torch.cat(parts) for parts in zip(*found))
    kept = (size >= reach[target]) & (atom < len(atoms)) & ~(used[target] == atom[:, None]).any(1)
    target, atom = target[kept], atom[kept]
    pairs = [(atoms[a] * residuals[t]).sum(1).abs_() for t, a in zip(torch.split(target, PAIRS), torch.split(atom, PAIRS))]
    return target, atom, torch.cat(pairs)


def _best(target: Tensor, atom: Tensor, size: Tensor, targets: Tensor, atoms: Tensor, used: Tensor, doubts: Tensor) -> Tensor:
    """The atom with the largest product for each target, (n,), among pairs (target, atom); 0 where there is none.

    Products that differ by `doubts`, (n,), or less are compared in float64, with the target less its part in the span of the used atoms.
    """
    largest = size.new_zeros(len(targets)).scatter_reduce_(0, target, size, "amax")
    near = size >= (largest - doubts)[target]
    target, atom, exact = target[near], atom[near], size[near].double()
    unclear = torch.nonzero(torch.bincount(target, minlength=len(targets)) > 1)[:, 0]
    if len(unclear):
        basis = torch.linalg.qr(atoms[used[unclear]].double().mT).Q.mT
        left = _without(_without(targets[unclear].double(), basis), basis)
        again = torch.nonzero(torch.isin(target, unclear))[:, 0]
        exact[again] = (atoms[atom[again]].double() * left[torch.searchsorted(unclear, target[again])]).sum(1).abs_()
        kept = exact == exact.new_zeros(len(targets)).scatter_reduce_(0, target, exact, "amax")[target]
        target, atom = target[kept], atom[kept]
    first = torch.full((len(targets),), len(atoms), device=atom.device).scatter_reduce_(0, target, atom, "amin")
    return torch.where(first < len(atoms), first, 0)
