"""What a report says of seconds, in one table: beside it only speed.csv depends on the machine.

So the other tables follow from the scores alone, and the manifest can hold their hashes.
"""

from __future__ import annotations

from tokgraft.reporting.evidence import Evidence, Outcome, training_cost, transplant_cost
from tokgraft.reporting.tables import Table, Value, names

KEY = ("model", "language", "tokenizer", "method", "recipe", "seed", "stage")


def table(evidence: Evidence) -> Table:
    """One row for each cell and stage with a score: seconds of transplant, resources and training."""
    return Table("measured", KEY, [_row(outcome) for outcome in evidence.outcomes if outcome.score is not None])


def _row(outcome: Outcome) -> dict[str, Value | str]:
    cell, cost = outcome.cell, transplant_cost(outcome.cell)
    trained = outcome.stage == "trained"
    values = {
        "transplant_seconds": cost.seconds,
        "transplant_cpu_seconds": cost.processor,
        "resource_seconds": cost.resource_seconds,
        "resource_cpu_seconds": cost.resource_processor,
        "training_seconds": training_cost(cell).seconds if trained else 0.0,
    }
    sources = (cell.model_folder(outcome.stage), cell.score_folder(outcome.stage))
    return names(outcome) | {name: Value(value, "not measured", sources) for name, value in values.items()}
