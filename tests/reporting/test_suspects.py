"""What the report says of made rows that are predicted far too often."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tokgraft import artifacts
from tokgraft.cells import load_cells
from tokgraft.frame import read_frame
from tokgraft.reporting.build import build_report
from tokgraft.reporting.suspects import suspects

CELLS, OUT = Path("results/experiments/demo/cells.json"), Path("results/experiments/demo/tables")
SENTENCE = (
    "The untrained transplant by focus on German (Pocket, bpe8k) predicts a made row far too often: '<b>' at 44% of the positions of dev text, "
    "which has it at 0.01%."
)


def rewrite(artifact: Path, path: Path, content: Any) -> None:
    """Another content of a file, with the hash that its artifact's manifest then has."""
    path.write_text(json.dumps(content))
    manifest = json.loads((artifact / artifacts.MANIFEST).read_text())
    manifest["files"][path.relative_to(artifact).as_posix()] = {"sha256": artifacts.file_sha256(path), "bytes": path.stat().st_size}
    (artifact / artifacts.MANIFEST).write_text(json.dumps(manifest))
    (artifact / artifacts.RUN).unlink(missing_ok=True)  # it knows the manifest as it was


def test_a_suspect_row_is_a_sentence_of_the_report(own_project: Path) -> None:
    cells = load_cells(CELLS)
    assert suspects(read_frame(cells)) == []
    cell = next(cell for cell in cells.cells if (cell.model, cell.language, cell.method) == ("pocket", "deu_Latn", "focus"))
    usual = {"id": 3, "token": ",", "share": 0.6, "frequency": 0.03, "suspect": False}
    crafted = {"id": 9, "token": "<b>", "share": 0.44, "frequency": 0.0001, "suspect": True}
    rewrite(cell.paths.score_init, cell.records("init") / "transplant.json", {"most_predicted": [usual, crafted]})
    found = suspects(read_frame(cells))
    assert len(found) == 1 and found[0].startswith(SENTENCE)
    build_report(cells, OUT)
    page = (OUT / "report.html").read_text()
    assert "&lt;b&gt;" in page and "predicts a made row far too often" in page and "'<b>'" not in page
