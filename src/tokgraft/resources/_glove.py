"""GloVe vectors (Pennington 2014) by a vectorised, seeded AdaGrad: the same inputs give the same bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tokgraft.logs import Heartbeat
from tokgraft.resources._streams import TokenStream

Floats = npt.NDArray[np.float32]
PART = 256  # tokens of one side of a tile, the unit of one update
TOKENS = 500_000  # tokens whose pairs are counted at a time
DENSE = 1 / 16  # from this share of counted pairs on, all products of a tile are cheaper than the counted ones


@dataclass(frozen=True)
class Fit:
    """What is fitted and how.

    Attributes:
        dim: Width of the vectors.
        x_max: Count from which on a pair has full weight.
        power: Exponent of the weight below that.
        iterations: Passes over the counts.
        rate: Learning rate.
        seed: Seed of the first numbers and of the order of updates.
    """

    dim: int
    x_max: float
    power: float
    iterations: int
    rate: float
    seed: int


@dataclass(frozen=True)
class _Tile:
    """The counted pairs of one part of the tokens with another; rows and columns are local to the parts."""

    left: slice
    right: slice
    rows: npt.NDArray[np.int32]
    indptr: npt.NDArray[np.int32]
    columns: npt.NDArray[np.int32]
    logs: Floats
    weights: Floats


def count(stream: TokenStream, size: int, window: int) -> Any:
    """Symmetric co-occurrence counts, each pair weighted by 1 / distance, as a CSR matrix (size, size) of float32.

    Pairs are counted for `TOKENS` tokens at a time; memory holds the pairs of those beside the distinct pairs found so far.

    Args:
        stream: Ids below `size`.
        size: Number of rows.
        window: Largest distance.
    """
    from scipy.sparse import coo_matrix, csr_matrix

    total = csr_matrix((size, size), dtype=np.float64)
    heartbeat = Heartbeat("counting", len(stream.ids), "tokens")
    for begin in range(0, len(stream.ids), TOKENS):
        end = min(begin + TOKENS, len(stream.ids))
        for distance in range(1, window + 1):
            first = slice(begin, min(end, len(stream.ids) - distance))
            second = slice(begin + distance, first.stop + distance)
            same = stream.pages[first] == stream.pages[second]
            pairs = (stream.ids[first][same], stream.ids[second][same])
            total = total + coo_matrix((np.full(len(pairs[0]), 1 / distance), pairs), shape=(size, size)).tocsr()
        heartbeat.beat(end)
    return (total + total.T).astype(np.float32).tocsr()


def fit(counts: Any, settings: Fit) -> tuple[Floats, list[float]]:
    """Vectors w_i + c_i that minimise sum f(X_ij) (w_i c_j + b_i + b_j - log X_ij)^2 over the counted pairs.

    AdaGrad as in the original program, but an update takes the summed gradient of a tile, which is a part of the tokens paired with
    another, and not of a single pair. Parts are drawn once, the order of tiles anew in each pass.

    Args:
        counts: Symmetric counts, CSR, (n, n).
        settings: What to fit.

    Returns:
        Vectors (n, dim), and the mean loss of each pass.
    """
    from threadpoolctl import threadpool_limits

    rng = np.random.default_rng(settings.seed)
    size = counts.shape[0]
    order = rng.permutation(size)
    tiles = _tiles(counts[order][:, order], settings)
    left, right = _Side.start(size, settings, rng), _Side.start(size, settings, rng)
    losses: list[float] = []
    heartbeat = Heartbeat("GloVe", settings.iterations, "passes")
    with threadpool_limits(limits=1):  # sums over several threads may depend on their number
        for number in range(settings.iterations):
            lost = sum(_step(tiles[place], left, right, settings.rate) for place in rng.permutation(len(tiles)).tolist())
            losses.append(lost / max(counts.nnz, 1))
            heartbeat.beat(number + 1, loss=losses[-1])
    vectors = np.empty((size, settings.dim), dtype=np.float32)
    vectors[order] = left.rows[:, :-1] + right.rows[:, :-1]
    return vectors, losses


@dataclass
class _Side:
    """Vectors of one side with their biases in the last column, (n, dim + 1), and the sums of their squared gradients."""

    rows: Floats
    squares: Floats

    @classmethod
    def start(cls, size: int, settings: Fit, rng: np.random.Generator) -> _Side:
        shape = (size, settings.dim + 1)
        return cls(((rng.random(shape) - 0.5) / settings.dim).astype(np.float32), np.ones(shape, dtype=np.float32))

    def update(self, place: slice, gradient: Floats, rate: float) -> None:
        self.squares[place] += gradient * gradient
        self.rows[place] -= rate * gradient / np.sqrt(self.squares[place])


def _tiles(counts: Any, settings: Fit) -> list[_Tile]:
    size = counts.shape[0]
    parts = [slice(begin, min(begin + PART, size)) for begin in range(0, size, PART)]
    tiles = []
    for left in parts:
        band = counts[left].tocsc()
        for right in parts:
            tile = band[:, right].tocsr()
            if tile.nnz:
                tile.sort_indices()
                rows = np.repeat(np.arange(tile.shape[0], dtype=np.int32), np.diff(tile.indptr))
                weights = np.minimum((tile.data / settings.x_max) ** settings.power, 1).astype(np.float32)
                tiles.append(_Tile(left, right, rows, tile.indptr, tile.indices, np.log(tile.data), weights))
    return tiles


def _step(tile: _Tile, left: _Side, right: _Side, rate: float) -> float:
    """One update of both sides from one tile; returns its loss."""
    from scipy.sparse import csr_matrix

    w, c = left.rows[tile.left], right.rows[tile.right]
    vectors, contexts = w[:, :-1], c[:, :-1]
    if len(tile.rows) > DENSE * len(w) * len(c):
        products = (vectors @ contexts.T)[tile.rows, tile.columns]
    else:
        products = np.einsum("ij,ij->i", vectors[tile.rows], contexts[tile.columns])
    missed = products + w[tile.rows, -1] + c[tile.columns, -1] - tile.logs
    slopes = tile.weights * missed
    matrix = csr_matrix((slopes, tile.columns, tile.indptr), shape=(len(w), len(c)))
    # A bias is the weight of a column of ones.
    for_left = matrix @ np.hstack([contexts, np.ones((len(c), 1), dtype=np.float32)])
    for_right = matrix.T @ np.hstack([vectors, np.ones((len(w), 1), dtype=np.float32)])
    left.update(tile.left, for_left, rate)
    right.update(tile.right, for_right, rate)
    return float(slopes @ missed)
