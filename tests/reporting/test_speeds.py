"""What the report says of speed: only what was measured alone, with its interval; elsewhere the reason."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path

import pytest
from synthetic_cells import SPEED, build, write_speed

from tokgraft.cells import cell_speed, load_cells
from tokgraft.errors import TokgraftError
from tokgraft.frame import read_frame
from tokgraft.reporting import speeds
from tokgraft.reporting.build import build_report
from tokgraft.reporting.compare import comparisons
from tokgraft.reporting.sections import sections

DEMO = [("pocket", "deu_Latn", ["none", "random", "mean"])]
FASTER = 0.52 / 0.31  # tokens per byte of the two invented vocabularies, at the same tokens/s


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The list of cells of a small experiment, with the project as working directory."""
    monkeypatch.chdir(tmp_path)
    return build(tmp_path, DEMO).relative_to(tmp_path)


def told(cells: Path) -> tuple[list[str], list[str]]:
    frame = read_frame(load_cells(cells))
    places = sections(frame, comparisons(frame))
    return speeds.sentences(places), speeds.limits(places)


def table(cells: Path) -> list[dict[str, str]]:
    build_report(load_cells(cells), Path("out"))
    with Path("out/speed.csv").open(newline="") as handle:
        return list(csv.DictReader(handle))


def change(cells: Path, repeats: list[tuple[float, float]] | None = None, **content) -> None:
    """Rewrite what was measured: (seconds before, after) of each repeat."""
    folder = next(cell.paths.speed for cell in load_cells(cells).cells if cell.paths.speed is not None)
    data = json.loads((folder / "speed.json").read_text()) | content
    if repeats is not None:
        sides = [{"before": old, "after": new} for old, new in repeats]
        data["repeats"] = [
            {side: {key: {"bytes": 100, "tokens": 50, "seconds": time} for key in ("reading", "generation")} for side, time in one.items()}
            for one in sides
        ]
    (folder / "speed.json").write_text(json.dumps(data))
    (folder / "run.json").unlink()  # which holds the hash of the file as it was


def test_the_headline_has_the_factor_with_its_interval(project):
    (sentence,), missing = told(project)
    factor, low, high = map(float, re.findall(r"\d+\.\d\d", sentence))
    assert low < factor < high and FASTER * 0.98 < factor < FASTER
    assert sentence.startswith("Generates German text 1.6") and not missing
    assert sentence.endswith("times as fast as the original (Pocket, bpe8k; 5 paired repeats, alone on 2 cores).")
    assert table(project) and sentence in Path("out/report.html").read_text()


def test_the_table_has_both_units_before_and_after_with_their_spread(project):
    (row,) = table(project)
    assert (row["model"], row["language"], row["tokenizer"], row["alone"]) == ("pocket", "deu_Latn", "bpe8k", "yes")
    before, after = (float(row[f"generation_bytes_per_second_{side}"]) for side in ("before", "after"))
    assert before == pytest.approx(100 / (2.5 * 0.52), rel=1e-4) and after / before == pytest.approx(FASTER, rel=0.02)
    assert float(row["generation_bytes_per_second_after_low"]) < after < float(row["generation_bytes_per_second_after_high"])
    assert float(row["generation_tokens_per_second_before"]) == pytest.approx(52 / (2.5 * 0.52), rel=1e-4)
    assert float(row["reading_factor_low"]) < float(row["reading_factor"]) < float(row["reading_factor_high"])
    assert (row["repeats"], row["threads"], row["cores"]) == ("5", "2", "2")


def test_what_was_not_measured_alone_is_not_shown_and_says_why(tmp_path, monkeypatch):
    monkeypatch.setitem(SPEED, "bpe8k", "other processes used 1.70 of 2 cores")
    monkeypatch.chdir(tmp_path)
    cells = build(tmp_path, DEMO)
    shown, missing = told(cells)
    assert not shown
    assert missing == ["No speed is shown for German (Pocket, bpe8k): not measured alone: other processes used 1.70 of 2 cores."]
    (row,) = table(cells)
    assert row["generation_factor"] == row["alone"] == "n/a: not measured alone: other processes used 1.70 of 2 cores"
    page = Path("out/report.html").read_text()
    assert not re.search(r"\d B/s", page) and "Generates German" not in page


def test_numbers_of_a_disturbed_measurement_are_not_shown_either(project):
    change(project, alone={"alone": False, "reason": "other processes used 0.50 of 2 cores", "limit": 0.1, "tries": 3})
    shown, missing = told(project)
    assert not shown and "0.50 of 2 cores" in missing[0]
    assert table(project)[0]["generation_bytes_per_second_after"].startswith("n/a: not measured alone")


def test_no_difference_is_claimed_when_the_interval_includes_one(project):
    change(project, [(2.0, 2.1), (2.0, 1.9), (2.0, 2.05), (2.0, 1.95)])
    (sentence,), _ = told(project)
    assert sentence.startswith("Whether German text is generated faster than by the original cannot be told: 1.00 [")


def test_a_slower_vocabulary_is_called_slower(project):
    change(project, [(2.0, 2.5), (2.0, 2.52), (2.0, 2.48)], threads=1)
    (sentence,), _ = told(project)
    assert sentence.startswith("Generates German text more slowly than the original: 0.80 [") and sentence.endswith(
        "alone on 1 of 2 cores)."
    )


def test_an_experiment_without_speed_says_nothing_of_it(project):
    listing = json.loads(project.read_text())
    for cell in listing["cells"]:
        cell["paths"].pop("speed", None)
    project.write_text(json.dumps(listing))
    assert told(project) == ([], [])
    build_report(load_cells(project), Path("out"))
    assert not Path("out/speed.csv").exists() and not re.search(r"\d B/s", Path("out/report.html").read_text())


def test_one_that_is_missing_or_skipped_has_its_reason(project):
    from tokgraft import artifacts

    cell = next(cell for cell in load_cells(project).cells if cell.paths.speed is not None)
    shutil.rmtree(cell.paths.speed)
    assert cell_speed(cell).reason.startswith("not measured: ") and told(project)[0] == []
    artifacts.skip(cell.paths.speed, "the model does not generate", {})
    assert cell_speed(cell).reason == "not measured: the model does not generate"
    shutil.rmtree(cell.paths.speed)
    write_speed(cell.paths.speed, "bpe8k")
    (cell.paths.speed / "speed.json").write_text("{")
    with pytest.raises(TokgraftError, match="is damaged"):
        told(project)
