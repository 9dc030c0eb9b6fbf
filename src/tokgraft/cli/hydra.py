"""`tokgraft hydra`: an adapted model and its base as one model that reads both vocabularies and writes the new one."""

from __future__ import annotations

import argparse

from tokgraft.cli import _arguments as arguments

HELP = "export a hydra: one body that reads the old and the new vocabulary and writes the new one (for translation)"
EXAMPLES = """  tokgraft hydra --adapted results/models/smollm2-135m/deu_Latn/bpe8k/trans_tokenization/s0/init \\
      --base results/models/smollm2-135m/base --out my/hydra
  python -c "from tokgraft.transplant import hydra; two = hydra.load('my/hydra')"
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the command."""
    parser.add_argument(
        "--adapted", type=arguments.model, required=True, metavar="DIR", help="model with the new tokenizer, trained or not"
    )
    parser.add_argument("--base", type=arguments.model, required=True, metavar="DIR", help="model that it was made from")
    parser.add_argument("--out", type=arguments.place, required=True, metavar="DIR", help="folder to write")
    arguments.add_force(parser)


def run(args: argparse.Namespace) -> int:
    """Export."""
    from tokgraft import logs
    from tokgraft.transplant import hydra

    logs.opening({"adapted": str(args.adapted), "base": str(args.base)})
    hydra.export(args.adapted, args.base, args.out)
    return 0
