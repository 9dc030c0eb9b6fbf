"""`metrics.json`: the headline of the tables, small and flat, in git beside dvc.lock; what `dvc metrics diff` compares."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

from tokgraft.config import layout
from tokgraft.store.stages import METRICS

CELL = ("model", "language", "tokenizer", "method", "recipe", "seed")
HEADLINE = ("bits_per_byte", "bits_per_byte_english")


def write(root: Path) -> bool:
    """Write the file from the leaderboard; False, and nothing is written, where no tables are here."""
    table = root / layout.tables() / "leaderboard.csv"
    if not table.is_file():
        return False
    found: dict[str, dict[str, dict[str, float]]] = {}
    with table.open(encoding="utf-8", newline="") as handle:
        for row in csv.DictReader(handle):
            for name in HEADLINE:
                if (value := _number(row.get(name))) is not None:
                    cell = "/".join(row[part] for part in CELL)
                    found.setdefault(cell, {}).setdefault(row["stage"], {})[name] = value
    (root / METRICS).write_text(json.dumps(found, indent=1, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
    return True


def _number(text: str | None) -> float | None:
    """A number of the table; the words that stand where there is none give None."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None
