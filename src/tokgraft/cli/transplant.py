"""`tokgraft transplant`: put a new tokenizer into a model."""

from __future__ import annotations

import argparse
from typing import get_args

from tokgraft import skipping
from tokgraft.cli import _arguments as arguments
from tokgraft.config.bounds import Dtype

HELP = "put a new tokenizer into a model: make its rows by a method and write a complete model folder"
EXAMPLES = """  tokgraft transplant --model BASE --tokenizer TOKENIZER --method mean --out ADAPTED
  tokgraft transplant --model BASE --tokenizer TOKENIZER --method multivariate --set eps=1e-9 --seed 1 --out ADAPTED
  tokgraft transplant --model BASE --tokenizer TOKENIZER --method focus --resource token_vectors=VECTORS --out ADAPTED
  tokgraft transplant --model BASE --tokenizer TOKENIZER --method omp --resource donor=DONOR --corpus CORPUS --out ADAPTED
  tokgraft transplant --model BASE --tokenizer TOKENIZER --method focus --resource token_vectors=VECTORS --out ADAPTED \\
      --override '<think>=like:<|im_start|>' --override '</think>=text: end of thought' --override '<pad>=zero'
  tokgraft list methods
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the command."""
    parser.add_argument("--model", type=arguments.model, required=True, metavar="DIR", help="base model with its tokenizer")
    parser.add_argument(
        "--tokenizer", type=arguments.model, metavar="DIR", help="new tokenizer (default: the base's own, for the method none)"
    )
    parser.add_argument(
        "--method", type=arguments.text, required=True, metavar="CHAIN", help="a method, or method+refiner+... (see: tokgraft list methods)"
    )
    parser.add_argument(
        "--settings",
        type=arguments.settings,
        default="{}",
        metavar="JSON",
        help="parameters as JSON text or file; in a chain: part -> parameters",
    )
    parser.add_argument(
        "--set",
        type=arguments.setting,
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="sets",
        help="one parameter; in a chain: PART.KEY=VALUE",
    )
    parser.add_argument(
        "--resource",
        type=arguments.named_folder,
        action=arguments.KeyValues,
        default={},
        metavar="NAME=DIR",
        help="folder of a resource that the method requires",
    )
    parser.add_argument("--seed", type=arguments.seed, default=0, help="seed of everything random (default: 0)")
    parser.add_argument(
        "--override",
        type=arguments.override,
        action=arguments.KeyValues,
        default={},
        metavar="TOKEN=HOW",
        dest="overrides",
        help="row of one token, set last: like:TOKEN (copied from the base's), zero, or text:SOME TEXT (mean of the base's rows); repeatable",
    )
    rows = parser.add_mutually_exclusive_group()
    rows.add_argument(
        "--rows", type=arguments.rows, metavar="N|base", help="number of rows, padded ones included; base: as many as the base has"
    )
    rows.add_argument(
        "--pad-to-multiple", type=arguments.multiple, metavar="N", help="round the rows up to a multiple of N (default: no padded rows)"
    )
    parser.add_argument("--dtype", choices=get_args(Dtype), help="floating type of the written weights (default: the base's)")
    parser.add_argument(
        "--corpus",
        type=arguments.folder,
        metavar="DIR",
        help="corpus of the language: see on its dev text which tokens the adapted model predicts most",
    )
    parser.add_argument("--trust-remote-code", action="store_true", help="run Python code that the model folder brings")
    parser.add_argument("--out", type=arguments.place, required=True, metavar="DIR", help="folder to write")
    skipping.add_arguments(parser)
    arguments.add_force(parser)


def run(args: argparse.Namespace) -> int:
    """Transplant."""
    from tokgraft import logs, transplant

    params = arguments.parameters(args.settings, args.sets)
    logs.opening({"method": args.method, "params": params, "resources": args.resource, "seed": args.seed, "overrides": args.overrides})
    transplant.run(
        model=args.model, tokenizer=args.tokenizer, method=args.method, out=args.out, params=params, resources=args.resource, seed=args.seed,
        pad_to_multiple=args.pad_to_multiple, rows=args.rows, overrides=args.overrides, dtype=args.dtype,
        trust_remote_code=args.trust_remote_code, corpus=args.corpus,
    )  # fmt: skip
    return 0
