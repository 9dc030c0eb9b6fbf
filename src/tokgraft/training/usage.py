"""How busy the machine is while a job trains: processor, memory, GPUs, with time stamps.

The loop asks between two steps whether a sample is due, so there is no thread beside the training. Names and units are those that MLflow
gives its own system metrics; the figures of this process alone start with `process_`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch

from tokgraft.logs import log
from tokgraft.training.device import DeviceContext

FILE = "system.jsonl"  # volatile: it depends on the machine and the hour
SECONDS = 1.0  # shortest time between two samples
SHARE = 0.005  # later ones are this share of the run so far apart: a week gives some two thousand


class Usage:
    """Samples of one run on one machine.

    Args:
        context: Device and processes of the run; with several processes on this machine, each has a GPU and all of them are looked at.
        clock: Seconds that only rise.
    """

    def __init__(self, context: DeviceContext, clock: Callable[[], float] = time.monotonic) -> None:
        import psutil

        self._machine, self._process, self._clock = psutil, psutil.Process(), clock
        self._gpus = _gpus(context)
        self._started = self._last = clock()
        # The first call of each only starts its counter.
        psutil.cpu_percent()
        self._process.cpu_percent()

    def due(self) -> bool:
        """Whether it is time for another sample."""
        now = self._clock()
        return now - self._last >= max(SECONDS, SHARE * (now - self._started))

    def sample(self, step: int) -> dict[str, Any]:
        """A row: `time` (milliseconds since 1970), `step` (steps done), then the figures; processor shares are means since the last row."""
        self._last = self._clock()
        memory = self._machine.virtual_memory()
        return {
            "time": int(time.time() * 1000),
            "step": step,
            "cpu_utilization_percentage": self._machine.cpu_percent(),
            "system_memory_usage_megabytes": round(memory.used / 1e6, 1),
            "system_memory_usage_percentage": memory.percent,
            "process_cpu_percentage": self._process.cpu_percent(),  # 100 is one core
            "process_memory_megabytes": round(self._process.memory_info().rss / 1e6, 1),
            **dict(self._gpu_figures()),
        }

    def _gpu_figures(self) -> Iterator[tuple[str, float]]:
        try:
            for gpu in self._gpus:
                used, whole = torch.cuda.device_memory_used(gpu), torch.cuda.get_device_properties(gpu).total_memory
                yield f"gpu_{gpu}_utilization_percentage", float(torch.cuda.utilization(gpu))
                yield f"gpu_{gpu}_memory_usage_megabytes", round(used / 1e6, 1)
                yield f"gpu_{gpu}_memory_usage_percentage", round(100 * used / whole, 1)
                yield f"gpu_{gpu}_power_usage_watts", round(torch.cuda.power_draw(gpu) / 1000, 1)
        except Exception as error:  # a driver that does not answer must not end a training
            log.warning("the use of the GPUs is not sampled: %s (package nvidia-ml-py and the driver's library are needed)", error)
            self._gpus = []


def _gpus(context: DeviceContext) -> list[int]:
    if context.device.type != "cuda":
        return []
    if context.world == 1:
        return [context.device.index or 0]
    return list(range(min(int(os.environ.get("LOCAL_WORLD_SIZE", context.world)), torch.cuda.device_count())))
