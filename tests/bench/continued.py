"""Continued BPE beside the package bpe-continue: `.venv-parity/bin/python -m tests.bench.continued --corpora results/corpora/*`.

Text of a given size is made from corpora, over and over; from the second time on letters of every seventh word are changed, so that the number of
distinct words grows with the text. Each side reads it in a process of its own, on one thread.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tokgraft.tokenizers import texts

SHARE, LETTERS = 0.15, "aeionrst"


def varied(lines: Sequence[str], size: int, seed: int = 0) -> Iterator[str]:
    """Lines with `size` bytes in all."""
    draw, first = random.Random(seed), True
    while True:
        for line in lines:
            if not first:
                line = " ".join(_changed(word, draw) if len(word) > 3 and draw.random() < SHARE else word for word in line.split(" "))
            yield line
            size -= len(line.encode()) + 1
            if size <= 0:
                return
        first = False


def _changed(word: str, draw: random.Random) -> str:
    place = draw.randrange(1, len(word) - 1)
    return word[:place] + draw.choice(LETTERS) + word[place + 1 :]


def ours(base: Path, lines: list[str], new: int) -> list[str]:
    """Tokens by `tokgraft.tokenizers.growing`."""
    from tokgraft.tokenizers.base import load_base
    from tokgraft.tokenizers.growing import Growth, grow

    found = load_base(base)
    return grow(found.spec, found.kind, lines, Growth(new))[1]


def theirs(base: Path, lines: list[str], new: int) -> list[str]:
    """Tokens by bpe-continue."""
    from bpe_continue import continue_training  # type: ignore[import-not-found]

    from tokenizers import Tokenizer

    size = Tokenizer.from_file(str(base / "tokenizer.json")).get_vocab_size()
    grown = continue_training(str(base / "tokenizer.json"), texts=lines, vocab_size=size + new, min_frequency=2, show_progress=False)
    return [token for token, number in sorted(grown.get_vocab().items(), key=lambda item: item[1]) if number >= size]


SIDES = {"tokgraft": ours, "bpe-continue": theirs}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpora", type=Path, nargs="+", required=True, metavar="DIR", help="corpus artifacts the text is made from")
    parser.add_argument(
        "--base", type=Path, default=Path("results/models/smollm2-135m/base"), metavar="DIR", help="byte-level BPE tokenizer"
    )
    parser.add_argument("--megabytes", type=float, default=100, help="size of the text (default: 100)")
    parser.add_argument("--new-tokens", type=int, default=2048, help="tokens to add (default: 2048)")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--text", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.side:
        lines = args.text.read_text(encoding="utf-8").split("\n")
        start = time.process_time()
        found = SIDES[args.side](args.base, lines, args.new_tokens)
        taken, peak = time.process_time() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(json.dumps({"seconds": round(taken, 2), "peak_gb": round(peak * 1024 / 1e9, 2), "tokens": found}))
        return
    with tempfile.TemporaryDirectory() as folder:
        text = Path(folder) / "text"
        lines = [line for corpus in args.corpora for line in texts.paragraphs(corpus, "train")]
        text.write_text("\n".join(varied(lines, round(args.megabytes * 1e6))), encoding="utf-8")
        found = {side: _measured(side, text, args) for side in SIDES}
    same = sum(one == other for one, other in zip(*(result["tokens"] for result in found.values())))
    for side, result in found.items():
        print(f"{side}: {result['seconds']} CPU s, peak {result['peak_gb']} GB, {len(result['tokens'])} tokens")
    print(f"{same} tokens at the same place")


def _measured(side: str, text: Path, args: argparse.Namespace) -> dict:
    command = [sys.executable, "-m", "tests.bench.continued", "--side", side, "--text", str(text), "--base", str(args.base),
               "--new-tokens", str(args.new_tokens), "--corpora", "."]  # fmt: skip
    alone = {**os.environ, "RAYON_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True, env=alone).stdout.splitlines()[-1])


if __name__ == "__main__":
    main()
