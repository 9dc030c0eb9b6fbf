"""How transformers is called: without progress bars and advice, its errors in a line, its JSON files with equal bytes."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from transformers.utils import logging as hf_logging


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bars and no advice of transformers in a stage's log; errors stay."""
    level, bars = hf_logging.get_verbosity(), hf_logging.is_progress_bar_enabled()
    hf_logging.set_verbosity_error()
    hf_logging.disable_progress_bar()
    try:
        yield
    finally:
        hf_logging.set_verbosity(level)
        if bars:
            hf_logging.enable_progress_bar()


def first_line(error: BaseException) -> str:
    """The kind of an error and the first line of its text."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__


def rewrite(path: Path, drop: tuple[str, ...], set_: dict[str, Any] | None = None) -> None:
    """Take keys out of a JSON file and set others; keys sorted, so that the bytes are the same whoever wrote it. No file: nothing."""
    if not path.is_file():
        return
    content = json.loads(path.read_text(encoding="utf-8"))
    kept = {key: value for key, value in content.items() if key not in drop} | (set_ or {})
    path.write_text(json.dumps(kept, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")


# Forking after the tokenizers library has used threads prints a warning for every worker otherwise.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
