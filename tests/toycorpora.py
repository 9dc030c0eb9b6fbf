"""Small corpora in a made-up language."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path

from tokgraft import artifacts

STEMS = [
    "mäki",
    "lõuna",
    "raamat",
    "öösel",
    "kõrge",
    "ühine",
    "sõnum",
    "aken",
    "tuulik",
    "väärtus",
    "jõgi",
    "küsimus",
    "laev",
    "õpik",
    "rääk",
    "täht",
    "põhi",
    "mõõt",
    "süda",
    "võrk",
]
ENDINGS = ["", "s", "st", "le", "ga", "ni", "na", "ta", "te", "dest", "dele", "misega", "line", "lised", "likkus"]


def invented(count: int, seed: int = 0) -> list[str]:
    """`count` paragraphs of a made-up language with long inflected words, two-byte letters and a skewed word frequency."""
    draw = random.Random(seed)
    words = [stem + ending for ending in ENDINGS for stem in STEMS]
    weights = [1 / (rank + 2) for rank in range(len(words))]

    def sentence() -> str:
        chosen = draw.choices(words, weights, k=draw.randint(4, 12))
        return " ".join([chosen[0].capitalize(), *chosen[1:]]) + draw.choice([".", ".", "?", f" {draw.randint(1, 2000)}."])

    return [" ".join(sentence() for _ in range(draw.randint(1, 3))) for _ in range(count)]


def write_corpus(out: Path, slug: str, splits: dict[str, list[str]], pairs: Sequence[tuple[str, str]] = (), words: str = "space") -> Path:
    """A corpus artifact with four paragraphs a page."""
    with artifacts.create(out, "corpus", {"slug": slug, "language": {"words": words}}) as folder:
        for split in ("train", "dev", "test"):
            texts = splits.get(split, [])
            pages = [
                {
                    "id": f"{split}{at}",
                    "paragraphs": [{"key": f"p:{at + i}:0", "tag": "p", "text": text} for i, text in enumerate(texts[at : at + 4])],
                }
                for at in range(0, len(texts), 4)
            ]
            (folder / f"{split}.jsonl").write_text("".join(json.dumps(page) + "\n" for page in pages))
            rows = [{"page": "x", "key": "x", "english": one, "text": two} for one, two in pairs] if split == "test" else []
            (folder / f"pairs_{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return out
