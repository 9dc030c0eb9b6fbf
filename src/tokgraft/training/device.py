"""Where a run computes: processor or CUDA device, number of threads, number of processes."""

from __future__ import annotations

import contextlib
import ctypes
import datetime
import os
import sys
from dataclasses import dataclass

import torch

from tokgraft.config.bounds import THREADS
from tokgraft.config.recipe import TrainingRecipe
from tokgraft.errors import ConfigError
from tokgraft.logs import log

# glibc's mallopt: see <malloc.h>
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4


@dataclass(frozen=True)
class DeviceContext:
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


def device_context(recipe: TrainingRecipe, device: str = "auto", threads: int | None = None) -> DeviceContext:
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
    count = threads or _omp_threads() or (os.cpu_count() or 1)
    torch.set_num_threads(count)
    rank, world = _join(cuda)
    found = torch.device("cuda", torch.cuda.current_device()) if cuda else torch.device("cpu")
    if not cuda:
        keep_memory()
        if recipe.dtype == "bfloat16" or recipe.compile:
            log.warning("on the processor the run is in float32 and not compiled, whatever the recipe says")
    return DeviceContext(found, count, rank, world, cuda and recipe.dtype != "float32", cuda and recipe.compile is not False)


def _omp_threads() -> int | None:
    """Threads that OMP_NUM_THREADS asks for (`4`, or `4,2` for nested loops); None where it asks for nothing that can be."""
    found = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return int(found) if found.isdecimal() and int(found) in range(THREADS.low, THREADS.high + 1) else None


def _join(cuda: bool) -> tuple[int, int]:
    if int(os.environ.get("WORLD_SIZE", "1")) <= 1:
        return 0, 1
    from accelerate import PartialState

    state = PartialState(cpu=not cuda, timeout=timeout())
    if state.device.type == "cuda":
        torch.cuda.set_device(state.device)
    return int(state.process_index), int(state.num_processes)


def timeout() -> datetime.timedelta:
    """How long a process waits for the others: the first one validates and writes meanwhile (TOKGRAFT_PROCESS_TIMEOUT, in seconds).

    Raises:
        ConfigError: The variable is no number of seconds.
    """
    text = os.environ.get("TOKGRAFT_PROCESS_TIMEOUT", "1800")
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not seconds > 0:
        raise ConfigError(f"TOKGRAFT_PROCESS_TIMEOUT is {text!r}", "give a number of seconds, or unset it")
    return datetime.timedelta(seconds=seconds)


def keep_memory() -> None:
    """Tell glibc to keep freed buffers: else it returns those of every step to the system, which costs up to a third of the speed."""
    if not sys.platform.startswith("linux"):
        return
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        for option, value in ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, 2**31 - 1), (_M_TOP_PAD, 64 << 20)):
            mallopt(option, value)
