"""`tokgraft model`: fetch or create a base model as a complete folder."""

from __future__ import annotations

import argparse

from tokgraft.cli import _arguments as arguments

HELP = "fetch a base model, or create one from scratch, as a complete model folder"
EXAMPLES = """  tokgraft model --model smollm2-135m --out results/models/smollm2-135m/base
  tokgraft model --model pocket --tokenizer results/tokenizers/pocket/eng_Latn/bpe8k --out results/models/pocket/untrained
  tokgraft model --settings '{"name": "Mine", "source": {"kind": "local", "path": "my-model"}}' --out results/models/mine/base
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the command."""
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--model", type=arguments.text, metavar="SLUG|FILE", help="a file of config/models/, by name or path")
    source.add_argument("--settings", type=arguments.settings, metavar="JSON", help="the same settings as JSON text")
    parser.add_argument("--out", type=arguments.place, required=True, metavar="DIR", help="folder to write")
    parser.add_argument(
        "--tokenizer",
        type=arguments.model,
        metavar="DIR",
        help="tokenizer to use instead of the source's own; required for scratch models",
    )
    parser.add_argument(
        "--cache", type=arguments.place, metavar="DIR", help="folder for downloads (default: TOKGRAFT_CACHE, or .cache/downloads)"
    )
    arguments.add_force(parser)


def run(args: argparse.Namespace) -> int:
    """Write the artifact."""
    import os

    from tokgraft import logs
    from tokgraft.config.model import BaseModelConfig
    from tokgraft.models.build import build_model

    config = BaseModelConfig.load(args.model) if args.settings is None else BaseModelConfig.parse(args.settings, "--settings")
    logs.opening(config.canonical())
    if config.source.kind != "hub":
        os.environ["HF_HUB_OFFLINE"] = "1"  # nothing else may ask the Hub for anything; read when its client is imported
    build_model(config, args.out, tokenizer=args.tokenizer, cache=args.cache)
    return 0
