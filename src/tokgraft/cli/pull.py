"""`tokgraft pull`: fetch stored artifacts, verify them, and tell Snakemake what is current."""

from __future__ import annotations

import argparse
import json

from tokgraft.cli import _arguments as arguments
from tokgraft.config import layout

HELP = "fetch stored artifacts, verify them, and tell Snakemake what is current"
EXTRA = "workflow"
EXAMPLES = """  tokgraft pull                                               # everything
  tokgraft pull --stage models                                # a kind, and what a run then needs so as not to make it again
  tokgraft pull --language deu_Latn --method focus            # models and scores of some cells, and the same
  tokgraft pull --only results/models/pocket/base             # by folder, and nothing else
  tokgraft pull --needed                                      # what `snakemake` needs here and nobody has to make again
  tokgraft pull --needed --run report_build --configfile config/experiments/smoke.yaml
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the command."""
    parser.add_argument("folders", type=arguments.text, nargs="*", metavar="FOLDER", help="artifacts, or folders that hold some")
    parser.add_argument(
        "--stage",
        type=arguments.text,
        nargs="+",
        default=[],
        metavar="KIND",
        help=", ".join(layout.KINDS),
    )
    for name in ("language", "method", "model", "tokenizer"):
        parser.add_argument(f"--{name}", type=arguments.text, nargs="+", default=[], metavar="SLUG", help=f"only artifacts of this {name}")
    parser.add_argument("--only", action="store_true", help="nothing but the choice, even if a run would then make parts of it again")
    parser.add_argument("--needed", action="store_true", help="nothing but what a run of snakemake needs; comes instead of a choice")
    parser.add_argument(
        "--run",
        dest="flags",
        nargs=argparse.REMAINDER,
        default=[],
        metavar="...",
        help="last: targets and flags of the run to come (default: those of a plain `snakemake`)",
    )
    parser.add_argument("--remote", type=arguments.text, help="name of a DVC remote (default: DVC's default)")
    parser.add_argument("--jobs", type=arguments.jobs, metavar="N", help="downloads at once")


def run(args: argparse.Namespace) -> int:
    """Pull; prints what was done as JSON. 1 when something is missing, damaged or not trusted."""
    from dataclasses import asdict
    from pathlib import Path

    from tokgraft.errors import ConfigError
    from tokgraft.store import stages
    from tokgraft.store.needed import pull_needed
    from tokgraft.store.pull import pull

    choice = stages.Choice(*(tuple(getattr(args, name)) for name in ("stage", "language", "method", "model", "tokenizer", "folders")))
    everything = choice == stages.Choice()
    if args.needed and (args.only or not everything):
        raise ConfigError("--needed chooses by itself", "leave --only, --stage, --language, ... and folders away")
    done = None if args.needed else pull(choice.of(stages.stored(Path())), remote=args.remote, jobs=args.jobs)
    if done is None or not (args.only or everything):
        done = pull_needed(args.flags, remote=args.remote, jobs=args.jobs, done=done)
    print(json.dumps(asdict(done), indent=1, sort_keys=True))
    return 0 if done.well else 1
