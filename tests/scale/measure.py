"""How cost grows with the number of cells: planning, publishing, storing, starting jobs. Prints the tables of docs/scaling.md.

    python -m tests.scale.measure graph --cells 10 100 1000 5000
    python -m tests.scale.measure publish --cells 10 100 400
    python -m tests.scale.measure store --cells 10 100 400
    python -m tests.scale.measure start

CPU seconds hardly depend on what else the machine does; seconds by the clock do. Both are printed, with the load before each measurement.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.reporting.synthetic_cells import build
from tests.store.conftest import GIT, know
from tests.workflow.conftest import ROOT, copy_project

# (models, languages, methods) whose product is the number of cells
SHAPES = {10: (1, 1, 10), 100: (1, 10, 10), 400: (2, 20, 10), 1000: (2, 25, 20), 5000: (5, 50, 20), 15000: (5, 100, 30)}


@dataclass(frozen=True)
class Cost:
    """What a command took."""

    clock: float  # seconds
    processor: float  # seconds, children included
    memory: float  # MB at the peak, of the largest process
    load: float  # of the machine before

    def row(self, *first: object) -> str:
        """A line of a table."""
        words = [*first, f"{self.clock:.1f}", f"{self.processor:.1f}", f"{self.memory:.0f}", f"{self.load:.1f}"]
        return "| " + " | ".join(map(str, words)) + " |"


def cost(command: Sequence[str], root: Path) -> Cost:
    """Run a command and say what it took.

    Raises:
        SystemExit: It failed.
    """
    load = os.getloadavg()[0]
    environment = {**os.environ, "PYTHONPATH": str(root / "src") if (root / "src").is_dir() else str(ROOT / "src")}
    with tempfile.TemporaryFile("w+") as output:
        start = time.monotonic()
        process = subprocess.Popen(command, cwd=root, env=environment, stdout=output, stderr=output)
        _, status, used = os.wait4(process.pid, 0)
        clock = time.monotonic() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        if process.returncode:
            sys.exit(f"{command}\n{output.read()[-3000:]}")
    return Cost(clock, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, load)


def graph(root: Path, count: int) -> Cost:
    """`snakemake --dry-run` of an experiment of `count` cells in which everything is to be done."""
    project = copy_project(root / f"graph-{count}")
    return cost(["snakemake", "--dry-run", "--quiet", "all", "--configfile", experiment(project.root, count)], project.root)


def experiment(root: Path, count: int) -> str:
    """Write an experiment of `count` cells: invented languages, models and names of methods, all of which plan like real ones."""
    models, languages, methods = SHAPES[count]
    german = (root / "config/languages/deu_Latn.yaml").read_text()
    for number in range(languages):
        (root / f"config/languages/x{number:03d}_Latn.yaml").write_text(german)
    for number in range(models):
        (root / f"config/models/m{number}.yaml").write_text(f"name: M{number}\nsource: {{kind: local, path: weights}}\n")
    # Half of the methods need a resource (focus), half need none (mean).
    named = {f"way{number}": {"method": "focus" if number % 2 else "mean"} for number in range(methods)}
    grid = {
        "models": [f"m{number}" for number in range(models)],
        "languages": [f"x{number:03d}_Latn" for number in range(languages)],
        "tokenizers": ["bpe8k"],
        "methods": list(named),
        "recipes": ["pocket-demo"],
        "tasks": ["bpb"],
    }
    path = root / "config/experiments/scale.yaml"
    path.write_text(yaml.safe_dump({"name": "scale", "methods": named, "grids": [grid]}))
    return str(path.relative_to(root))


def cells(root: Path, count: int) -> Path:
    """A tree of `count` finished cells with invented scores; the path of its cell list."""
    seeds = max(count // 10, 1)  # ten cells a seed
    demo = [(model, language, ["none", "random", "mean", "multivariate", "focus"]) for model, language in
            (("pocket", "deu_Latn"), ("pocket", "ell_Grek"))]  # fmt: skip
    return build(root, demo, seeds=range(seeds))


def publish(root: Path, count: int) -> list[Cost]:
    """Publishing `count` cells to a new SQLite store, and again when nothing has changed."""
    folder = root / f"publish-{count}"
    listing = cells(folder, count)
    command = ["tokgraft", "publish", "--cells", str(listing.relative_to(folder)), "--uri", f"sqlite:///{folder}/mlflow.db"]
    return [cost(command, folder), cost(command, folder)]


def store(root: Path, count: int) -> dict[str, Cost]:
    """`tokgraft push` of `count` cells to a folder, `tokgraft pull` of all into a clone; each once more when there is nothing to do."""
    folder, clone = root / f"store-{count}", root / f"clone-{count}"
    cells(folder, count)
    (folder / "stage.py").write_text("# what invented records name as source\n")
    know(folder)
    (folder / ".gitignore").write_text("/results/\n/.snakemake/\n")
    remote = ["dvc", "remote", "add", "--quiet", "--default", "here", str(root / f"remote-{count}")]
    for command in ([*GIT, "init", "--quiet"], ["dvc", "init", "--quiet"], remote):
        cost(command, folder)
    found = {"push": cost(["tokgraft", "push"], folder), "push again": cost(["tokgraft", "push"], folder)}
    for command in (
        [*GIT, "add", "--all"],
        [*GIT, "commit", "--quiet", "--message", "results"],
        [*GIT, "clone", "--quiet", ".", str(clone)],
    ):
        cost(command, folder)
    shutil.rmtree(folder)
    return found | {"pull": cost(["tokgraft", "pull"], clone), "pull again": cost(["tokgraft", "pull"], clone)}


def start(root: Path, repeats: int = 3) -> dict[str, list[Cost]]:
    """What a job costs before it works: Python, the package, torch, and the Snakemake around a job on a cluster."""
    project = copy_project(root / "start")
    remote = ["snakemake", "report_cells", "--dry-run", "--quiet", "all", "--configfile", experiment(project.root, 10)]
    commands = {
        "python": [sys.executable, "-c", ""],
        "tokgraft --version": ["tokgraft", "--version"],
        "import torch and transformers": [sys.executable, "-c", "import torch, transformers"],
        "snakemake, one job's graph": remote,
    }
    return {name: [cost(command, project.root) for _ in range(repeats)] for name, command in commands.items()}


def main() -> None:
    """Measure what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["graph", "publish", "store", "start"])
    parser.add_argument("--cells", type=int, nargs="+", choices=SHAPES, default=[10, 100])
    parser.add_argument("--repeats", type=int, default=1)
    args = parser.parse_args()
    print("| what | cells | s | CPU s | MB | load before |\n|---|---|---|---|---|---|")
    for _ in range(args.repeats):
        with tempfile.TemporaryDirectory(prefix="tokgraft-scale-") as name:
            root = Path(name)
            if args.what == "start":
                for what, costs in start(root).items():
                    for one in costs:
                        print(one.row(what, ""), flush=True)
                continue
            for count in args.cells:
                if args.what == "graph":
                    print(graph(root, count).row("plan", count), flush=True)
                elif args.what == "publish":
                    first, again = publish(root, count)
                    print(first.row("publish", count), again.row("publish again", count), sep="\n", flush=True)
                else:
                    for what, one in store(root, count).items():
                        print(one.row(what, count), flush=True)


if __name__ == "__main__":
    main()
