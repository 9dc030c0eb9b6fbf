"""Everything in `results/tables/`, built from a cell list."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tokgraft import artifacts
from tokgraft.cells import CellList
from tokgraft.logs import log
from tokgraft.reporting import figures, page, predictors, ranking, tables
from tokgraft.reporting.compare import comparisons
from tokgraft.reporting.evidence import Evidence, gather
from tokgraft.reporting.summary import PlaceSummary, summarise

# These hold speeds, seconds or commands, which differ from run to run; everything else in the folder is a function of the scores.
VOLATILE = ("leaderboard.csv", "ranking.csv", "report.html", "provenance.json")


def build_report(cells: CellList, out: Path) -> None:
    """Write the tables artifact: CSV files, figures, report.html and provenance.json.

    Args:
        cells: The cells of the experiment.
        out: Folder of the artifact.

    Raises:
        DataError: Scores of one place were made on different documents, or a file is damaged.
    """
    evidence = gather(cells)
    found = comparisons(evidence)
    places, ranked = summarise(evidence, found), ranking.rankings(evidence)
    compared = predictors.settings(ranked)
    correlated = predictors.correlations(compared)
    log.info("%d scores of %d cells, %d comparisons", sum(one.score is not None for one in evidence.outcomes), len(cells.cells), len(found))
    made = [
        tables.leaderboard(evidence), tables.scores(evidence), tables.differences(found), tables.tokenizers(evidence), tables.curves(evidence),
        ranking.table(ranked), *([predictors.table(correlated, compared)] if correlated else []),
    ]  # fmt: skip
    settings = {"experiment": cells.experiment, "description": cells.description, "draws": cells.bootstrap_draws, "cells": _asked(cells)}
    inputs = {f"scores/{one.cell.key}/{one.stage}": one.score.folder for one in evidence.outcomes if one.score is not None}
    with artifacts.create(out, "tables", settings, inputs, libraries=("matplotlib", "numpy"), volatile=VOLATILE) as folder:
        for table in made:
            table.write(folder)
        _page(evidence, places, ranked, correlated, folder)
        (folder / "provenance.json").write_text(page.sources_json(evidence, _numbers(made)), encoding="utf-8")


def _page(
    evidence: Evidence, places: list[PlaceSummary], ranked: list[ranking.Ranking], correlated: list[predictors.Correlation], folder: Path
) -> None:  # fmt: skip
    drawn = folder / "figures"
    drawn.mkdir()
    text = page.render(evidence, places, ranked, correlated, figures.canvas(drawn, places))
    (folder / "report.html").write_text(text, encoding="utf-8")
    if not any(drawn.iterdir()):
        drawn.rmdir()


def _asked(cells: CellList) -> list[dict[str, Any]]:
    return [{"cell": cell.key, "reason": cell.reason} for cell in cells.cells]


def _numbers(made: list[tables.Table]) -> list[dict[str, Any]]:
    return [
        {
            "table": f"{table.name}.csv",
            "row": row,
            "column": column,
            "value": str(value),
            "artifacts": [str(source) for source in value.sources],
        }
        for table in made
        for row, column, value in table.numbers()
    ]
