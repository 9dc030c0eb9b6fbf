"""`tokgraft corpus`: prepare the text of a language."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from tokgraft.cli import _arguments as arguments

HELP = "prepare the text of a language: fetch, clean, deduplicate, split, align with English"
EXTRA = "corpus"
EXAMPLES = """  tokgraft corpus --language eng_Latn --out results/corpora/eng_Latn
  tokgraft corpus --language deu_Latn --english results/corpora/eng_Latn --out results/corpora/deu_Latn
  tokgraft corpus --language my_language.yaml --out results/corpora/my_language
  tokgraft corpus --language big.yaml --shard 3 --out shards/3                           # one of the language's `shards`, as a job of its own
  tokgraft corpus --language big.yaml --shards shards/0 shards/1 ... --out results/corpora/big
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the command."""
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--language", type=arguments.text, metavar="SLUG|FILE", help="slug of a file in config/languages/, or a language file"
    )
    what.add_argument(
        "--settings",
        type=arguments.settings,
        metavar="JSON",
        help="full settings of the stage, as the workflow gives them (JSON text or file)",
    )
    parser.add_argument("--out", required=True, type=arguments.place, metavar="DIR", help="folder of the corpus")
    parser.add_argument(
        "--english", type=arguments.folder, metavar="DIR", help="the English corpus (needed for help pages in another language)"
    )
    step = parser.add_mutually_exclusive_group()
    step.add_argument(
        "--shard", type=arguments.shard, metavar="N", help="prepare only this shard of the language's `shards`, numbered from 0"
    )
    step.add_argument(
        "--shards", type=arguments.folder, nargs="+", metavar="DIR", help="make the corpus of these shards, which must be all"
    )
    parser.add_argument(
        "--max-bytes", type=arguments.size_in_bytes, metavar="N", help="keep at most so many bytes of text (with --language)"
    )
    parser.add_argument(
        "--cache", type=arguments.place, metavar="DIR", help="folder for downloads (default: $TOKGRAFT_CACHE, else .cache/downloads)"
    )
    parser.add_argument(
        "--config", type=arguments.folder, default=Path("config"), metavar="DIR", help="configuration folder (default: config)"
    )
    arguments.add_force(parser)


def run(args: argparse.Namespace) -> int:
    """Prepare the corpus."""
    from tokgraft import logs
    from tokgraft.config.language import CorpusSettings, Language
    from tokgraft.corpus.build import build_corpus, build_shard, merge_corpus

    if args.settings is not None:
        settings = CorpusSettings.parse(args.settings, "--settings")
    else:
        language = Language.load(args.language, args.config)
        facts = {"slug": Path(args.language).stem, "language": language.canonical(), "max_bytes": args.max_bytes}
        settings = CorpusSettings.parse(facts, f"corpus of {args.language}")
    logs.opening(settings.canonical())
    cache = args.cache or os.environ.get("TOKGRAFT_CACHE")
    folder, pins = Path(cache) if cache else None, args.config / "sources.csv"
    if args.shards:
        merge_corpus(settings, args.shards, args.out, args.english)
    elif args.shard is not None:
        build_shard(settings, args.shard, args.out, args.english, folder, pins)
    else:
        build_corpus(settings, args.out, args.english, folder, pins)
    return 0
