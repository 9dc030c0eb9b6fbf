"""`tokgraft resource`: make what a method requires beside the two vocabularies."""

from __future__ import annotations

import argparse

from tokgraft import skipping
from tokgraft.cli import _arguments as arguments

HELP = "make a resource that methods require (token vectors, ...)"
EXTRA = "resources"
EXAMPLES = """  tokgraft resource --name token_vectors --corpus CORPUS --tokenizer TOKENIZER --out VECTORS
  tokgraft resource --name token_vectors --corpus CORPUS --tokenizer TOKENIZER --settings '{"dim": 300}' --out VECTORS
  tokgraft list resources
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the command."""
    parser.add_argument("--name", type=arguments.text, required=True, help="resource to make (see: tokgraft list resources)")
    parser.add_argument("--corpus", type=arguments.folder, metavar="DIR", help="corpus of the language")
    parser.add_argument("--english", type=arguments.folder, metavar="DIR", help="English corpus")
    parser.add_argument("--tokenizer", type=arguments.model, metavar="DIR", help="target tokenizer")
    parser.add_argument("--base", type=arguments.model, metavar="DIR", help="base model")
    parser.add_argument("--settings", type=arguments.settings, default="{}", metavar="JSON", help="parameters as JSON text or file")
    parser.add_argument(
        "--set", type=arguments.setting, action="append", default=[], metavar="KEY=VALUE", dest="sets", help="one parameter"
    )
    parser.add_argument("--out", type=arguments.place, required=True, metavar="DIR", help="folder to write")
    skipping.add_arguments(parser)
    arguments.add_force(parser)


def run(args: argparse.Namespace) -> int:
    """Make the resource."""
    from tokgraft import logs, resources

    params = arguments.parameters(args.settings, args.sets)
    logs.opening({"resource": args.name, **resources.validate(args.name, params)})
    inputs = resources.Inputs(corpus=args.corpus, english=args.english, tokenizer=args.tokenizer, base=args.base)
    resources.make(args.name, inputs, params, args.out)
    return 0
