"""What the processes of one run tell each other: sums, gradients, the state a run goes on from.

Every exchange names the process that is gone when one dies (the system closes its connections at once) or stops answering (after
`device.timeout`), instead of waiting for ever. With one process nothing here does anything.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor

from tokgraft.errors import ConfigError, ProcessError
from tokgraft.training.device import DeviceContext

BUCKET = 25_000_000  # gradient values that travel at once


class StepSums(NamedTuple):
    """What all processes together have of a step.

    Attributes:
        loss: Mean loss per predicted token.
        stop: Whether any process was told to end.
        holders: For each parameter that learns, how many processes have a gradient for it.
    """

    loss: float
    stop: bool
    holders: list[int]


def sum_step(loss: float, stop: bool, parameters: Sequence[torch.nn.Parameter], context: DeviceContext) -> StepSums:
    """Sum over processes what each has of a step, in one exchange.

    Args:
        loss: This process's share of the loss.
        stop: Whether this process was told to end.
        parameters: The parameters that learn, in the same order in every process.
        context: This process.

    Raises:
        ProcessError: Another process is gone. (So does everything here.)
    """
    values = [loss, stop, *(parameter.grad is not None for parameter in parameters)]
    if context.world > 1:
        import torch.distributed as dist

        sums = torch.tensor(values, dtype=torch.float64, device=context.device)
        with _together(context):
            dist.all_reduce(sums)
        values = sums.tolist()
    return StepSums(float(values[0]), bool(values[1]), [int(count) for count in values[2:]])


def sum_gradients(parameters: Sequence[torch.nn.Parameter], holders: Sequence[int], context: DeviceContext) -> None:
    """Sum gradients over processes, in buckets (each process has divided its loss by the tokens of the whole step).

    Args:
        parameters: The parameters that learn, in the same order in every process.
        holders: For each, how many processes have a gradient for it (`sum_step`). Text of one process may leave a parameter untouched (an
            expert of a mixture); it counts as zero there. What nobody has touched stays without a gradient, as in a run of one process.
        context: This process.
    """
    if context.world == 1:
        return
    import torch.distributed as dist

    for parameter, count in zip(parameters, holders):
        if parameter.grad is None and count:
            parameter.grad = torch.zeros_like(parameter)
    for bucket in _buckets([parameter.grad for parameter in parameters if parameter.grad is not None]):
        flat = torch.cat([gradient.flatten() for gradient in bucket])
        with _together(context):
            dist.all_reduce(flat)
        for old, new in zip(bucket, torch.split(flat, [gradient.numel() for gradient in bucket])):
            old.copy_(new.view_as(old))


def _buckets(gradients: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    bucket: list[Tensor] = []
    size = 0
    for gradient in gradients:
        if bucket and size + gradient.numel() > BUCKET:
            yield bucket
            bucket, size = [], 0
        bucket.append(gradient)
        size += gradient.numel()
    if bucket:
        yield bucket


def from_first(value: Any, tensors: Mapping[str, Tensor], context: DeviceContext) -> tuple[Any, dict[str, Tensor]]:
    """A value and named tensors of the first process, in every process: only that one has to see the checkpoints' disk."""
    if context.world == 1:
        return value, dict(tensors)
    import torch.distributed as dist

    sent: list[Any] = [(value, [(name, tensor.dtype, tensor.shape) for name, tensor in tensors.items()])]
    with _together(context):
        dist.broadcast_object_list(sent, device=context.device)
        found = {}
        for name, dtype, shape in sent[0][1]:
            tensor = tensors[name].to(context.device) if context.main else torch.empty(shape, dtype=dtype, device=context.device)
            dist.broadcast(tensor, 0)
            found[name] = tensor.cpu()
    return sent[0][0], found


def demand_same(identity: str, context: DeviceContext) -> None:
    """See that all processes have the same settings and inputs.

    Raises:
        ConfigError: They have not; every process says so.
    """
    if context.world == 1:
        return
    import torch.distributed as dist

    found: list[str] = [""] * context.world
    with _together(context):
        dist.all_gather_object(found, identity)
    others = [str(rank) for rank, other in enumerate(found) if other != found[0]]
    if others:
        raise ConfigError(
            f"of {context.world} processes, {', '.join(others)} have other settings, inputs or versions than process 0",
            "start all with the same command, on a file system and with an installation that all of them share",
        )


def wait(context: DeviceContext) -> None:
    """Let the processes meet."""
    if context.world > 1:
        import torch.distributed as dist

        with _together(context):
            dist.barrier()


@contextmanager
def _together(context: DeviceContext) -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # torch's errors of communication are RuntimeErrors
        why = str(error).strip().splitlines()[0][:200]
        raise ProcessError(
            f"process {context.rank} of {context.world} (host {os.uname().nodename}) has lost another one: {why}",
            "the cause stands in the log of the one that ended first; the same command goes on from the newest checkpoint",
        ) from error
