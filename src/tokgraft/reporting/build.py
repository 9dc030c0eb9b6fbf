"""The tables of an experiment, built from its cell list."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tokgraft import artifacts
from tokgraft.cells import CellList
from tokgraft.config.layout import RANKING
from tokgraft.logs import log
from tokgraft.reporting import figures, measured, page, predictors, ranking, speeds, tables, text
from tokgraft.reporting.compare import comparisons
from tokgraft.reporting.evidence import Evidence, gather
from tokgraft.reporting.summary import PlaceSummary, summarise

OF_A_RUN = ("command", "python")  # what is known of an artifact that differs from run to run


def build_report(cells: CellList, out: Path, source: Path | None = None) -> None:
    """Write the tables artifact: CSV files, figures, report.html, ranking.txt, provenance.json and runs.json.

    Args:
        cells: The cells of the experiment.
        out: Folder of the artifact.
        source: File that the cells were read from; `out` may not hold it.

    Raises:
        ArtifactError: As `artifacts.check_place`: `out` overlaps the file of the cells, or a folder that they name.
        DataError: Scores of one place were made on different documents, or a file is damaged.
    """
    artifacts.check_place(out, "tables", _reads(cells, source))
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
    seconds = [table for table in (measured.table(evidence), speeds.table(evidence)) if table.rows or table.name == "measured"]
    settings = {"experiment": cells.experiment, "description": cells.description, "cells": _asked(cells)}
    cells = evidence.cells
    inputs = {f"scores/{one.cell.key}/{one.stage}": one.score.folder for one in evidence.outcomes if one.score is not None}
    inputs |= {f"tokenizers/{cell.model}/{cell.language}/{cell.tokenizer}": cell.paths.tokenizer for cell in cells.cells
               if artifacts.is_artifact(cell.paths.tokenizer)}  # fmt: skip
    inputs |= {
        f"{role}/{one.key}": folder for one in cells.cells for role, folder in (("speed", one.paths.speed), ("evaluations", one.paths.evaluation))
        if folder is not None and artifacts.is_artifact(folder)
    }  # fmt: skip
    with artifacts.create(out, "tables", settings, inputs, libraries=("matplotlib", "numpy")) as folder:
        for table in (*made, *seconds):
            table.write(folder)
        _page(evidence, places, ranked, correlated, folder, out)
        (folder / RANKING).write_text(text.text(cells, ranked), encoding="utf-8")
        _provenance(evidence, made, seconds, folder)


def _reads(cells: CellList, source: Path | None) -> dict[str, Path]:
    """Role -> the file of the cells, and every folder that they name."""
    named = {f"{role} {cell.key}": folder for cell in cells.cells for role, folder in cell.paths if folder is not None}
    return named | ({} if source is None else {"cells": source})


def _page(
    evidence: Evidence,
    places: list[PlaceSummary],
    ranked: list[ranking.Ranking],
    correlated: list[predictors.Correlation],
    folder: Path,
    out: Path,
) -> None:
    drawn = folder / "figures"
    drawn.mkdir()
    html = page.render(evidence, places, ranked, correlated, figures.canvas(drawn, places), out)
    (folder / "report.html").write_text(html, encoding="utf-8")
    if not any(drawn.iterdir()):
        drawn.rmdir()


def _provenance(evidence: Evidence, made: list[tables.Table], seconds: list[tables.Table], folder: Path) -> None:
    """provenance.json: every number -> artifact folders, and their manifests; runs.json: what differs from run to run."""
    sources = page.sources(evidence)
    lasting = [{name: value for name, value in one.items() if name not in OF_A_RUN} for one in sources]
    of_runs = [{name: one[name] for name in ("folder", "manifest", *OF_A_RUN)} for one in sources]
    for name, artifacts_of, numbers in (("provenance", lasting, _numbers(made)), ("runs", of_runs, _numbers(seconds))):
        text = json.dumps({"artifacts": artifacts_of, "numbers": numbers}, indent=1, ensure_ascii=False)
        (folder / f"{name}.json").write_text(f"{text}\n", encoding="utf-8")


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
