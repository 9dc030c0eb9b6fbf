"""Floating types of weights: models are computed with in float32, and written in the type that they were published in."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, get_args

import torch
from torch import Tensor

from tokgraft.config.bounds import Dtype
from tokgraft.errors import ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

DTYPES: dict[str, torch.dtype] = dict(zip(get_args(Dtype), (torch.float32, torch.bfloat16, torch.float16)))


@torch.no_grad()
def round_weights(model: PreTrainedModel, dtype: str, tensors: Iterable[Tensor] | None = None) -> None:
    """Round weights to what a floating type can hold, in place; they stay float32.

    Args:
        model: Its weights are float32.
        dtype: One of `DTYPES`.
        tensors: Which of its tensors; None: all.

    Raises:
        ModelError: A weight is too large for the type.
    """
    chosen = None if tensors is None else {tensor.data_ptr() for tensor in tensors}
    for name, tensor in model.state_dict().items():
        if dtype == "float32" or not tensor.is_floating_point() or (chosen is not None and tensor.data_ptr() not in chosen):
            continue
        rounded = tensor.to(DTYPES[dtype])
        if not torch.isfinite(rounded).all():
            largest = float(tensor.abs().max())
            raise ModelError(f"{name} holds {largest:.3g}, which {dtype} cannot hold", "choose bfloat16 or float32")
        tensor.copy_(rounded)


def as_stored(model: PreTrainedModel, dtype: str) -> dict[str, Tensor]:
    """The weights by name as they are written: in `dtype` where it holds them exactly, else in float32. Tied weights stay one tensor."""
    made: dict[tuple[int, torch.Size], Tensor] = {}
    found = {}
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point():
            place = (tensor.data_ptr(), tensor.shape)
            if place not in made:
                made[place] = _narrow(tensor, DTYPES[dtype])
            tensor = made[place]
        found[name] = tensor
    return found


def _narrow(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    narrow, wide = tensor.to(dtype), tensor.float()
    return narrow if tensor.dtype == dtype or torch.equal(narrow.float(), wide) else wide
