"""What refiners of the head share: states and labels of target text, the loss on them, and how a change gets into a plain model's rows.

All vectors and matrices over tokens stand in the target's canonical order, so that no sum depends on the ids of tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tokgraft.errors import ConfigError, ModelError
from tokgraft.rows.contract import Rows, Transplant, given

if TYPE_CHECKING:
    from torch import Tensor

LOGITS = 16_000_000  # numbers held at once
FARTHEST = 1e4  # a token's share moves by at most this factor in a round
TEXT = "target_text"


@dataclass(frozen=True)
class Sample:
    """Positions of target text.

    Attributes:
        states: (n, d_out), float32.
        labels: (n,), place of the token that follows in the canonical order.
    """

    states: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Head:
    """An output table that is being changed.

    Attributes:
        rows: (V, d_out), float32.
        bias: (V,), or None.
        fixed: (V,), bool: rows that may not change (special tokens of a tied table, whose input rows they are).
    """

    rows: Tensor
    bias: Tensor | None
    fixed: Tensor


def order(task: Transplant) -> npt.NDArray[np.int64]:
    """Target ids in canonical order: what "place" means here. Ids without a token are no part of it, and keep their rows."""
    return np.array(task.target.canonical_order, dtype=np.int64)


def head(task: Transplant, rows: Rows, tied: bool) -> Head:
    """The head that the rows make; `tied`: whether it will be the input table, too."""
    import torch

    ids = order(task)
    table = rows.input if rows.output is None else rows.output
    special = torch.tensor([task.target[number].kind == "special" for number in ids.tolist()])
    bias = None if rows.bias is None else torch.from_numpy(rows.bias[ids])
    return Head(torch.from_numpy(table[ids]), bias, special if tied else torch.zeros_like(special))


def unigram(task: Transplant, smoothing: float) -> Tensor:
    """Smoothed unigram distribution of the target's train text, (V,), float64.

    Raises:
        ConfigError: The resource does not fit the target.
    """
    import torch

    counts = np.asarray(_text(task)["counts"], dtype=np.float64)[order(task)] + smoothing
    return torch.from_numpy(counts / counts.sum())


def documents(task: Transplant, split: str, limit: int) -> list[npt.NDArray[np.int32]]:
    """The first documents of a split that have `limit` predicted tokens together, or all."""
    found, left = [], limit
    for document in _text(task)[split]:
        if left <= 0:
            break
        found.append(document)
        left -= len(document) - 1
    return found


def sample(task: Transplant, rows: Rows, split: str, limit: int) -> Sample:
    """States and labels of about `limit` positions of a split ("train" or "dev"), whole documents.

    Raises:
        ConfigError: The resource does not fit the target, or the transplant was made without a reader of states.
        ModelError: The model's head is of no use here, or gives NaN.
    """
    import torch

    states = given(task.states, "states")
    chosen = documents(task, split, limit)
    place = np.full(len(task.target), -1, dtype=np.int64)
    place[order(task)] = np.arange(len(task.target.ids))
    labels = place[np.concatenate([document[1:] for document in chosen])]
    if labels.min() < 0:
        raise ConfigError(f"{TEXT} has ids that are no tokens of the target", "make it for this tokenizer")
    return Sample(torch.from_numpy(states(rows, chosen)), torch.from_numpy(labels))


def logits(states: Tensor, table: Head) -> Iterator[tuple[slice, Tensor]]:
    """Logits (float32) of a block of states after the other."""
    import torch

    step = max(LOGITS // len(table.rows), 1)
    for start in range(0, len(states), step):
        block = slice(start, start + step)
        yield block, torch.nn.functional.linear(states[block], table.rows, table.bias)


def loss(text: Sample, table: Head) -> float:
    """Mean cross-entropy in nats per token."""
    import torch

    total = sum(
        float(torch.nn.functional.cross_entropy(found, text.labels[block], reduction="none").double().sum())
        for block, found in logits(text.states, table)
    )
    return total / len(text.labels)


def mean_prediction(states: Tensor, table: Head) -> Tensor:
    """Mean over states of softmax(states @ rows' + bias), (V,), float64."""
    import torch

    total = torch.zeros(len(table.rows), dtype=torch.float64)
    for _, found in logits(states, table):
        total += found.softmax(dim=1).sum(dim=0).double()
    return total / len(states)


def moment(states: Tensor) -> Tensor:
    """E[h h'], (d_out, d_out), float64."""
    import torch

    total = torch.zeros(states.shape[1], states.shape[1], dtype=torch.float64)
    for first in range(0, len(states), 4096):
        block = states[first : first + 4096].double()
        total += block.T @ block
    return total / len(states)


def direction(states: Tensor, ridge: float) -> Tensor:
    """The vector v for which v'h is nearest to 1 over the states, (d_out,), float32: what stands for a bias in a head that has none.

    v = (E[h h'] + ridge * mean square of a dimension * I)^-1 E[h].

    Raises:
        ModelError: The states do not say which direction: they are zero, or fill fewer dimensions than they have and there is no ridge.
    """
    import torch

    second = moment(states)
    second.diagonal().add_(ridge * second.diagonal().mean())
    try:
        found: Tensor = torch.linalg.solve(second, states.double().mean(dim=0)).float()
    except torch.linalg.LinAlgError:  # type: ignore[attr-defined]
        raise ModelError(
            f"the model's hidden states are zero or fill fewer than {len(second)} dimensions: no direction in them can stand for a bias",
            "check the weights of the base and the rows of the method before; else raise ridge or states of the refiner",
        ) from None
    return found


@dataclass(frozen=True)
class Matching:
    """What came of matching a head's mean prediction to a distribution.

    Attributes:
        head: The head with the bias in it.
        shift: The bias b, (V,), float64; 0 for fixed rows.
        before: Total variation between the distribution and the mean prediction at the start.
        after: The same at the end.
    """

    head: Head
    shift: Tensor
    before: float
    after: float


def match(states: Tensor, start: Head, goal: Tensor, along: Tensor | None, rounds: int, step: float, enough: float = 0.0) -> Matching:
    """Give a head the bias under which its mean prediction over `states` equals `goal`: b <- b + step (log goal - log prediction).

    Args:
        states: (n, d_out).
        start: The head.
        goal: Distribution over tokens, (V,), float64. Fixed rows keep their share, the others divide the rest as `goal` does.
        along: Direction that stands for the bias: row t becomes U_t + b_t along. None: b goes into the head's own bias.
        rounds: Rounds at most.
        step: Share of the way to go in a round.
        enough: Total variation at which to stop.
    """
    import torch

    shift = torch.zeros(len(goal), dtype=torch.float64)
    table, mean = start, mean_prediction(states, start)
    before = _distance(goal, mean)
    for _ in range(rounds):
        if _distance(goal, mean) <= enough:
            break
        shift += step * _missing(goal, mean, start.fixed)
        table = _shifted(start, shift.float(), along)
        mean = mean_prediction(states, table)
    return Matching(table, shift, before, _distance(goal, mean))


def _missing(goal: Tensor, mean: Tensor, fixed: Tensor) -> Tensor:
    """What the logarithm of each token's mean prediction lacks, (V,), float64; 0 for the fixed ones, whose share the others leave them."""
    free = ~fixed
    wanted = goal * (1 - mean[fixed].sum()).clamp(min=1e-6) / goal[free].sum()
    ratio = (wanted / mean.clamp(min=1e-300)).clamp(1 / FARTHEST, FARTHEST)
    return ratio.log() * free


def _shifted(start: Head, shift: Tensor, along: Tensor | None) -> Head:
    if along is not None:
        return replace(start, rows=start.rows + shift[:, None] * along)
    return replace(start, bias=shift if start.bias is None else start.bias + shift)


def _distance(goal: Tensor, mean: Tensor) -> float:
    """Total variation between two distributions."""
    return float((goal - mean).abs().sum() / 2)


def put(task: Transplant, rows: Rows, table: Head, tied: bool) -> Rows:
    """The rows with a new head: as output rows, or in the one table of a model that stays tied."""
    ids = order(task)
    new = (rows.input if rows.output is None else rows.output).copy()
    new[ids] = table.rows.numpy()
    bias = rows.bias
    if bias is not None and table.bias is not None:
        bias = bias.copy()
        bias[ids] = table.bias.numpy()
    return replace(rows, input=new, bias=bias) if tied else replace(rows, output=new, bias=bias)


def retie(task: Transplant, rows: Rows, wanted: Head, shares: Sequence[float], limit: int) -> tuple[Rows, float]:
    """Move the one table of a tied model towards the head that was fitted, as far as it helps.

    The input rows move with it, so each step is judged by the model itself: the body reads dev text with the new input rows.

    Args:
        task: The transplant.
        rows: The rows so far.
        wanted: The fitted head; its `fixed` rows stay.
        shares: Shares of the way to try.
        limit: Dev tokens to judge by.

    Returns:
        The best rows by the loss on dev text, and the share that gave them; the rows as they are and 0 where no step helps.
    """
    import torch

    old = head(task, rows, tied=True)
    best, found, share = loss(sample(task, rows, "dev", limit), old), rows, 0.0
    for tried in shares:
        moved = torch.where(wanted.fixed[:, None], old.rows, old.rows + tried * (wanted.rows - old.rows))
        bias = None if old.bias is None or wanted.bias is None else old.bias + tried * (wanted.bias - old.bias)
        table = Head(moved, bias, wanted.fixed)
        candidate = put(task, rows, table, tied=True)
        if (value := loss(sample(task, candidate, "dev", limit), table)) < best:
            best, found, share = value, candidate, tried
    return found, share


def told(rows: Rows, name: str, **facts: Any) -> Rows:
    """The rows with facts about a refiner's work among their stats; numbers rounded, since their last digits mean nothing."""
    short = {key: float(f"{value:.5g}") if isinstance(value, float) else value for key, value in facts.items()}
    return replace(rows, stats={**rows.stats, name: short})


def _text(task: Transplant) -> Mapping[str, Any]:
    text: Mapping[str, Any] = task.resources[TEXT]
    if len(text["counts"]) != len(task.target):
        raise ConfigError(f"{TEXT} counts {len(text['counts'])} ids, the target has {len(task.target)}", "make it for this tokenizer")
    return text
