"""What is told about a transplant: a line for each row, and counts, shares and norms of the whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from json.encoder import encode_basestring
from typing import Any

import numpy as np

from tokgraft.methods import Floats, Rows, Transplant
from tokgraft.vocab import Vocabulary

QUANTILES = (0.0, 0.01, 0.25, 0.5, 0.75, 0.99, 1.0)


def provenance_lines(target: Vocabulary, rows: Rows) -> Iterator[str]:
    """A JSON line for each id: id, text (null: no token), how, from (source ids)."""
    for number, (token, made) in enumerate(zip(target.tokens, rows.provenance)):
        text = "null" if token is None else encode_basestring(token.shown)
        # Written by hand: json.dumps takes five times as long, which is a tenth of a transplant of 150,000 tokens.
        yield f'{{"id": {number}, "text": {text}, "how": "{made.how}", "from": [{", ".join(map(str, made.sources))}]}}\n'


def facts(method: str, task: Transplant, rows: Rows, total: int) -> dict[str, Any]:
    """Counts per provenance, shares of the overlap, norms of old and new rows, and what the method tells itself.

    Args:
        method: The chain.
        task: What the method was given.
        rows: What it returned.
        total: Rows of the written model, padding included.
    """
    texts = task.target.text_ids
    shared = [number for number in texts if number in task.overlap]
    norms = {"source_input": _norms(task.E[task.live]), "input": _norms(rows.input)}
    if rows.output is not None:
        norms |= {"source_output": _norms(task.U[task.live]), "output": _norms(rows.output)}
    return {
        "method": method,
        "tied": rows.output is None,
        "source_tokens": len(task.source.ids),
        "target_tokens": len(task.target.ids),
        "rows": total,
        "padded_rows": total - len(task.target),
        "overlap": {
            "tokens": len(shared),
            "share": _round(len(shared) / len(texts)),
            "levels": dict(sorted(Counter(match.level for match in task.overlap.values()).items())),
        },
        "how": dict(sorted(Counter(made.how for made in rows.provenance).items())),
        "norms": norms,
        "stats": dict(rows.stats),
    }


def _norms(table: Floats) -> dict[str, float]:
    """Quantiles of the rows' lengths, and their mean."""
    lengths = np.linalg.norm(table.astype(np.float64), axis=1)
    values = {f"q{round(100 * quantile)}": _round(np.quantile(lengths, quantile)) for quantile in QUANTILES}
    return values | {"mean": _round(lengths.mean())}


def _round(value: Any) -> float:
    return float(f"{float(value):.6g}")
