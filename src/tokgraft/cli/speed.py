"""`tokgraft speed`: how much faster a model reads and writes a language with a new vocabulary."""

from __future__ import annotations

import argparse

from tokgraft import launch, skipping
from tokgraft.cli import _arguments as arguments

HELP = "measure how fast a model reads and generates with its own vocabulary and with a new one"
EXTRA = "score"
EXAMPLES = """  tokgraft speed --base results/models/pocket/base --tokenizer results/tokenizers/pocket/deu_Latn/bpe8k \\
      --corpus results/corpora/deu_Latn --out results/speed/alone
  tokgraft speed --base my/original --model my/adapted --corpus results/corpora/deu_Latn --repeats 15 --out my/speed
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the command."""
    parser.add_argument("--base", type=arguments.model, required=True, metavar="DIR", help="original model with its own tokenizer")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--model", type=arguments.model, metavar="DIR", help="adapted model with its tokenizer")
    what.add_argument(
        "--tokenizer", type=arguments.model, metavar="DIR", help="new tokenizer: the original model is given tables of its size"
    )
    parser.add_argument(
        "--corpus", type=arguments.folder, required=True, metavar="DIR", help="corpus artifact of the language; its test pages are read"
    )
    parser.add_argument("--out", type=arguments.place, required=True, metavar="DIR", help="folder to write")
    arguments.add_force(parser)
    skipping.add_arguments(parser)
    parser.add_argument("--device", type=arguments.device, default="auto", help="auto, cpu, cuda, cuda:1, ...")
    parser.add_argument("--threads", type=arguments.threads, metavar="N", help="CPU threads (default: every core this process may use)")
    arguments.add_devices(parser)
    parser.add_argument("--repeats", type=arguments.repeats, default=7, metavar="N", help="paired repeats (default: 7)")
    parser.add_argument(
        "--seconds", type=arguments.duration, default=1.0, metavar="S", help="least time of one repeat of the original (default: 1)"
    )
    parser.add_argument(
        "--patience", type=arguments.duration, default=60.0, metavar="S",
        help="seconds to wait, in all, until other processes are quiet (default: 60)",
    )  # fmt: skip
    parser.add_argument("--trust-remote-code", action="store_true", help="run Python code that the model folders bring")


def run(args: argparse.Namespace) -> int:
    """Measure."""
    from tokgraft import logs
    from tokgraft.scoring.speed import PHASES, SIDES
    from tokgraft.scoring.timing import speed

    launch.begin(launch.LaunchRequest(gpus=args.gpus))
    logs.opening({"device": args.device, "threads": args.threads, "repeats": args.repeats, "seconds": args.seconds})
    found = speed(
        args.base, args.corpus, args.out, model=args.model, tokenizer=args.tokenizer, device=args.device, threads=args.threads,
        repeats=args.repeats, seconds=args.seconds, patience=args.patience, trust_remote_code=args.trust_remote_code,
    )  # fmt: skip
    for phase in PHASES if found.repeats else ():
        one = found.factor(phase)
        rates = " -> ".join(
            f"{found.spread(side, phase, 'bytes').median:,.0f} B/s ({found.spread(side, phase, 'tokens').median:,.0f} tokens/s)"
            for side in SIDES
        )
        print(f"{phase}: {one.mean:.2f} [{one.low:.2f}, {one.high:.2f}] times as fast: {rates} ({one.n} paired repeats)")
    if not found.alone.alone:
        print(f"not measured alone, so the report shows no speed: {found.alone.reason}")
    return 0
