"""How a command starts: on GPUs of its own, and as several processes where a job may use several GPUs or nodes.

The profile says how many (resources `gpu`, `processes`, `nodes` of a rule); a recipe never does, since the result is the same up to rounding.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tokgraft import gpus
from tokgraft.errors import ConfigError
from tokgraft.logs import log

# Set by torchrun (and by accelerate) for every process it starts.
_STARTED = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
_PORTS = (20000, 20000)  # first port of a rendezvous over nodes, and how many may be chosen from


@dataclass(frozen=True)
class LaunchRequest:
    """What a job may use, on all its nodes together.

    Attributes:
        gpus: GPUs; 0 leaves the choice to `--device` and shares what is there.
        processes: Processes that compute together; 0 is one a GPU, or one.
        nodes: Machines.
        threads: Threads on the processor of all processes of a node together, or None.
    """

    gpus: int = 0
    processes: int = 0
    nodes: int = 1
    threads: int | None = None

    def __post_init__(self) -> None:
        for name in ("gpus", "processes", "nodes"):
            if getattr(self, name) < (1 if name == "nodes" else 0):
                raise ConfigError(
                    f"--{name} {getattr(self, name)} is not possible", "see docs/cluster.md for what the resources of a rule mean"
                )
        if self.total % self.nodes or self.gpus % self.nodes:
            raise ConfigError(
                f"{self.total} processes and {self.gpus} GPUs do not spread evenly over {self.nodes} nodes",
                "set gpu (and processes, where given) to a multiple of nodes in the profile",
            )

    @property
    def total(self) -> int:
        """Processes in all."""
        return self.processes or max(self.gpus, self.nodes)

    @property
    def per_node(self) -> int:
        """Processes on a node."""
        return self.total // self.nodes

    @property
    def threads_each(self) -> int | None:
        """Threads of one process."""
        return None if self.threads is None else max(1, self.threads // self.per_node)


def begin(request: LaunchRequest, environment: Mapping[str, str] = os.environ) -> int | None:
    """Take the devices; where several processes are asked for, become their launcher and do not return.

    Returns:
        Threads for this process (None: not said).

    Raises:
        ConfigError: There are too few devices, or several nodes are asked for outside a Slurm job.
    """
    if all(name in environment for name in _STARTED):
        return request.threads  # one of several: whoever started it has shared out devices and threads
    if request.nodes == 1:
        gpus.claim(request.gpus)
        if request.total == 1:
            _see_cuda(request)
            return request.threads
    command = command_line(request, sys.argv[1:], environment)
    log.info("%d processes on %d nodes: %s", request.total, request.nodes, " ".join(command[: command.index("tokgraft") + 1]))
    sys.stderr.flush()
    os.execvp(command[0], command)


def command_line(request: LaunchRequest, arguments: Sequence[str], environment: Mapping[str, str] = os.environ) -> list[str]:
    """The launcher's command line for this program with these arguments.

    Raises:
        ConfigError: Several nodes are asked for outside a Slurm job of as many nodes.
    """
    torchrun = [sys.executable, "-m", "torch.distributed.run", f"--nproc_per_node={request.per_node}"]
    threads = [] if request.threads_each is None else ["--threads", str(request.threads_each)]
    program = ["-m", "tokgraft", *arguments, *threads]  # argparse takes the last --threads
    if request.nodes == 1:
        return [*torchrun, "--standalone", *program]
    job, count = environment.get("SLURM_JOB_ID"), environment.get("SLURM_JOB_NUM_NODES")
    if job is None or shutil.which("srun") is None:
        raise ConfigError(
            f"{request.nodes} nodes are asked for outside a Slurm job",
            "run by profiles/slurm, or start torchrun on every node yourself (docs/cluster.md)",
        )
    if count is not None and int(count) != request.nodes:
        raise ConfigError(
            f"{request.nodes} nodes are asked for, Slurm job {job} has {count}", "set nodes and tasks alike in profiles/slurm"
        )
    spread = ["srun", "--overlap", f"--nodes={request.nodes}", f"--ntasks={request.nodes}", "--ntasks-per-node=1"]
    if request.gpus:
        spread.append(f"--gpus={request.gpus}")
    port = _PORTS[0] + int(job) % _PORTS[1]
    meeting = ["--rdzv_backend=c10d", f"--rdzv_endpoint={os.uname().nodename}:{port}", f"--rdzv_id={job}"]
    return [*spread, *torchrun, f"--nnodes={request.nodes}", *meeting, *program]


def _see_cuda(request: LaunchRequest) -> None:
    if not request.gpus:
        return
    import torch

    if not torch.cuda.is_available():
        log.warning(
            "the job was given %d GPU, but torch (%s) sees no CUDA device: it runs on the processor; for CUDA: make setup TORCH=cuda",
            request.gpus,
            torch.__version__,
        )
