"""What the evaluation of tokenizers is tested on: tokenizers of `toys` as subjects, small corpora."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from tokgraft import artifacts
from tokgraft.intrinsic.inputs import Subject


@lru_cache
def of(tokenizer: Any, name: str = "toy") -> Subject:
    """Saved and read again, as an evaluation does."""
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        return Subject.load(Path(folder), name)


def corpus(
    out: Path, slug: str, splits: dict[str, list[list[str]]], pairs: Sequence[tuple[str, str, str]] = (), words: str = "space"
) -> Path:
    """A corpus artifact of pages, each a list of paragraphs; pairs are (page, English, text)."""
    with artifacts.create(out, "corpus", {"slug": slug, "language": {"words": words, "iso639_3": slug[:3]}}) as folder:
        for split in ("train", "dev", "test"):
            pages = [
                {"id": f"{split}{at}", "paragraphs": [{"key": f"p:{i}:0", "tag": "p", "text": text} for i, text in enumerate(texts)]}
                for at, texts in enumerate(splits.get(split, []))
            ]
            (folder / f"{split}.jsonl").write_text("".join(json.dumps(page) + "\n" for page in pages))
            rows = [{"page": page, "key": "x", "english": one, "text": two} for page, one, two in pairs] if split == "test" else []
            (folder / f"pairs_{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return out
