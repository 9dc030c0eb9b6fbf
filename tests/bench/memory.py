"""Peak memory and processor time of every method on invented tables of growing size, one process for each, one at a time.

    python -m tests.bench.memory --sizes 16 32 64 128 --out results/bench/memory.json

A case that is in the file already is not measured again. This process imports nothing large: a child's peak would begin at its parent's size.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

WIDTH = 1024
THOUSAND = 1024  # tokens of "16k"
PAUSE = 0.2  # seconds between looks at a child


def status(process: int | str, key: str) -> float:
    """A size from /proc, in GB; 0 where the process is gone."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) * 1024 / 1e9 for line in lines if line.startswith(key + ":")), 0.0)


def child(chain: str, size: int, width: int) -> dict[str, Any]:
    """Run one method in this process."""
    import torch

    from tests.bench.synthetic import Invented
    from tokgraft import methods

    torch.set_num_threads(1)
    task = Invented(size, width).task(chain)
    inputs, begin = status("self", "VmRSS"), time.process_time()
    rows = methods.apply(chain, task, {})
    spent = time.process_time() - begin
    assert rows.input.shape == (len(task.target), width)
    made = sum(way.how not in ("copied", "role") for way in rows.provenance)
    return {"cpu": round(spent, 1), "inputs": round(inputs, 3), "peak": round(status("self", "VmHWM"), 3), "made": made}


def measure(chain: str, size: int, limits: argparse.Namespace) -> dict[str, Any]:
    """Run one method in a process of its own, which is killed above the limits."""
    command = [sys.executable, "-m", "tests.bench.memory", "--child", chain, "--sizes", str(size)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    begin = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as process:
        while process.poll() is None:
            time.sleep(PAUSE)
            used = status(process.pid, "VmRSS")
            if used > limits.memory or time.monotonic() - begin > limits.seconds:
                process.kill()
                return {"failed": f"killed at {used:.1f} GB after {time.monotonic() - begin:.0f} s"}
        output = process.stdout.read() if process.stdout else ""
    if process.returncode:
        return {"failed": f"exit {process.returncode}"}
    found: dict[str, Any] = json.loads(output.splitlines()[-1])
    return found


def names() -> list[str]:
    """Every method, and every refiner behind the mean; asked in a process of its own."""
    command = "import json; from tests.bench.german import chains; print(json.dumps(chains()))"
    found: list[str] = json.loads(subprocess.run([sys.executable, "-c", command], check=True, capture_output=True, text=True).stdout)
    return found


def main() -> None:
    """Measure what is missing in the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[16, 32, 64, 128], help="tokens of source and target, in 1024")
    parser.add_argument("--methods", nargs="+", help="chains; default: all")
    parser.add_argument("--out", type=Path, default=Path("results/bench/memory.json"))
    parser.add_argument("--memory", type=float, default=10, help="GB at which a process is killed")
    parser.add_argument("--seconds", type=float, default=3600, help="seconds by the clock after which it is")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        print(json.dumps(child(args.child, args.sizes[0] * THOUSAND, WIDTH)))
        return
    args.out.parent.mkdir(parents=True, exist_ok=True)
    known: dict[str, dict[str, Any]] = json.loads(args.out.read_text()) if args.out.exists() else {}
    for size in args.sizes:
        for chain in args.methods or names():
            if str(size) not in known.setdefault(chain, {}):
                known[chain][str(size)] = measure(chain, size, args)
                print(f"{size}k {chain}: {known[chain][str(size)]}", flush=True)
                args.out.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
