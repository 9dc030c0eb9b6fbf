"""Time and peak memory of corpus preparation by one job and by shards, for corpora of growing size.

    python tests/scale/corpus_memory.py --pages results/corpora/deu_Latn/train.jsonl --megabytes 4 16 64 --shard 2 --folder /tmp/scale

The text is made from real pages: half of the words of each are replaced by others of the same corpus, so that pages stay distinct.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
from pathlib import Path


def make_text(pages: Path, megabytes: int, out: Path) -> None:
    """Write about so many megabytes of distinct pages."""
    draw = random.Random(0)
    real = [[line["text"] for line in json.loads(row)["paragraphs"]] for row in pages.open(encoding="utf-8")]
    words = sorted({word for page in real for line in page for word in line.split()})
    size = 0
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("w", encoding="utf-8") as handle:
        while size < megabytes * 1_000_000:
            lines = [" ".join(word if draw.random() < 0.5 else draw.choice(words) for word in line.split()) for line in draw.choice(real)]
            text = "\n\n".join(lines)
            size += len(text.encode())
            handle.write(json.dumps({"text": text}, ensure_ascii=False) + "\n")


def settings(path: Path, shards: int) -> str:
    """Settings of the corpus stage."""
    language = {"name": "German", "bcp47": "de", "iso639_3": "deu", "script": "Latn", "lid": ["de"], "shards": shards,
                "sources": [{"kind": "local", "path": str(path)}]}  # fmt: skip
    return json.dumps({"slug": "deu_Latn-scale", "language": language})


def measure(out: Path, *flags: str) -> tuple[float, float]:
    """Peak memory in MB and seconds of one `tokgraft corpus` job."""
    subprocess.run([sys.executable, "-m", "tokgraft", "corpus", *flags, "--out", str(out)], check=True, stderr=subprocess.DEVNULL)
    facts = json.loads((out / "run.json").read_text())
    return facts["peak_memory_bytes"] / 1e6, facts["wall_seconds"]


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", type=Path, required=True, help="train.jsonl of a corpus, for its words")
    parser.add_argument("--megabytes", type=int, nargs="+", default=[4, 16, 64], help="sizes of the corpora")
    parser.add_argument("--shard", type=float, default=2, help="megabytes of a shard")
    parser.add_argument("--single", type=int, default=10**9, help="do not try one job above so many megabytes")
    parser.add_argument("--folder", type=Path, required=True, help="where text and results go")
    args = parser.parse_args()
    print("| text | pages | one job | shards | largest shard | merge | same pages |\n|---|---|---|---|---|---|---|", flush=True)
    for size in args.megabytes:
        home = args.folder / str(size)
        make_text(args.pages, size, home / "text" / "a.jsonl")
        count = max(round(size / args.shard), 2)
        one = measure(home / "one", "--settings", settings(home / "text", 1)) if size <= args.single else None
        made = [
            measure(home / f"shard{number}", "--settings", settings(home / "text", count), "--shard", str(number))
            for number in range(count)
        ]
        folders = [str(home / f"shard{number}") for number in range(count)]
        merge = measure(home / "merged", "--settings", settings(home / "text", count), "--shards", *folders)
        same = one is not None and all(
            (home / "one" / f"{split}.jsonl").read_bytes() == (home / "merged" / f"{split}.jsonl").read_bytes()
            for split in ("train", "dev", "test")
        )
        pages = sum(1 for _ in (home / "text" / "a.jsonl").open(encoding="utf-8"))
        cell = "{:,.0f} MB, {:,.0f} s".format
        print(f"| {size} MB | {pages:,} | {cell(*one) if one else '-'} | {count} | {cell(*max(made))} | {cell(*merge)} | "
              f"{'yes' if same else '-' if one is None else 'NO'} |", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
