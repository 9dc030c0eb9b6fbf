"""`tokgraft sibling`: the tables of an adapted base in a fine-tuned model of the same base."""

from __future__ import annotations

import argparse

from tokgraft.cli import _arguments as arguments

HELP = "put tables and tokenizer of an adapted base into a sibling: an instruct or otherwise fine-tuned model of the same base"
EXAMPLES = """  tokgraft sibling --adapted results/models/my-base/deu_Latn/bpe16k/focus/s0/lapt-1gb --base results/models/my-base/base \\
      --sibling results/models/my-base-instruct/base --out my/german-instruct
  tokgraft sibling --adapted ADAPTED --base BASE --sibling INSTRUCT --difference add --out OUT
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the command."""
    parser.add_argument(
        "--adapted", type=arguments.model, required=True, metavar="DIR", help="what transplant made of the base, trained or not"
    )
    parser.add_argument("--base", type=arguments.model, required=True, metavar="DIR", help="model that it was made from")
    parser.add_argument(
        "--sibling", type=arguments.model, required=True, metavar="DIR", help="fine-tuned model of the same base and vocabulary"
    )
    parser.add_argument(
        "--difference",
        choices=["drop", "add"],
        default="drop",
        help="the sibling's own changes of the rows: drop, or add to the rows of copied tokens (default: drop)",
    )
    parser.add_argument("--trust-remote-code", action="store_true", help="run Python code that the folders bring")
    parser.add_argument("--out", type=arguments.place, required=True, metavar="DIR", help="folder to write")
    arguments.add_force(parser)


def run(args: argparse.Namespace) -> int:
    """Put the tables in."""
    from tokgraft import logs
    from tokgraft.transplant import sibling

    logs.opening({"adapted": str(args.adapted), "base": str(args.base), "sibling": str(args.sibling), "difference": args.difference})
    sibling.apply(args.adapted, args.base, args.sibling, args.out, difference=args.difference, trust_remote_code=args.trust_remote_code)
    return 0
