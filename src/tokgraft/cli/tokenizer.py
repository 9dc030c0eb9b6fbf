"""`tokgraft tokenizer`: train a tokenizer, extend the base's, or copy it; with audit and metrics."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "train a tokenizer, extend the base's, or copy it; with audit and metrics"
EXAMPLES = """  tokgraft tokenizer --recipe bpe8k --corpus results/corpora/deu_Latn --english results/corpora/eng_Latn \\
      --base results/models/smollm2-135m/base --out results/tokenizers/smollm2-135m/deu_Latn/bpe8k
  tokgraft tokenizer --settings '{"trainer": "extend", "new_tokens": 512}' --corpus my-corpus --base my-model --out my-tokenizer
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the command."""
    recipe = parser.add_mutually_exclusive_group(required=True)
    recipe.add_argument("--recipe", metavar="SLUG|FILE", help="recipe: a slug of config/tokenizers/ or a YAML file")
    recipe.add_argument("--settings", metavar="JSON", help="the recipe as JSON")
    parser.add_argument("--corpus", type=Path, required=True, metavar="DIR", help="corpus artifact of the target language")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the new artifact")
    parser.add_argument("--base", type=Path, metavar="DIR", help="model folder whose tokenizer is extended or replaced")
    parser.add_argument("--english", type=Path, metavar="DIR", help="English corpus artifact, for the English side of the metrics")


def run(args: argparse.Namespace) -> int:
    """Build the tokenizer."""
    from tokgraft import logs
    from tokgraft.config.tokenizer import TokenizerRecipe
    from tokgraft.tokenizers.build import build_tokenizer

    recipe = TokenizerRecipe.load(args.settings or args.recipe)
    logs.opening(recipe.canonical())
    build_tokenizer(recipe, args.corpus, args.out, args.base, args.english)
    return 0
