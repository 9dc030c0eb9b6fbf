"""Where a run computes: processor or CUDA device, number of threads, number of processes."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass

import torch

from tokgraft.config.recipe import TrainingRecipe
from tokgraft.errors import ConfigError
from tokgraft.logs import log

# glibc's mallopt: see <malloc.h>
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4


@dataclass(frozen=True)
class Place:
    """Device and processes of a run.

    Attributes:
        device: "cpu" or "cuda:N".
        threads: Threads of one process.
        rank, world: This process and how many there are.
        bfloat16: Whether forward passes run under bfloat16 autocast.
        compile: Whether the body is compiled.
    """

    device: torch.device
    threads: int
    rank: int
    world: int
    bfloat16: bool
    compile: bool

    @property
    def main(self) -> bool:
        """Whether this process writes files and logs."""
        return self.rank == 0

    def autocast(self) -> contextlib.AbstractContextManager[object]:
        """Context of every forward pass."""
        return torch.autocast("cuda", torch.bfloat16) if self.bfloat16 else contextlib.nullcontext()


def place(recipe: TrainingRecipe, device: str = "auto", threads: int | None = None) -> Place:
    """Choose device and threads, and join the other processes when a launcher (accelerate, torchrun) started several.

    float32 on the processor always: its bfloat16 is many times slower without special instructions and its results vary by machine.

    Raises:
        ConfigError: CUDA is asked for and absent, or the device is unknown.
    """
    if device not in {"auto", "cpu", "cuda"}:
        raise ConfigError(f"unknown device {device!r}", "choose auto, cpu or cuda")
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            "device cuda is asked for, but torch sees no CUDA device", "install the CUDA build of torch, or leave out --device"
        )
    cuda = device != "cpu" and torch.cuda.is_available()
    count = threads or int(os.environ.get("OMP_NUM_THREADS", "0") or 0) or (os.cpu_count() or 1)
    torch.set_num_threads(count)
    rank, world = _join(cuda)
    found = torch.device("cuda", torch.cuda.current_device()) if cuda else torch.device("cpu")
    if not cuda:
        keep_memory()
        if recipe.dtype == "bfloat16" or recipe.compile:
            log.warning("on the processor the run is in float32 and not compiled, whatever the recipe says")
    return Place(found, count, rank, world, cuda and recipe.dtype != "float32", cuda and recipe.compile is not False)


def _join(cuda: bool) -> tuple[int, int]:
    if int(os.environ.get("WORLD_SIZE", "1")) <= 1:
        return 0, 1
    from accelerate import PartialState

    state = PartialState(cpu=not cuda)
    if state.device.type == "cuda":
        torch.cuda.set_device(state.device)
    return int(state.process_index), int(state.num_processes)


def keep_memory() -> None:
    """Tell glibc to keep freed buffers: else it returns those of every step to the system, which costs up to a third of the speed."""
    if not sys.platform.startswith("linux"):
        return
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        for option, value in ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, 2**31 - 1), (_M_TOP_PAD, 64 << 20)):
            mallopt(option, value)


def average_gradients(parameters: Iterable[torch.nn.Parameter], where: Place) -> None:
    """Sum gradients over processes, in buckets (each process has divided its loss by the tokens of the whole step)."""
    if where.world == 1:
        return
    import torch.distributed as dist

    bucket: list[torch.Tensor] = []
    size = 0
    for gradient in [*(p.grad for p in parameters if p.grad is not None), None]:
        if bucket and (gradient is None or size + gradient.numel() > 25_000_000):
            flat = torch.cat([gradient.flatten() for gradient in bucket])
            dist.all_reduce(flat)
            for old, new in zip(bucket, torch.split(flat, [gradient.numel() for gradient in bucket])):
                old.copy_(new.view_as(old))
            bucket, size = [], 0
        if gradient is not None:
            bucket.append(gradient)
            size += gradient.numel()


def sum_over_processes(value: float, where: Place) -> float:
    """Sum of a number over all processes."""
    if where.world == 1:
        return value
    import torch.distributed as dist

    total = torch.tensor(value, dtype=torch.float64, device=where.device)
    dist.all_reduce(total)
    return float(total)


def wait(where: Place) -> None:
    """Let the processes meet."""
    if where.world > 1:
        import torch.distributed as dist

        dist.barrier()
