"""Made rows whose tokens an untrained transplant predicts far more often than the text has them, as sentences."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tokgraft.cells import Combination
from tokgraft.frame import Frame, record


def suspects(frame: Frame) -> list[str]:
    """One sentence for each model that has such a row, the share and the frequency in it."""
    starts = {cells[0].paths.init: one for one, cells in reversed(frame.combinations.items())}  # recipes share what they start from
    found = []
    for one in reversed(starts.values()):
        records = (record(cell, "init", "transplant.json").get("most_predicted") for cell in frame.combinations[one])
        found.append((one, [token for token in next(filter(None, records), []) if token.get("suspect")]))
    return [_sentence(frame, one, tokens) for one, tokens in found if tokens]


def _sentence(frame: Frame, one: Combination, tokens: Iterable[dict[str, Any]]) -> str:
    where = f"{frame.cells.name('languages', one.language)} ({frame.cells.name('models', one.model)}, {one.tokenizer})"
    shares = [
        f"{token['token']!r} at {token['share']:.0%} of the positions of dev text, which has it at {token['frequency']:.2%}"
        for token in tokens
    ]
    return (
        f"The untrained transplant by {one.method} on {where} predicts a made row far too often: {'; '.join(shares)}. "
        "Its rows are poor, or one was crafted where the method reads a donor or another resource."
    )
