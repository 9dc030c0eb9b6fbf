"""`tokgraft publish`: show every cell in MLflow."""

from __future__ import annotations

import argparse
import json

from tokgraft.cli import _arguments as arguments

HELP = "show every cell in MLflow"
EXTRA = "track"
EXAMPLES = """  tokgraft publish --cells results/experiments/demo/cells.json
  tokgraft publish --cells results/experiments/demo/cells.json --uri http://127.0.0.1:5000
  tokgraft publish --cells results/experiments/demo/cells.json --register best
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the command."""
    parser.add_argument(
        "--cells", type=arguments.file, required=True, metavar="FILE", help="the cells of the experiment (JSON, from `tokgraft list cells`)"
    )
    parser.add_argument(
        "--uri", type=arguments.address, help="MLflow tracking store (default: MLFLOW_TRACKING_URI, else the file mlflow.db here)"
    )
    parser.add_argument(
        "--register",
        choices=["best", "all"],
        help="also put adapted models into the model registry: the best of each base model and language, or all",
    )


def run(args: argparse.Namespace) -> int:
    """Publish; prints what was done as JSON."""
    from dataclasses import asdict

    from tokgraft import logs
    from tokgraft.cells import load_cells
    from tokgraft.tracking.publishing import publish

    cells = load_cells(args.cells)
    logs.opening({"experiment": cells.experiment, "cells": len(cells.cells)})
    done = asdict(publish(cells, args.uri, args.register))
    print(json.dumps(done, indent=1, sort_keys=True))
    return 0
