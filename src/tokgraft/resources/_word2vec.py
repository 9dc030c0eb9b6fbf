"""Skip-gram with negative sampling in which new tokens are mixtures of fixed rows; only the mixtures' weights learn."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from tokgraft.logs import Heartbeat
from tokgraft.numerics.hull import Factors
from tokgraft.resources._streams import TokenStream

Floats = npt.NDArray[np.float32]
Places = npt.NDArray[np.int64]
BETAS, EPSILON = (0.9, 0.999), 1e-8  # Adam's usual ones


@dataclass(frozen=True)
class Training:
    """How the weights are learnt.

    Attributes:
        window: Largest distance of a pair.
        negatives: Tokens drawn against each pair.
        batch: Pairs of one step.
        epochs: Passes over the pairs of the subsampled text, in expectation.
        max_steps: Steps at most.
        rate: Adam's learning rate.
        keep: A token that occurs c times is kept with probability sqrt(keep / c).
        loss: "standard": the log-sigmoids of negatives are summed; "summed": the log-sigmoid of their sum.
        replace: Whether a token can be drawn as a negative twice in a step.
    """

    window: int
    negatives: int
    batch: int
    epochs: int
    max_steps: int
    rate: float
    keep: float
    loss: Literal["standard", "summed"]
    replace: bool


@dataclass
class WordTable:
    """One table of the target vocabulary while it is learnt.

    Attributes:
        fixed: Rows of the tokens that both vocabularies have, (tokens, d); whatever for the others.
        mixture: Number of each token's mixture, -1 for a fixed row, (tokens,).
        factors: Weights of the mixtures.
        points: What is mixed, (m, d).
    """

    fixed: Floats
    mixture: Places
    factors: Factors
    points: Floats
    steps: int = 0
    moments: dict[str, Floats] = field(default_factory=dict)

    def rows(self, tokens: Places) -> Floats:
        """Rows of `tokens`, (tokens, d)."""
        made = self.fixed[tokens]
        new = self.mixture[tokens] >= 0
        made[new] = self.factors.rows(self.mixture[tokens[new]], self.points)
        return made

    def learn(self, tokens: Places, gradient: Floats, rate: float) -> None:
        """One step of Adam against the gradient of the loss by the rows of `tokens`, (tokens, d)."""
        new = self.mixture[tokens] >= 0
        left, right = gradients(self.factors, self.mixture[tokens[new]], gradient[new], self.points)
        self.steps += 1
        for name, values, slope in (("left", self.factors.left, left), ("right", self.factors.right, right)):
            first = self.moments.setdefault(f"{name} 1", np.zeros_like(values))
            second = self.moments.setdefault(f"{name} 2", np.zeros_like(values))
            first += (1 - BETAS[0]) * (slope - first)
            second += (1 - BETAS[1]) * (slope * slope - second)
            size = np.sqrt(second / (1 - BETAS[1] ** self.steps)) + EPSILON
            values -= (rate / (1 - BETAS[0] ** self.steps)) * first / size


def gradients(factors: Factors, places: Places, gradient: Floats, points: Floats) -> tuple[Floats, Floats]:
    """Gradients by both factors, from the gradient by the rows of the mixtures at `places`, (places, d)."""
    left, right = np.zeros_like(factors.left), np.zeros_like(factors.right)
    for block in factors.blocks(len(places)):
        weights = factors.weights(places[block])
        slopes = gradient[block] @ points.T
        slopes -= (weights * slopes).sum(axis=1, keepdims=True)
        slopes *= weights
        left[places[block]] = slopes @ factors.right
        right += slopes.T @ factors.left[places[block]]
    return left, right


def train(stream: TokenStream, tables: tuple[WordTable, WordTable], training: Training, rng: np.random.Generator) -> list[float]:
    """Learn the mixtures from pairs of a text; changes the factors in place.

    Args:
        stream: Tokens as places in the tables.
        tables: Rows of centres and of contexts; one object twice for a tied model.
        training: How.
        rng: Draws pairs and negatives.

    Returns:
        The mean loss of each step.
    """
    from threadpoolctl import threadpool_limits

    counts = np.bincount(stream.ids, minlength=len(tables[0].mixture))
    chance = np.cumsum(counts**0.75) / (counts**0.75).sum()
    losses: list[float] = []
    heartbeat = Heartbeat("word2vec", training.max_steps, "steps")
    with threadpool_limits(limits=1):  # sums over several threads may depend on their number
        for _ in range(training.epochs):
            rare = rng.random(len(stream.ids)) < np.sqrt(training.keep / counts[stream.ids])
            kept = stream.only(rare)
            # In a long text nearly every position has a pair on each side at each distance.
            left = training.max_steps - len(losses)
            for _ in range(min(left, -(-2 * training.window * len(kept.ids) // training.batch))):
                centres, contexts = pairs(kept, training.window, training.batch, rng)
                if len(centres):
                    negatives = _negatives(chance, counts, (len(centres), training.negatives), training.replace, rng)
                    losses.append(step(tables, centres, np.column_stack([contexts, negatives]), training))
                    heartbeat.beat(len(losses), loss=losses[-1])
    return losses


def pairs(stream: TokenStream, window: int, size: int, rng: np.random.Generator) -> tuple[Places, Places]:
    """About `size` random pairs (centre, context) of one page, every pair of positions at most `window` apart equally likely."""
    at = rng.integers(len(stream.ids), size=size)
    other = at + rng.integers(1, window + 1, size=size) * rng.choice([-1, 1], size=size)
    inside = (other >= 0) & (other < len(stream.ids))
    at, other = at[inside], other[inside]
    same = stream.pages[at] == stream.pages[other]
    return stream.ids[at[same]].astype(np.int64), stream.ids[other[same]].astype(np.int64)


def step(tables: tuple[WordTable, WordTable], centres: Places, others: Places, training: Training) -> float:
    """One step on `centres` (b,) and `others` (b, 1 + negatives), the context first; returns the loss before it."""
    from scipy.sparse import csr_matrix

    if tied := tables[0] is tables[1]:
        inner, at = np.unique(np.concatenate([centres, others.ravel()]), return_inverse=True)
        inner_at, outer_at, outer = at[: len(centres)], at[len(centres) :], inner
        w = v = tables[0].rows(inner)
    else:
        inner, inner_at = np.unique(centres, return_inverse=True)
        outer, outer_at = np.unique(others, return_inverse=True)
        w, v = tables[0].rows(inner), tables[1].rows(outer)
    outer_at = outer_at.reshape(others.shape)
    scores = np.stack([np.einsum("bd,bd->b", w[inner_at], v[column]) for column in outer_at.T], axis=1)
    loss, slopes = loss_and_slopes(scores, training.loss)
    rows = np.repeat(inner_at, others.shape[1])
    matrix = csr_matrix((slopes.ravel(), (rows, outer_at.ravel())), shape=(len(inner), len(outer)))
    by_w, by_v = matrix @ v, matrix.T @ w
    if tied:
        tables[0].learn(inner, by_w + by_v, training.rate)
    else:
        tables[0].learn(inner, by_w, training.rate)
        tables[1].learn(outer, by_v, training.rate)
    return loss


def loss_and_slopes(scores: Floats, kind: Literal["standard", "summed"]) -> tuple[float, Floats]:
    """Mean loss of pairs and its gradient by the scores, (b, 1 + negatives), the true context first."""
    right, wrong = scores[:, 0], scores[:, 1:]
    if kind == "summed":
        wrong = wrong.sum(axis=1, keepdims=True)
    loss = np.logaddexp(0, -right).mean() + np.logaddexp(0, wrong).sum(axis=1).mean()
    slopes = np.empty_like(scores)
    slopes[:, 0] = -_sigmoid(-right)
    slopes[:, 1:] = _sigmoid(wrong)
    slopes /= len(scores)
    return float(loss), slopes


def _negatives(chance: npt.NDArray[np.float64], counts: Places, shape: tuple[int, int], replace: bool, rng: np.random.Generator) -> Places:
    if replace:
        return np.searchsorted(chance, rng.random(shape), side="right").clip(max=len(chance) - 1)
    # The largest of log(p) + Gumbel noise are a draw without replacement.
    seen = np.flatnonzero(counts)
    keys = 0.75 * np.log(counts[seen]) + rng.gumbel(size=len(seen))
    return np.resize(seen[np.argsort(-keys, kind="stable")], shape)


def _sigmoid(scores: Floats) -> Floats:
    values: Floats = 0.5 * (1 + np.tanh(0.5 * scores))
    return values
