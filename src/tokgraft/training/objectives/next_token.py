"""Next-token prediction: cross-entropy of every token given those before it in its sequence."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tokgraft.config.recipe import TrainingRecipe
from tokgraft.logs import log
from tokgraft.models.head import PlainHead, plain_head
from tokgraft.training.data_source import Batch
from tokgraft.training.device import DeviceContext
from tokgraft.training.loss import IGNORE, chunked_cross_entropy
from tokgraft.training.objectives import OBJECTIVES, Objective

NAME = "next_token"


@OBJECTIVES.register(NAME)
class NextToken(Objective):
    """Cross-entropy in nats. Logits are computed in chunks where the head is one matrix product, else by the model's own forward pass."""

    def __init__(self, model: Any, recipe: TrainingRecipe, context: DeviceContext) -> None:
        self._model = model
        with context.autocast():
            self._head = plain_head(model)
        if self._head is None:
            log.info("the logits of %s are more than a matrix product (soft cap or scale): its own forward pass is used, logits whole",
                     type(model).__name__)  # fmt: skip
        elif context.compile:
            self._head = PlainHead(torch.compile(self._head.body), self._head.weight, self._head.bias)

    def loss(self, batch: Batch) -> Tensor:
        """Sum of the cross-entropies of the batch's labels."""
        labels, head = batch.labels.flatten(), self._head
        if head is not None:
            return chunked_cross_entropy(head.hidden(batch.inputs).flatten(0, 1), head.weight, labels, head.bias)
        logits = self._model(input_ids=batch.inputs, use_cache=False).logits.flatten(0, 1).float()
        return torch.nn.functional.cross_entropy(logits, labels, ignore_index=IGNORE, reduction="sum")
