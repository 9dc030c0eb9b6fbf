"""A Slurm cluster of two nodes on one machine, out of the distribution's packages, installed nowhere and below one folder.

The packages are unpacked, not installed, so nothing outside the folder is written: no /etc/slurm, no user, no service. Everything runs as the
user who runs the tests. Node n1 has a GPU that is none (/dev/null), which is enough for Slurm to count it.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

PACKAGES = ("slurmctld", "slurmd", "slurm-client", "munge")
COMMANDS = ("sbatch", "srun", "squeue", "scancel", "scontrol", "sinfo", "sacct", "sacctmgr", "sshare")
DAEMONS = ("slurmctld", "slurmd", "slurmstepd")  # Debian ships them as NAME-wlm, and they behave by the name they are called by
NODES = ("n1", "n2")

CONFIG = """
ClusterName=tokgraft
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={root}/munge.socket
CredType=cred/munge
PluginDir={plugins}
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
StateSaveLocation={root}/state
SlurmdSpoolDir={root}/spool/%n
SlurmctldPidFile={root}/slurmctld.pid
SlurmdPidFile={root}/%n.pid
SlurmctldLogFile={root}/slurmctld.log
SlurmdLogFile={root}/%n.log
SlurmdTimeout=20
KillWait=20
ProctrackType=proctrack/pgid
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
JobCompType=jobcomp/filetxt
JobCompLoc={root}/finished.txt
GresTypes=gpu
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=4 RealMemory=64000 Gres=gpu:1 State=UNKNOWN
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[3]} CPUs=4 RealMemory=64000 State=UNKNOWN
PartitionName=cpu Nodes=n1,n2 Default=YES LLN=YES MaxTime=UNLIMITED State=UP
PartitionName=gpu Nodes=n1 MaxTime=UNLIMITED State=UP
"""


class CannotStart(Exception):
    """Why there can be no cluster here."""


@dataclass(frozen=True)
class Finished:
    """A job that has ended, as Slurm wrote it down."""

    id: str
    state: str
    partition: str
    nodes: str
    start: str
    end: str


class Cluster:
    """Start with `Cluster(folder)`, end with `stop()`.

    Args:
        root: An empty folder for programs, configuration, state and logs.

    Raises:
        CannotStart: The packages cannot be had, or a daemon does not come up.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._tree = root / "programs"
        self._libraries = self._tree / f"usr/lib/{os.uname().machine}-linux-gnu"
        _unpack(root / "packages", self._tree)
        self.bin = root / "bin"
        self._wrap()
        self._configure()
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    @property
    def environment(self) -> dict[str, str]:
        """What the shell of a user of the cluster has."""
        return {"PATH": f"{self.bin}:{os.environ['PATH']}"}

    def run(self, *command: str) -> str:
        """Run a command of Slurm; what it prints."""
        return subprocess.run(
            command, env={**os.environ, **self.environment}, capture_output=True, text=True, check=True, timeout=60
        ).stdout

    def finished(self) -> list[Finished]:
        """Jobs that have ended, in order."""
        path = self.root / "finished.txt"
        lines = path.read_text().splitlines() if path.exists() else []
        rows = [dict(word.split("=", 1) for word in line.split() if "=" in word) for line in lines]
        return [
            Finished(row["JobId"], row["JobState"], row["Partition"], row["NodeList"], row["StartTime"], row["EndTime"]) for row in rows
        ]

    def running(self) -> dict[str, tuple[str, str]]:
        """Jobs that run now: number -> (Snakemake's comment, which names the rule; nodes)."""
        lines = self.run("squeue", "--noheader", "--states=RUNNING", "--format=%i|%k|%N").splitlines()
        rows = [line.strip().split("|") for line in lines]
        return {row[0]: (row[1], row[2]) for row in rows}

    def lose(self, node: str) -> None:
        """What a power cut does: the node's daemon and all its processes are gone at once."""
        lost = self._processes(node)
        for process in [*self._daemons(node), *lost]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()

    def bring_back(self, node: str) -> None:
        """Start the node's daemon again."""
        self._slurmd(node)

    def stop(self) -> None:
        """End everything that was started."""
        with contextlib.suppress(subprocess.SubprocessError, OSError):
            self.run("scancel", "--user", getpass.getuser())
            time.sleep(2)
        for process in [*self._processes(), *self._daemons()]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGTERM)
        _, left = psutil.wait_procs([*self._processes(), *self._daemons()], timeout=10)
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()

    def _wrap(self) -> None:
        self.bin.mkdir()
        head = f"#!/bin/sh\nexport SLURM_CONF={self.root}/slurm.conf LD_LIBRARY_PATH={self._libraries}:{self._libraries}/slurm-wlm\n"
        for name in COMMANDS:
            (self.bin / name).write_text(f'{head}exec {self._tree}/usr/bin/{name} "$@"\n')
        for name in DAEMONS:
            (self._tree / "usr/sbin" / name).symlink_to(f"{name}-wlm")
            (self.bin / name).write_text(f'{head}exec {self._tree}/usr/sbin/{name} "$@"\n')
        for name in ("munged", "mungekey"):
            (self.bin / name).write_text(f'{head}exec {self._tree}/usr/sbin/{name} "$@"\n')
        for path in self.bin.iterdir():
            path.chmod(0o755)

    def _configure(self) -> None:
        for folder in ("state", *(f"spool/{node}" for node in NODES)):
            (self.root / folder).mkdir(parents=True)
        text = CONFIG.format(
            host=socket.gethostname().split(".")[0],
            user=getpass.getuser(),
            root=self.root,
            plugins=self._libraries / "slurm-wlm",
            ports=_free_ports(4),
        )
        (self.root / "slurm.conf").write_text(text)
        (self.root / "gres.conf").write_text("NodeName=n1 Name=gpu File=/dev/null\n")

    def _start(self) -> None:
        root = self.root
        self._daemon("mungekey", "--create", f"--keyfile={root}/munge.key")
        (root / "munge.key").chmod(0o400)
        self._daemon(
            "munged", "--force", f"--key-file={root}/munge.key", f"--socket={root}/munge.socket", f"--pid-file={root}/munged.pid",
            f"--seed-file={root}/munged.seed", f"--log-file={root}/munged.log",
        )  # fmt: skip
        self._daemon("slurmctld", "-c", "-f", f"{root}/slurm.conf")
        for node in NODES:
            self._slurmd(node)
        for _ in range(60):
            with contextlib.suppress(subprocess.SubprocessError):
                if self.run("sinfo", "--noheader", "--Node", "--partition=cpu", "--format=%T").split() == ["idle"] * len(NODES):
                    return
            time.sleep(1)
        raise CannotStart(f"the nodes did not come up; see {root}/*.log")

    def _slurmd(self, node: str) -> None:
        self._daemon("slurmd", "-f", f"{self.root}/slurm.conf", "-N", node, "-d", f"{self._tree}/usr/sbin/slurmstepd")

    def _daemon(self, name: str, *flags: str) -> None:
        # Daemons leave the terminal by themselves. Their output goes to a file: a pipe would stay open as long as they live.
        with (self.root / f"{name}.out").open("a") as output:
            done = subprocess.run([self.bin / name, *flags], stdout=output, stderr=output, check=False, timeout=60, cwd=self.root)
        if done.returncode:
            raise CannotStart(f"{name} ended with {done.returncode}: {(self.root / f'{name}.out').read_text()[-500:]}")

    def _daemons(self, node: str | None = None) -> list[psutil.Process]:
        names = [f"{node}.pid"] if node else ["slurmctld.pid", *(f"{n}.pid" for n in NODES), "munged.pid"]
        found = []
        for name in names:
            with contextlib.suppress(FileNotFoundError, ValueError, psutil.NoSuchProcess):
                process = psutil.Process(int((self.root / name).read_text()))
                if process.name().startswith(("slurm", "munged")):
                    found.append(process)
        return found

    def _processes(self, node: str | None = None) -> list[psutil.Process]:
        """Jobs of the cluster and the step daemons above them, on a node or on all."""
        jobs, found = set(), []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                told = process.environ()
                here = told.get("SLURM_CONF") == f"{self.root}/slurm.conf" and "SLURM_JOB_ID" in told
                if here and node in {None, told.get("SLURMD_NODENAME")}:
                    jobs.add(process.ppid())
                    found.append(process)
        for parent in jobs:
            with contextlib.suppress(psutil.Error):
                process = psutil.Process(parent)
                if "slurmstepd" in " ".join(process.cmdline()) or "slurmstepd" in process.name():
                    found.insert(0, process)
        return found


def _unpack(packages: Path, tree: Path) -> None:
    if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
        raise CannotStart("Slurm comes from Debian or Ubuntu packages, and there is no apt-get here")
    packages.mkdir()
    plan = subprocess.run(
        ["apt-get", "install", "--simulate", "--no-install-recommends", *PACKAGES], capture_output=True, text=True, check=False
    )
    names = [line.split()[1] for line in plan.stdout.splitlines() if line.startswith("Inst ")]
    got = subprocess.run(["apt-get", "download", *names], cwd=packages, capture_output=True, text=True, check=False)
    if plan.returncode or got.returncode or not names:
        raise CannotStart(f"the packages cannot be had (apt-get update may help): {(plan.stderr + got.stderr).strip()[-300:]}")
    for file in sorted(packages.glob("*.deb")):
        subprocess.run(["dpkg", "-x", file, tree], check=True)
    if not (tree / "usr/sbin/slurmctld-wlm").exists():
        raise CannotStart("Slurm is installed on this machine already, so that its packages are not unpacked apart")


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
