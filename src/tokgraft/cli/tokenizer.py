"""`tokgraft tokenizer`: train a tokenizer, extend the base's, or copy it; evaluate one, compare several, look into one."""

from __future__ import annotations

import argparse

from tokgraft.cli import _arguments as arguments

HELP = "train, extend or copy a tokenizer; evaluate it, compare several, infer its training mixture"
EXTRA = "tokenizers"
EXAMPLES = """  tokgraft tokenizer --recipe bpe8k --corpus results/corpora/deu_Latn --english results/corpora/eng_Latn \\
      --base results/models/smollm2-135m/base --out results/tokenizers/smollm2-135m/deu_Latn/bpe8k
  tokgraft tokenizer --settings '{"trainer": "extend", "new_tokens": 512}' --corpus my-corpus --base my-model --out my-tokenizer
  tokgraft tokenizer evaluate --tokenizer my-tokenizer --corpus results/corpora/deu_Latn --base my-model --out my-evaluation
  tokgraft tokenizer compare my-tokenizer my-model --corpus results/corpora/deu_Latn --out compare.html
  tokgraft tokenizer mixture --tokenizer my-model --corpora results/corpora/deu_Latn results/corpora/eng_Latn
  tokgraft tokenizer adversarial --tokenizer my-tokenizer --corpus results/corpora/deu_Latn --out challenge.jsonl
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the command and of its actions; without an action a tokenizer is built."""
    recipe = parser.add_mutually_exclusive_group()
    recipe.add_argument(
        "--recipe",
        type=arguments.text,
        metavar="SLUG|FILE",
        help="recipe: a slug of config/tokenizers/ or a YAML file (this or --settings)",
    )
    recipe.add_argument("--settings", type=arguments.settings, metavar="JSON", help="the recipe as JSON")
    parser.add_argument("--corpus", type=arguments.folder, metavar="DIR", help="corpus artifact of the target language (required)")
    parser.add_argument("--out", type=arguments.place, metavar="DIR", help="folder of the new artifact (required)")
    parser.add_argument("--base", type=arguments.model, metavar="DIR", help="model folder whose tokenizer is extended or replaced")
    parser.add_argument(
        "--english", type=arguments.folder, metavar="DIR", help="English corpus artifact, for the English side of the metrics"
    )
    parser.add_argument(
        "--learn",
        type=arguments.named_folder,
        action=arguments.KeyValues,
        default={},
        metavar="SLUG=DIR",
        help="corpus of a language that the recipe's `languages` names (repeat)",
    )
    arguments.add_force(parser)
    actions = parser.add_subparsers(dest="action", metavar="ACTION", title="actions (none: build a tokenizer)")
    for name, add in (("evaluate", _evaluate), ("compare", _compare), ("mixture", _mixture), ("adversarial", _adversarial)):
        action = actions.add_parser(name, help=_HELP[name], description=_HELP[name])
        add(action)
        arguments.add_force(action)


_HELP = {
    "evaluate": "metrics with intervals, audits and a card of one tokenizer on one language",
    "compare": "one page with the splits of several tokenizers on the same text",
    "mixture": "infer from the merge list in which proportions languages were in the training text",
    "adversarial": "build a segmentation challenge set against a tokenizer and say how often it crosses word boundaries",
}


def _evaluate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--tokenizer", type=arguments.model, required=True, metavar="DIR", help="folder with a tokenizer.json (an artifact or any model)"
    )
    parser.add_argument("--corpus", type=arguments.folder, required=True, metavar="DIR", help="corpus artifact of the language")
    parser.add_argument("--english", type=arguments.folder, metavar="DIR", help="English corpus artifact")
    parser.add_argument("--base", type=arguments.model, metavar="DIR", help="tokenizer to compare with (usually the base model's)")
    parser.add_argument(
        "--settings",
        type=arguments.settings,
        metavar="JSON|FILE",
        default="{}",
        help="settings (docs/configuration.md, TokenizerEvaluation)",
    )
    parser.add_argument("--name", type=arguments.text, help="what the tokenizer is called in the card (default: its folder)")
    parser.add_argument("--out", type=arguments.place, required=True, metavar="DIR", help="folder of the new artifact")


