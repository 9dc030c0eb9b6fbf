"""A head that predicts each token as often as the target's text has it."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from tokgraft.logs import log
from tokgraft.methods import Params, Rows, Transplant, refiner
from tokgraft.rows.head import direction, head, match, put, retie, sample, told, unigram

POOR = 0.2  # folding error that is worth a word
SHARES = (0.25, 0.5, 1.0)  # of the way, for a tied table


class Prior(Params):
    """Add to the logits the bias that makes the mean prediction equal the unigram distribution of the target's text."""

    states: int = Field(8192, ge=1, description="Positions of train text that the prediction is averaged over.")
    rounds: int = Field(6, ge=1, description="Rounds of the fixed point.")
    step: float = Field(0.7, gt=0, le=1, description="Share of the way to go in a round.")
    smoothing: float = Field(0.5, gt=0, description="Added to each count.")
    ridge: float = Field(0.01, ge=0, description="Ridge of the direction that stands for a bias, in mean squares of a dimension.")
    dev_states: int = Field(2048, ge=1, description="Positions of dev text that the share of the way is chosen by, where one table stays.")
    untie: bool = Field(False, description="Give a tied model an output table of its own, so that its input rows stay.")


@refiner("prior", Prior, version=1, requires={"target_text"}, forward=True, unties=True)
def refine(task: Transplant, rows: Rows, params: Prior) -> Rows:
    """Rows of the head plus b v', or the head's own bias plus b where it has one.

    Raises:
        ConfigError: The resource does not fit the target.
        ModelError: The model's head is of no use here, or gives NaN.
    """
    # A bias of the head stands in no row of a table: neither the input rows nor the tie are touched.
    biased = rows.bias is not None
    tied = rows.output is None and (biased or not params.untie)
    text = sample(task, rows, "train", params.states)
    along = None if biased else direction(text.states, params.ridge)
    start, goal = head(task, rows, tied and not biased), unigram(task, params.smoothing)
    found = match(text.states, start, goal, along, params.rounds, params.step)
    facts: dict[str, Any] = {
        "states": len(text.labels), "distance_before": found.before, "distance": found.after, "farthest": float(found.shift.abs().max()),
    }  # fmt: skip
    if along is not None:
        facts["folding_error"] = float((text.states @ along - 1).square().mean().sqrt())
        if facts["folding_error"] > POOR:
            log.warning("the head's states have no common direction: a bias in its rows is off by %.0f%%", 100 * facts["folding_error"])
    if tied and not biased:
        rows, facts["share"] = retie(task, rows, found.head, SHARES, params.dev_states)
    else:
        rows = put(task, rows, found.head, tied)
    return told(rows, "prior", **facts)
