"""`tokgraft train`: train a model folder on a corpus by a recipe."""

from __future__ import annotations

import argparse

from tokgraft import launch, skipping
from tokgraft.cli import _arguments as arguments

HELP = "train a model folder on a corpus by a recipe"
EXTRA = "train"
EXAMPLES = """  tokgraft train --model MODEL --corpus results/corpora/deu_Latn --english results/corpora/eng_Latn --recipe pocket-demo --out TRAINED
  tokgraft train --model MODEL --corpus CORPUS --recipe my-recipe.yaml --seed 1 --threads 2 --out TRAINED
  tokgraft train --gpus 8 --model MODEL --corpus CORPUS --english ENGLISH --recipe lapt-1gb --out TRAINED
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the command."""
    parser.add_argument("--model", type=arguments.model, required=True, metavar="DIR", help="model folder to start from")
    parser.add_argument("--corpus", type=arguments.folder, required=True, metavar="DIR", help="corpus of the language")
    recipe = parser.add_mutually_exclusive_group(required=True)
    recipe.add_argument("--recipe", type=arguments.text, metavar="SLUG|FILE", help="recipe: a slug of config/recipes/ or a YAML file")
    recipe.add_argument("--settings", type=arguments.settings, metavar="JSON", help="recipe as JSON")
    parser.add_argument(
        "--english", type=arguments.folder, metavar="DIR", help="English corpus: replay, and validation of what is forgotten"
    )
    parser.add_argument("--seed", type=arguments.seed, default=0, help="seed of the document order (default: 0)")
    parser.add_argument(
        "--checkpoints", type=arguments.place, metavar="DIR", help="folder of checkpoints (default: a hidden folder beside OUT)"
    )
    parser.add_argument(
        "--device", choices=["auto", "cpu", "cuda"], default="auto", help="where to compute (default: CUDA if there is one)"
    )
    parser.add_argument(
        "--threads", type=arguments.threads, metavar="N", help="threads on the processor (default: OMP_NUM_THREADS, else all cores)"
    )
    arguments.add_devices(parser, several=True)
    parser.add_argument("--trust-remote-code", action="store_true", help="run Python code that the model folder brings")
    parser.add_argument("--out", type=arguments.place, required=True, metavar="DIR", help="folder of the trained model")
    skipping.add_arguments(parser)
    arguments.add_force(parser)


def run(args: argparse.Namespace) -> int:
    """Train."""
    from tokgraft import logs
    from tokgraft.config.recipe import TrainingRecipe

    recipe = TrainingRecipe.load(args.recipe) if args.settings is None else TrainingRecipe.parse(args.settings, "--settings")
    threads = launch.begin(launch.LaunchRequest(args.gpus, args.processes, args.nodes, args.threads))
    logs.opening({"recipe": recipe.canonical(), "seed": args.seed, "threads": threads, "device": args.device})
    from tokgraft.training.run import train

    train(
        args.model, args.corpus, recipe, args.out,
        english=args.english, seed=args.seed, checkpoints=args.checkpoints, device=args.device, threads=threads,
        trust_remote_code=args.trust_remote_code,
    )  # fmt: skip
    return 0
