"""`tokgraft report`: tables, figures and the HTML report; or, with --check, whether the products make sense."""

from __future__ import annotations

import argparse
import sys

from tokgraft.cli import _arguments as arguments

HELP = "tables, figures and the HTML report of an experiment; --check: do its products make sense"
EXTRA = "report"
EXAMPLES = """  tokgraft list cells > cells.json
  tokgraft report --cells cells.json --out tables
  tokgraft report --cells results/experiments/demo/cells.json --check
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the command."""
    parser.add_argument(
        "--cells", type=arguments.file, required=True, metavar="FILE", help="the cells of the experiment (JSON, from `tokgraft list cells`)"
    )
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--out", type=arguments.place, metavar="DIR", help="folder of the tables")
    action.add_argument(
        "--check", action="store_true", help="check the products instead: exit 1 and one line for each that does not make sense"
    )
    arguments.add_force(parser)


def run(args: argparse.Namespace) -> int:
    """Build the report, or check; 1 when a product does not make sense."""
    from tokgraft import logs
    from tokgraft.cells import load_cells

    cells = load_cells(args.cells)
    logs.opening({"experiment": cells.experiment, "cells": len(cells.cells)})
    if args.check:
        from tokgraft.reporting.checks import check_products
        from tokgraft.tracking.record import unpublishable

        problems = check_products(cells)
        # What the report has said of a cell in other words need not be said again.
        problems += [one for one in unpublishable(cells) if not any(one.partition(": ")[2] in known for known in problems)]
        for problem in problems:
            print(problem, file=sys.stderr)
        print(f"{len(cells.cells)} cells checked, {len(problems)} problems")
        return 1 if problems else 0
    from tokgraft.reporting.build import build_report

    build_report(cells, args.out, args.cells)
    return 0
