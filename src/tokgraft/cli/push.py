"""`tokgraft push`: record the finished artifacts of a run, and push them to the DVC remote."""

from __future__ import annotations

import argparse
import json

from tokgraft.cli import _arguments as arguments

HELP = "record the finished artifacts of a run in dvc.lock and snakemake.lock, and push them"
EXTRA = "workflow"
EXAMPLES = """  tokgraft push                       # the experiment that was run here, to the default remote
  tokgraft push --experiment demo     # one of several
  tokgraft push --record-only         # write the files to commit, push later
  tokgraft push --remote backup --prune
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the command."""
    parser.add_argument(
        "--experiment", type=arguments.text, metavar="NAME", help="name of the experiment (default: the only one that was run here)"
    )
    parser.add_argument("--remote", type=arguments.text, help="name of a DVC remote (default: DVC's default)")
    parser.add_argument("--jobs", type=arguments.jobs, metavar="N", help="uploads at once")
    parser.add_argument(
        "--record-only", action="store_true", help="write dvc.yaml, dvc.lock, snakemake.lock and metrics.json, push nothing"
    )
    parser.add_argument("--prune", action="store_true", help="forget artifacts of other experiments")


def run(args: argparse.Namespace) -> int:
    """Push; prints what was done as JSON. 1 when something that is here could not be stored."""
    from dataclasses import asdict

    from tokgraft.cells import listed, load_cells
    from tokgraft.logs import log
    from tokgraft.store.push import push

    cells = load_cells(listed(args.experiment))
    done = push(cells, send=not args.record_only, prune=args.prune, remote=args.remote, jobs=args.jobs)
    print(json.dumps(asdict(done), indent=1, sort_keys=True))
    log.info("so that others can pull it: git add dvc.yaml dvc.lock snakemake.lock metrics.json && git commit")
    return 1 if done.unknown else 0
