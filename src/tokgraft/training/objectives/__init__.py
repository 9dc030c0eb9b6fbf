"""Training objectives: what a stage minimises. One module each, registered under the name that recipes use in `objective:`.

This module imports no other part of the training, so that the list of cells, which checks the names, does not depend on them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from tokgraft.registry import Registry

if TYPE_CHECKING:
    from torch import Tensor

    from tokgraft.config.recipe import TrainingRecipe


class Objective(ABC):
    """What a stage minimises. Built once a run, when the model is on its device and a checkpoint, if there is one, is loaded.

    Args:
        model: The model that learns (the student, where there is a teacher).
        recipe: The recipe.
        context: Device and processes (a `DeviceContext`).
    """

    @abstractmethod
    def __init__(self, model: Any, recipe: TrainingRecipe, context: Any) -> None: ...

    @abstractmethod
    def loss(self, batch: Any) -> Tensor:
        """The loss of a batch (a `Batch` of the stage's data source): a scalar with gradients, summed over its predicted tokens.

        It is called under the context's autocast. The step divides by the predicted tokens of all batches of all processes, so a
        step's loss does not depend on how its sequences are spread over micro-batches and processes.
        """


OBJECTIVES: Registry[type[Objective]] = Registry("training objective", __name__)
