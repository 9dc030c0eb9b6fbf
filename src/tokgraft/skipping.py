"""What the workflow does about work that is impossible: a language without parallel text has no dictionary, however often one tries.

Alone, a command fails with a clear error. With `--or-skip` it writes the reason in the place of its artifact, every later stage hands the
reason on, and the report shows the cell as skipped, with that reason. Other errors stay errors.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from tokgraft.errors import ImpossibleError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flag of every stage that can be skipped."""
    parser.add_argument(
        "--or-skip", action="store_true", help="where the inputs make it impossible, write the reason into --out instead of failing"
    )


def run(args: argparse.Namespace) -> int:
    """Run a command, or write down why it cannot be run; the exit status.

    Raises:
        TokgraftError: As the command; `ImpossibleError` only without `--or-skip`.
    """
    if not getattr(args, "or_skip", False):
        return int(args.run(args) or 0)
    from tokgraft import artifacts
    from tokgraft.logs import log

    inputs = dict(_inputs(vars(args)))
    reasons = sorted({reason for folder in inputs.values() if (reason := artifacts.skipped(folder)) is not None})
    if not reasons:
        try:
            return int(args.run(args) or 0)
        except ImpossibleError as error:
            reasons = [error.what]
    log.warning("skipped: %s", "; ".join(reasons))
    artifacts.skip(args.out, "; ".join(reasons), {role: folder for role, folder in inputs.items() if artifacts.is_artifact(folder)})
    return 0


def _inputs(given: dict[str, Any]) -> list[tuple[str, Path]]:
    """Role and folder of each artifact on the command line."""
    found = [(role, value) for role, value in given.items() if isinstance(value, Path) and role != "out"]
    return [*found, *((f"resource_{name}", folder) for name, folder in (given.get("resource") or {}).items())]
