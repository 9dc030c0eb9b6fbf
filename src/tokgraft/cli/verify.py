"""`tokgraft verify`: recompute the hashes of artifacts and name what does not match."""

from __future__ import annotations

import argparse

from tokgraft.cli import _arguments as arguments

HELP = "recompute the hashes of artifacts and name what does not match"
EXAMPLES = """  tokgraft verify results
  tokgraft verify results/models/pocket/deu_Latn/bpe8k/focus/s0/init
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the command."""
    parser.add_argument("folders", nargs="+", type=arguments.folder, metavar="FOLDER", help="artifact, or a folder that holds artifacts")


def run(args: argparse.Namespace) -> int:
    """Verify; 1 when something does not match."""
    from tokgraft import artifacts
    from tokgraft.errors import ArtifactError

    found = sorted({artifact for folder in args.folders for artifact in artifacts.find(folder)})
    if not found:
        raise ArtifactError(f"no artifact in {', '.join(map(str, args.folders))}", "give a folder that holds a manifest.json")
    problems = [problem for folder in found for problem in artifacts.verify(folder)]
    for problem in problems:
        print(problem)
    print(f"{len(found)} artifacts, {len(problems)} problems")
    return 1 if problems else 0
