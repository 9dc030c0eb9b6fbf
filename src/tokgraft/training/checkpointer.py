"""What of a run a checkpoint keeps, and how a run goes on from one: parameters that have learned, optimizer moments, the curves so far."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from tokgraft.logs import log
from tokgraft.training import processes
from tokgraft.training.checkpoints import CheckpointFolder
from tokgraft.training.device import DeviceContext


@dataclass
class Progress:
    """How far a run is: what a checkpoint keeps beside the tensors."""

    step: int = 0
    metrics: list[dict[str, Any]] = field(default_factory=list)
    timing: list[dict[str, Any]] = field(default_factory=list)
    system: list[dict[str, Any]] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    seconds: float = 0.0


class Checkpointer:
    """Saves and restores a run. A checkpoint does not depend on the number of processes.

    Args:
        folder: Where checkpoints lie.
        model: The model that is trained.
        context: Device and processes.
    """

    def __init__(self, folder: CheckpointFolder, model: Any, context: DeviceContext) -> None:
        self._folder, self._model, self._context = folder, model, context
        self._moments: dict[str, Tensor] = {}

    def save(self, progress: Progress, learned: Iterable[str], optimizer: torch.optim.Optimizer | None) -> None:
        """Write a checkpoint; only the first process may.

        Args:
            progress: How far the run is.
            learned: Names of all parameters that have learned so far.
            optimizer: The optimizer of the stage that goes on; None between two stages.
        """
        names = set(learned)
        tensors: dict[str, Tensor] = {}
        for name, parameter in self._model.named_parameters():
            if name in names:
                tensors[f"weight/{name}"] = parameter
            for key, value in optimizer.state.get(parameter, {}).items() if optimizer is not None else []:
                tensors[f"moment/{key}/{name}"] = value
        state = {key: value for key, value in vars(progress).items() if key != "step"}
        self._folder.write(progress.step, tensors, state)

    def restore(self) -> Progress:
        """Load the newest checkpoint, as the first process finds it, into the model; without one, the beginning of a run."""
        newest = self._folder.newest() if self._context.main else None
        kept_state, kept_tensors = newest or (None, {})
        state, tensors = processes.from_first(kept_state, kept_tensors, self._context)
        if state is None:
            return Progress()
        with torch.no_grad():
            for name, parameter in self._model.named_parameters():
                if (kept := tensors.get(f"weight/{name}")) is not None:
                    parameter.copy_(kept)
        self._moments = {name: tensor for name, tensor in tensors.items() if name.startswith("moment/")}
        log.info("going on from the checkpoint of step %d", state["step"])
        names = {field.name for field in dataclasses.fields(Progress)}
        return Progress(**{name: value for name, value in state.items() if name in names})

    def restore_moments(self, optimizer: torch.optim.Optimizer) -> None:
        """Give the optimizer of the first stage after a resume the moments of the checkpoint."""
        for name, tensor in self._moments.items():
            _, key, parameter_name = name.split("/", 2)
            parameter = self._model.get_parameter(parameter_name)
            on_cpu = key == "step" and parameter.device.type == "cpu"
            optimizer.state[parameter][key] = tensor if on_cpu else tensor.to(parameter.device)
        self._moments = {}
