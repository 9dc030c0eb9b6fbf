"""`tokgraft publish`: show every cell in MLflow, or hand the artifacts to DVC."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

HELP = "show every cell in MLflow; with --dvc: record the artifacts in DVC"
EXAMPLES = """  tokgraft publish --cells results/cells.json
  tokgraft publish --cells results/cells.json --uri http://127.0.0.1:5000
  tokgraft publish --cells results/cells.json --register best
  tokgraft publish --cells results/cells.json --dvc --push
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the command."""
    parser.add_argument(
        "--cells", type=Path, required=True, metavar="FILE", help="the cells of the experiment (JSON, from `tokgraft list cells`)"
    )
    parser.add_argument("--uri", help="MLflow tracking store (default: MLFLOW_TRACKING_URI, else the file mlflow.db here)")
    parser.add_argument(
        "--register",
        choices=["best", "all"],
        help="also put adapted models into the model registry: the best of each base model and language, or all",
    )
    parser.add_argument(
        "--dvc", action="store_true", help="write dvc.yaml and record the finished artifacts in dvc.lock, instead of MLflow"
    )
    parser.add_argument("--push", action="store_true", help="with --dvc: push them to the default remote as well")


def run(args: argparse.Namespace) -> int:
    """Publish; prints what was done as JSON."""
    from dataclasses import asdict

    from tokgraft import logs
    from tokgraft.cells import load_cells
    from tokgraft.errors import ConfigError

    if args.push and not args.dvc:
        raise ConfigError("--push belongs to --dvc", "add --dvc, or leave --push away")
    if args.register and args.dvc:
        raise ConfigError("--register belongs to MLflow", "leave --dvc or --register away")
    cells = load_cells(args.cells)
    logs.opening({"experiment": cells.experiment, "cells": len(cells.cells), "dvc": args.dvc})
    if args.dvc:
        from tokgraft.tracking.dvc_store import store

        done = asdict(store(cells, push=args.push))
    else:
        from tokgraft.tracking.publishing import publish

        done = asdict(publish(cells, args.uri, args.register))
    print(json.dumps(done, indent=1, sort_keys=True))
    return 0
