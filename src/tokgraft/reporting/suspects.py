"""Made rows whose tokens an untrained transplant predicts far more often than the text has them, as sentences."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tokgraft.reporting.evidence import Evidence, Group, most_predicted


def suspects(evidence: Evidence) -> list[str]:
    """One sentence for each model that has such a row, the share and the frequency in it."""
    groups = {(group.cells[0].paths.init): group for group in reversed(evidence.groups)}  # recipes share what they start from
    looked = [(group, next((seen for cell in group.cells if (seen := most_predicted(cell))), [])) for group in reversed(groups.values())]
    found = [(group, [one for one in tokens if one.get("suspect")]) for group, tokens in looked]
    return [_sentence(evidence, group, tokens) for group, tokens in found if tokens]


def _sentence(evidence: Evidence, group: Group, tokens: Iterable[dict[str, Any]]) -> str:
    cell = group.cells[0]
    where = f"{evidence.cells.name('languages', cell.language)} ({evidence.cells.name('models', cell.model)}, {cell.tokenizer})"
    told = [
        f"{one['token']!r} at {one['share']:.0%} of the positions of dev text, which has it at {one['frequency']:.2%}" for one in tokens
    ]
    return (
        f"The untrained transplant by {group.method} on {where} predicts a made row far too often: {'; '.join(told)}. "
        "Its rows are poor, or one was crafted where the method reads a donor or another resource."
    )
