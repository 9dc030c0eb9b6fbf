"""One linear map of the hidden states, fitted on target text and folded into the head's rows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from tokgraft.logs import log
from tokgraft.methods import Params, Rows, Transplant, refiner
from tokgraft.rows.head import Head, Sample, direction, head, logits, loss, match, moment, put, retie, sample, told, unigram

if TYPE_CHECKING:
    from torch import Tensor

SHARES = (0.125, 0.25, 0.5, 1.0)  # of the way, for a tied table
LONGEST, SHORTER = 0.7, 0.7  # length of the first step, and what a step that is too long is shortened by
NEAR = 0.02  # total variation at which the mean prediction counts as the unigram distribution
ROUNDS, STEP = 6, 0.7  # of the bias, as in `prior`


class Readout(Params):
    """Fit a linear map of the hidden states and a bias by cross-entropy on target text, and fold them into the head's rows."""

    states: int = Field(40_000, ge=1, description="Positions of train text to fit on.")
    dev_states: int = Field(4096, ge=1, description="Positions of dev text that the ridge, the steps and their lengths are chosen by.")
    steps: int = Field(6, ge=1, description="Steps at most.")
    ridges: tuple[Annotated[float, Field(gt=0)], ...] = Field(
        (1.0, 3.0, 10.0), min_length=1, description="Ridges on W to choose from, in mean curvatures of the loss."
    )
    gain: float = Field(2e-3, ge=0, description="Nats per token of dev text that a step must gain, or the fit stops.")
    smoothing: float = Field(0.5, gt=0, description="Added to each count of the unigram distribution that the bias is matched to.")
    bias_states: int = Field(8192, ge=1, description="Positions that the bias is matched on.")
    ridge: float = Field(0.01, ge=0, description="Ridge of the direction that stands for a bias, in mean squares of a dimension.")
    untie: bool = Field(True, description="Give a tied model an output table of its own; false: move the one table as far as it helps.")


@refiner("readout", Readout, version=1, requires={"target_text"}, forward=True, unties=True)
def refine(task: Transplant, rows: Rows, params: Readout) -> Rows:
    """Rows U (I + W) + b v': logits U (h + W h) + b, with the bias in the rows unless the head has one.

    Raises:
        ConfigError: The resource does not fit the target.
        ModelError: The model's head is of no use here, or gives NaN.
    """
    tied = rows.output is None and not params.untie
    start = head(task, rows, tied)
    train, dev = sample(task, rows, "train", params.states), sample(task, rows, "dev", params.dev_states)
    some = train.states[: params.bias_states]
    along = None if rows.bias is not None else direction(some, params.ridge)
    goal = unigram(task, params.smoothing)

    def matched(table: Head) -> Head:
        return match(some, table, goal, along, ROUNDS, STEP, NEAR).head

    before = loss(dev, start)
    best = min([start, matched(start)], key=lambda table: loss(dev, table))
    best, facts = _fit(best, train, dev, params)
    best = min([best, matched(best)], key=lambda table: loss(dev, table))
    facts |= {"states": len(train.labels), "dev_before": before, "dev": loss(dev, best)}
    if tied:
        rows, facts["share"] = retie(task, rows, best, SHARES, params.dev_states)
    else:
        rows = put(task, rows, best, tied=False)
    return told(rows, "readout", **facts)


@dataclass(frozen=True)
class _Point:
    """A map W on the way: its loss on dev text, and the ridge and length of the step that led there."""

    weights: Tensor
    loss: float
    ridge: float
    length: float


def _fit(start: Head, train: Sample, dev: Sample, params: Readout) -> tuple[Head, dict[str, Any]]:
    """The map I + W that lowers the loss of the head on dev text the most, folded into its rows.

    W minimises the mean cross-entropy on train text + ridge / 2 |W|^2. Each step solves for W with the curvature
    (U' (diag p - p p') U) x E[h h'], the Kronecker product that the Hessian would be if the prediction p were the same everywhere. Without
    the ridge d^2 parameters cost about d^2 / 2n nats; with it only those count that many states speak of.
    """
    import torch

    power, axes = torch.linalg.eigh(moment(train.states))
    best = _Point(torch.zeros_like(axes), loss(dev, start), 0.0, LONGEST)
    steps = 0
    for number in range(params.steps):
        gradient, mean = _gradient(start, _mapped(start, best.weights), train)
        curvature, turned = torch.linalg.eigh(_curvature(start.rows, mean))
        solve = partial(_solve, gradient, best.weights, (curvature, turned), (power, axes))
        found = min(
            (_moved(start, dev, best, solve(ridge), ridge, best.length) for ridge in ([best.ridge] if number else params.ridges)),
            key=lambda point: point.loss,
        )
        step = solve(found.ridge)
        while (shorter := _moved(start, dev, best, step, found.ridge, SHORTER * found.length)).loss < found.loss:
            found = shorter
        log.info("readout: step %d, %.4f -> %.4f nats per token of dev text, ridge %g", number + 1, best.loss, found.loss, found.ridge)
        if not found.loss <= best.loss - params.gain:  # also when it is not a number
            break
        best, steps = found, number + 1
    change = float((best.weights @ axes * power.clamp(min=0).sqrt()).norm() / power.sum().sqrt())
    return _mapped(start, best.weights), {"steps": steps, "ridge": best.ridge, "change": change}


def _solve(gradient: Tensor, weights: Tensor, outer: tuple[Tensor, Tensor], inner: tuple[Tensor, Tensor], ridge: float) -> Tensor:
    """The Newton step of the penalised loss, in the eigenvectors of both factors of its curvature."""
    (curvature, turned), (power, axes) = outer, inner
    pull = ridge * curvature.mean() * power.mean()
    found: Tensor = -turned @ ((turned.T @ (gradient + pull * weights) @ axes) / (curvature[:, None] * power + pull)) @ axes.T
    return found


def _moved(start: Head, dev: Sample, old: _Point, step: Tensor, ridge: float, length: float) -> _Point:
    weights = old.weights + length * step
    return _Point(weights, loss(dev, _mapped(start, weights)), ridge, length)


def _gradient(start: Head, table: Head, train: Sample) -> tuple[Tensor, Tensor]:
    """Gradient of the mean loss under `table` with respect to W, (d_out, d_out), and the mean prediction, (V,); float64."""
    import torch

    width = train.states.shape[1]
    total = torch.zeros(width, width, dtype=torch.float64)
    mean = torch.zeros(len(table.rows), dtype=torch.float64)
    for block, found in logits(train.states, table):
        wrong = found.softmax(dim=1)
        mean += wrong.sum(dim=0).double()
        wrong[torch.arange(len(wrong)), train.labels[block]] -= 1
        total += ((wrong @ start.rows).T @ train.states[block]).double()
    return total / len(train.labels), mean / len(train.labels)


def _curvature(rows: Tensor, mean: Tensor) -> Tensor:
    """U' (diag p - p p') U, (d_out, d_out), float64."""
    import torch

    width = rows.shape[1]
    total, centre = torch.zeros(width, width, dtype=torch.float64), torch.zeros(width, dtype=torch.float64)
    for first in range(0, len(rows), 8192):
        part, weight = rows[first : first + 8192].double(), mean[first : first + 8192]
        total += part.T @ (weight[:, None] * part)
        centre += weight @ part
    return total - torch.outer(centre, centre)


def _mapped(start: Head, weights: Tensor) -> Head:
    """The head that reads h + W h."""
    import torch

    rows = start.rows + start.rows @ weights.float()
    return replace(start, rows=torch.where(start.fixed[:, None], start.rows, rows))
