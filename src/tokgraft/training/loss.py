"""Cross-entropy of a linear head in chunks of tokens: the logits of a batch are never in memory at once.

For each chunk the forward pass computes logits, loss, and at once the gradients of hidden states, weight and bias, into which the
logits' buffer is turned in place. Work is that of the plain computation; memory is chunk x |V| instead of tokens x |V|
(128 k vocabulary, 8 x 2,048 tokens: 8.6 GB).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

IGNORE = -100
CHUNK_BYTES = {"cpu": 8_000_000, "cuda": 512_000_000}  # of float32 logits; cpu: measured, docs/training.md


def chunk_size(vocabulary: int, device: str) -> int:
    """Tokens of one chunk for a vocabulary of this size."""
    return max(CHUNK_BYTES.get(device, CHUNK_BYTES["cuda"]) // (4 * vocabulary), 16)


class _ChunkedCrossEntropy(torch.autograd.Function):
    """Sum of token losses; gradients are computed in forward and only scaled in backward."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, chunk: int) -> Tensor:
        # Under autocast the hidden states come in bfloat16: multiply in their type, accumulate in the weight's.
        factor = weight.to(hidden.dtype)
        want_hidden, want_weight, want_bias = ctx.needs_input_grad[:3]
        grad_hidden = torch.empty_like(hidden) if want_hidden else None
        grad_weight = torch.zeros_like(weight) if want_weight else None
        grad_bias = torch.zeros_like(bias) if bias is not None and want_bias else None
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        for start in range(0, hidden.shape[0], chunk):
            part, goal = hidden[start : start + chunk], targets[start : start + chunk]
            logits = torch.mm(part, factor.t()).float()
            if bias is not None:
                logits += bias
            counted = goal != IGNORE
            index = goal.clamp(min=0)[:, None]
            highest = logits.amax(dim=1, keepdim=True)
            gold = logits.gather(1, index)
            grad = logits.sub_(highest).exp_()  # one exponential serves the loss and, divided by its sum, the softmax
            norm = grad.sum(dim=1, keepdim=True)
            total += torch.where(counted, (norm.log() + highest - gold)[:, 0], 0.0).sum()
            if not (want_hidden or want_weight or want_bias):
                continue
            grad /= norm
            grad.scatter_add_(1, index, grad.new_full(index.shape, -1.0))
            grad *= counted[:, None]
            narrow = grad.to(hidden.dtype)
            if grad_hidden is not None:
                torch.mm(narrow, factor, out=grad_hidden[start : start + chunk])
            if grad_weight is not None:
                if narrow.dtype == grad_weight.dtype:
                    grad_weight.addmm_(narrow.t(), part)
                else:
                    grad_weight += torch.mm(narrow.t(), part)
            if grad_bias is not None:
                grad_bias += grad.sum(0)
        ctx.grads = (grad_hidden, grad_weight, grad_bias)
        return total

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> tuple[Tensor | None, Tensor | None, Tensor | None, None, None]:
        scale = grad_outputs[0]
        hidden, weight, bias = (None if grad is None else grad.mul_(scale.to(grad.dtype)) for grad in ctx.grads)
        ctx.grads = None
        return hidden, weight, bias, None, None


def chunked_cross_entropy(hidden: Tensor, weight: Tensor, targets: Tensor, bias: Tensor | None = None, chunk: int | None = None) -> Tensor:
    """Sum of the cross-entropies of `targets` under softmax(hidden @ weight.T + bias), a scalar in nats.

    Args:
        hidden: N x d hidden states (float32, or bfloat16 under autocast).
        weight: |V| x d head; may be the input table (tied).
        targets: N token ids; positions with -100 count for nothing.
        bias: |V|, or None.
        chunk: Tokens whose logits are in memory at once (default: by vocabulary size and device).
    """
    size = chunk or chunk_size(weight.shape[0], hidden.device.type)
    with torch.autocast(hidden.device.type, enabled=False):
        result: Tensor = _ChunkedCrossEntropy.apply(hidden, weight, bias, targets, size)  # type: ignore[no-untyped-call]
    return result
