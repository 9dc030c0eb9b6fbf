"""The tables of an experiment, built from its cell list."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tokgraft import artifacts
from tokgraft.cells import CellList, walk
from tokgraft.config.layout import RANKING
from tokgraft.frame import Frame, read_frame
from tokgraft.logs import log
from tokgraft.reporting import figures, page, predictors, ranking, speeds, tables, text
from tokgraft.reporting.compare import comparisons
from tokgraft.reporting.sections import sections

OF_A_RUN = ("command", "python")  # what is known of an artifact that differs from run to run


def build_report(cells: CellList, out: Path, source: Path | None = None) -> None:
    """Write the tables artifact: CSV files, figures, report.html, ranking.txt, provenance.json and runs.json.

    Args:
        cells: The cells of the experiment.
        out: Folder of the artifact.
        source: File that the cells were read from; `out` may not hold it.

    Raises:
        ArtifactError: As `artifacts.check_place`: `out` overlaps the file of the cells, or a folder that they name.
        DataError: Scores of one group were made on different documents, or a file is damaged.
    """
    artifacts.check_place(out, "tables", _reads(cells, source))
    frame = read_frame(cells)
    compared = comparisons(frame)
    in_sections, ranked = sections(frame, compared), ranking.rankings(frame)
    settings_of = predictors.settings(frame, ranked)
    correlated = predictors.correlations(settings_of)
    log.info("%d scores of %d cells, %d comparisons", len(frame.scores), len(cells.cells), len(compared))
    lasting = [
        tables.leaderboard(frame), tables.scores(frame), tables.differences(frame, compared), tables.tokenizers(frame), tables.curves(frame),
        ranking.table(frame, ranked), *([predictors.table(frame, correlated, settings_of)] if correlated else []),
    ]  # fmt: skip
    seconds = [tables.measured(frame), *(table for table in [speeds.table(frame)] if table.rows)]
    settings = {"experiment": cells.experiment, "description": cells.description, "cells": _asked(cells)}
    with artifacts.create(out, "tables", settings, _inputs(frame, cells), libraries=("matplotlib", "numpy")) as folder:
        for table in (*lasting, *seconds):
            table.write(folder)
        drawn = folder / "figures"
        drawn.mkdir()
        html = page.render(frame, in_sections, ranked, correlated, figures.canvas(drawn, in_sections), out)
        (folder / "report.html").write_text(html, encoding="utf-8")
        if not any(drawn.iterdir()):
            drawn.rmdir()
        (folder / RANKING).write_text(text.text(frame.cells, ranked), encoding="utf-8")
        _provenance(frame, lasting, seconds, folder)


def _inputs(frame: Frame, cells: CellList) -> dict[str, Path]:
    """Role -> every artifact that the report reads."""
    found = {
        f"scores/{cell.key}/{stage}": frame.scores[cell.key, stage].folder
        for cell, stage in walk(cells)
        if (cell.key, stage) in frame.scores
    }
    others: list[tuple[str, Path | None]] = [
        (f"tokenizers/{cell.model}/{cell.language}/{cell.tokenizer}", cell.paths.tokenizer) for cell in cells.cells
    ]
    for cell in cells.cells:
        others += [(f"speed/{cell.key}", cell.paths.speed), (f"evaluations/{cell.key}", cell.paths.evaluation)]
    return found | {name: folder for name, folder in others if folder is not None and artifacts.is_artifact(folder)}


def _reads(cells: CellList, source: Path | None) -> dict[str, Path]:
    """Role -> the file of the cells, and every folder that they name."""
    named = {f"{role} {cell.key}": folder for cell in cells.cells for role, folder in cell.paths if folder is not None}
    return named | ({} if source is None else {"cells": source})


def _provenance(frame: Frame, lasting: list[tables.CsvTable], seconds: list[tables.CsvTable], folder: Path) -> None:
    """provenance.json: every number -> artifact folders, and their manifests; runs.json: what differs from run to run."""
    sources = page.sources(frame)
    of_any_run = [{name: value for name, value in one.items() if name not in OF_A_RUN} for one in sources]
    of_runs = [{name: one[name] for name in ("folder", "manifest", *OF_A_RUN)} for one in sources]
    for name, artifacts_of, numbers in (("provenance", of_any_run, _numbers(lasting)), ("runs", of_runs, _numbers(seconds))):
        text = json.dumps({"artifacts": artifacts_of, "numbers": numbers}, indent=1, ensure_ascii=False)
        (folder / f"{name}.json").write_text(f"{text}\n", encoding="utf-8")


def _asked(cells: CellList) -> list[dict[str, Any]]:
    return [{"cell": cell.key, "reason": cell.reason} for cell in cells.cells]


def _numbers(written: list[tables.CsvTable]) -> list[dict[str, Any]]:
    return [
        {
            "table": f"{table.name}.csv",
            "row": row,
            "column": column,
            "value": str(value),
            "artifacts": [str(source) for source in value.sources],
        }
        for table in written
        for row, column, value in table.numbers()
    ]
