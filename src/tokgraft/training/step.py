"""One optimizer step: gradients of its batches, summed over processes, then the update."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import Any

import torch

from tokgraft.config.recipe import TrainingStage
from tokgraft.errors import ModelError
from tokgraft.training import parts, processes
from tokgraft.training.data_source import DataSource
from tokgraft.training.device import DeviceContext
from tokgraft.training.objectives import Objective


@dataclass(frozen=True)
class StageInTraining:
    """What the steps of one stage work with.

    Attributes:
        model: The model.
        context: Device and processes.
        number: Which stage of the recipe it is, from 0.
        stage: Its settings.
        source: Its text.
        objective: What it minimises.
        selection: Names of the parameters that learn.
        parameters: The parameters themselves.
        optimizer: Their optimizer: a new one in every stage.
        clip: Gradients are clipped to this norm.
    """

    model: Any
    context: DeviceContext
    number: int
    stage: TrainingStage
    source: DataSource
    objective: Objective
    selection: parts.Selection
    parameters: list[torch.nn.Parameter]
    optimizer: torch.optim.Optimizer
    clip: float


def forward_backward(now: StageInTraining, step: int) -> float:
    """Accumulate the gradients of one step of a stage; this process's share of the mean loss per predicted token of all processes."""
    now.model.train()
    targets = now.source.targets(step)
    share = 0.0
    for batch in now.source.batches(step, now.context):
        with now.context.autocast():
            loss = now.objective.loss(batch) / targets
        loss.backward()  # type: ignore[no-untyped-call]
        share += float(loss.detach())
    return share


def optimizer_step(now: StageInTraining, sums: processes.StepSums, rate: float, name: str) -> float:
    """Sum the gradients over processes, clip them and update the parameters that learn.

    Args:
        now: The stage.
        sums: What all processes have of this step.
        rate: Learning rate.
        name: What messages call the step ("step 3 of 90").

    Returns:
        Norm of the gradients before clipping.

    Raises:
        ModelError: Loss or norm is not a number; nothing is updated.
        ProcessError: Another process is gone.
    """
    processes.sum_gradients(now.parameters, sums.holders, now.context)
    parts.mask_gradients(now.model, now.selection)
    norm = float(torch.nn.utils.clip_grad_norm_(now.parameters, now.clip))
    if not (math.isfinite(sums.loss) and math.isfinite(norm)):
        raise ModelError(
            f"stage {now.stage.name!r}, {name}: loss {sums.loss}, gradient norm {norm}",
            f"lower lr (now {now.stage.lr:g}) or lengthen warmup of this stage; if it is the first step, look at the model's weights",
        )
    for group in now.optimizer.param_groups:
        group["lr"] = rate
    now.optimizer.step()
    now.optimizer.zero_grad()
    return norm


def seed_step(seed: int, step: int, rank: int) -> None:
    """Seed dropout from (seed, step, rank), so that a resumed run repeats it and ranks differ."""
    digest = hashlib.sha256(repr((seed, step, rank)).encode()).digest()
    torch.manual_seed(int.from_bytes(digest[:7], "big"))
