"""`tokgraft resource`: make what a method requires beside the two vocabularies."""

from __future__ import annotations

import argparse
from pathlib import Path

from tokgraft import skipping

HELP = "make a resource that methods require (token vectors, ...)"
EXAMPLES = """  tokgraft resource --name token_vectors --corpus CORPUS --tokenizer TOKENIZER --out VECTORS
  tokgraft resource --name token_vectors --corpus CORPUS --tokenizer TOKENIZER --settings '{"dim": 300}' --out VECTORS
  tokgraft list resources
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the command."""
    parser.add_argument("--name", required=True, help="resource to make (see: tokgraft list resources)")
    parser.add_argument("--corpus", type=Path, metavar="DIR", help="corpus of the language")
    parser.add_argument("--english", type=Path, metavar="DIR", help="English corpus")
    parser.add_argument("--tokenizer", type=Path, metavar="DIR", help="target tokenizer")
    parser.add_argument("--base", type=Path, metavar="DIR", help="base model")
    parser.add_argument("--settings", default="{}", metavar="JSON", help="parameters as JSON text or file")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="sets", help="one parameter")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write")
    skipping.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Make the resource."""
    from tokgraft import logs, resources
    from tokgraft.cli.transplant import parameters

    params = parameters(args.settings, args.sets)
    logs.opening({"resource": args.name, **resources.validate(args.name, params)})
    inputs = resources.Inputs(corpus=args.corpus, english=args.english, tokenizer=args.tokenizer, base=args.base)
    resources.make(args.name, inputs, params, args.out)
    return 0