def _compare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "tokenizers", type=arguments.maybe_named_model, nargs="+", metavar="[NAME=]DIR", help="folders with a tokenizer.json"
    )
    parser.add_argument("--corpus", type=arguments.folder, metavar="DIR", help="corpus artifact whose test pages the texts come from")
    parser.add_argument("--text", type=arguments.text, action="append", default=[], help="a text (may be repeated)")
    parser.add_argument("--file", type=arguments.file, metavar="FILE", help="UTF-8 file with one text a line")
    parser.add_argument("--samples", type=arguments.items, default=6, help="texts taken from the corpus (default: 6)")
    parser.add_argument("--out", type=arguments.place, required=True, metavar="FILE", help="page to write (.html); a .json lies beside it")


def _mixture(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--tokenizer", type=arguments.model, required=True, metavar="DIR", help="folder with the tokenizer.json of a BPE tokenizer"
    )
    parser.add_argument(
        "--corpora", type=arguments.folder, nargs="+", required=True, metavar="DIR", help="corpus artifacts of the candidate languages"
    )
    parser.add_argument("--merges", type=arguments.items, default=1000, help="merges that are looked at, from the first (default: 1000)")
    parser.add_argument(
        "--max-bytes", type=arguments.size_in_bytes, default=4_000_000, help="text read of each language (default: 4000000)"
    )
    parser.add_argument("--per", choices=["bytes", "pairs"], default="bytes", help="what the proportions count (default: bytes)")
    parser.add_argument("--out", type=arguments.place, metavar="FILE", help="write the result as JSON, too")


def _adversarial(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--tokenizer", type=arguments.model, required=True, metavar="DIR", help="folder with a tokenizer.json")
    parser.add_argument("--corpus", type=arguments.folder, required=True, metavar="DIR", help="corpus artifact of the language")
    parser.add_argument("--items", type=arguments.items, default=500, help="items of the challenge set at most (default: 500)")
    parser.add_argument(
        "--max-bytes", type=arguments.size_in_bytes, default=4_000_000, help="text that words are taken from (default: 4000000)"
    )
    parser.add_argument("--out", type=arguments.place, metavar="FILE", help="write the challenge set (JSON lines)")


def run(args: argparse.Namespace) -> int:
    """Build a tokenizer, or do what the action says."""
    if args.action:
        return {"evaluate": _run_evaluate, "compare": _run_compare, "mixture": _run_mixture, "adversarial": _run_adversarial}[args.action](
            args
        )
    from tokgraft import logs
    from tokgraft.config.tokenizer import TokenizerRecipe
    from tokgraft.errors import ConfigError
    from tokgraft.tokenizers.build import build_tokenizer

    missing = [flag for flag, value in (("--recipe or --settings", args.recipe or args.settings is not None), ("--corpus", args.corpus), ("--out", args.out)) if not value]  # fmt: skip
    if missing:
        raise ConfigError(f"missing: {', '.join(missing)}", "tokgraft tokenizer --help")
    recipe = TokenizerRecipe.load(args.recipe) if args.settings is None else TokenizerRecipe.parse(args.settings, "--settings")
    logs.opening(recipe.canonical())
    build_tokenizer(recipe, args.corpus, args.out, args.base, args.english, args.learn)
    return 0


def _run_evaluate(args: argparse.Namespace) -> int:
    from tokgraft import logs
    from tokgraft.config.evaluation import TokenizerEvaluation
    from tokgraft.intrinsic.build import evaluate_tokenizer

    settings = TokenizerEvaluation.parse(args.settings, "--settings")
    logs.opening(settings.canonical())
    evaluate_tokenizer(args.tokenizer, args.corpus, args.out, args.base, args.english, settings, args.name or "")
    return 0


def _run_compare(args: argparse.Namespace) -> int:
    from tokgraft.intrinsic.compare import compare_tokenizers

    compare_tokenizers(args.tokenizers, args.out, texts=args.text, file=args.file, corpus=args.corpus, samples=args.samples)
    return 0


def _run_mixture(args: argparse.Namespace) -> int:
    from tokgraft.intrinsic.mixture import mixture_of_corpora

    mixture_of_corpora(args.tokenizer, args.corpora, args.merges, args.max_bytes, args.per, args.out)
    return 0


def _run_adversarial(args: argparse.Namespace) -> int:
    from tokgraft.intrinsic.adversarial import challenge_corpus

    challenge_corpus(args.tokenizer, args.corpus, args.items, args.max_bytes, args.out)
    return 0
