"""The output head of a model, seen apart from its body, so that logits need not be built for every position at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class PlainHead:
    """A head that is one matrix product: logits = hidden @ weight.T + bias.

    Attributes:
        body: Module from token ids to hidden states (`body(input_ids=..., use_cache=False).last_hidden_state`).
        weight: |V| x d; the input table itself when the model is tied.
        bias: |V|, or None.
    """

    body: Any
    weight: Tensor
    bias: Tensor | None

    def hidden(self, ids: Tensor) -> Tensor:
        """Last hidden states, B x L x d, of token ids B x L (causal attention over the whole row, positions 0..L-1)."""
        states: Tensor = self.body(input_ids=ids, use_cache=False).last_hidden_state
        return states


def plain_head(model: Any) -> PlainHead | None:
    """The head of a causal language model, or None when its logits are more than body and matrix product.

    Decided by a probe rather than by names in the config: a soft cap, a logit scale or anything else that a model's own
    forward adds makes the two ways of computing logits differ.
    """
    layer = model.get_output_embeddings()
    body = getattr(model, "base_model", None)
    if body is None or body is model or not isinstance(layer, torch.nn.Linear):
        return None
    head = PlainHead(body, layer.weight, layer.bias)
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            probe = (torch.arange(16, device=layer.weight.device) % layer.weight.shape[0])[None]
            ours = torch.nn.functional.linear(head.hidden(probe), head.weight, head.bias).float()
            own = model(input_ids=probe, use_cache=False).logits.float()
    finally:
        model.train(was_training)
    if ours.shape != own.shape or not torch.allclose(ours, own, rtol=1e-3, atol=1e-3):
        return None
    return head
