"""`metrics.json`: the headline of each experiment's tables, small and flat, in git beside dvc.lock; what `dvc metrics diff` compares."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

from tokgraft.config import layout
from tokgraft.store.stages import METRICS

CELL = ("model", "language", "tokenizer", "method", "recipe", "seed")
HEADLINE = ("bits_per_byte", "bits_per_byte_english")


def write(root: Path, experiment: str) -> bool:
    """Write an experiment's part of the file from its leaderboard; False, and nothing is written, where no tables are here."""
    table = root / layout.tables(experiment) / "leaderboard.csv"
    if not table.is_file():
        return False
    found: dict[str, dict[str, dict[str, float]]] = {}
    with table.open(encoding="utf-8", newline="") as handle:
        for row in csv.DictReader(handle):
            for name in HEADLINE:
                if (value := _number(row.get(name))) is not None:
                    cell = "/".join(row[part] for part in CELL)
                    found.setdefault(cell, {}).setdefault(row["stage"], {})[name] = value
    text = json.dumps({**_others(root / METRICS), experiment: found}, indent=1, sort_keys=True, ensure_ascii=False)
    (root / METRICS).write_text(text + "\n", encoding="utf-8")
    return True


def _others(path: Path) -> dict[str, Any]:
    """What the file holds already; nothing where it is absent or damaged, since it can be written anew."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _number(text: str | None) -> float | None:
    """A number of the table; the words that stand where there is none give None."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None
