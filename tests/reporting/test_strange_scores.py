"""What is not, or no longer, the cell's own reaches no table: scores, records, evaluations and speeds made from something else."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest
import synthetic_cells
from synthetic_cells import build, write_speed

from tokgraft import artifacts
from tokgraft.cells import cell_speed, load_cells, stale, walk
from tokgraft.cli import main
from tokgraft.config import layout
from tokgraft.errors import ArtifactError
from tokgraft.frame import read_frame
from tokgraft.reporting import predictors
from tokgraft.reporting.build import build_report
from tokgraft.reporting.checks import check_products

CELLS = Path("results/experiments/demo/cells.json")
FOCUS = ("pocket", "deu_Latn", "bpe8k", "focus", 0)
KEY = "pocket/deu_Latn/bpe8k/focus/pocket-demo/s0"


def make_again(folder: str, kind: str) -> None:
    with artifacts.create(Path(folder), kind, {"again": True}) as temporary:
        (temporary / "something.txt").write_text("else")


def rows(name: str, **where: str) -> list[dict[str, str]]:
    with Path("tables", name).open(newline="") as handle:
        return [row for row in csv.DictReader(handle) if all(row[column] == value for column, value in where.items())]


def test_a_model_made_again_since_has_no_score_in_the_report(own_project):
    make_again(layout.adapted(*FOCUS, "pocket-demo"), "model")
    cells = load_cells(CELLS)
    build_report(cells, Path("tables"))
    init, trained = rows("leaderboard.csv", language="deu_Latn", model="pocket", method="focus")
    assert init["status"] == "scored" and float(init["bits_per_byte"]) > 0
    reason = (
        f"not scored: {layout.scores(*FOCUS, 'pocket-demo')} was made from another model than {layout.adapted(*FOCUS, 'pocket-demo')} holds"
    )
    assert trained["status"].startswith(reason) and "score it again" in trained["status"]
    for column in ("bits_per_byte", "training_flops", "training_bytes", "model_hash"):
        assert trained[column].startswith(f"n/a: {reason}"), "nothing of the other model is shown"
    place = {"model": "pocket", "language": "deu_Latn", "method": "focus"}
    assert rows("curves.csv", **place) == [] and rows("curves.csv", **(place | {"method": "mean"}))
    assert not rows("scores.csv", stage="trained", **place) and not rows("differences.csv", stage="trained", **place)
    assert reason in Path("tables/report.html").read_text()
    assert [one for one in check_products(cells) if KEY in one and reason in one]


def test_scores_of_another_cell_are_not_this_cells(own_project):
    shutil.rmtree(layout.scores(*FOCUS, "init"))
    shutil.copytree(layout.scores(*FOCUS[:3], "mean", 0, "init"), layout.scores(*FOCUS, "init"))
    frame = read_frame(load_cells(CELLS))
    scored = {(cell.method, stage): frame.scores.get((cell.key, stage)) for cell, stage in walk(frame.cells) if cell.language == "deu_Latn"}
    assert scored["focus", "init"] is None and "another model" in frame.reasons[KEY, "init"]
    assert scored["focus", "trained"] is not None and scored["mean", "init"] is not None


@pytest.mark.parametrize("other", [("pocket", "ell_Grek", "bpe8k", "focus", 0), ("smollm2-135m", "deu_Latn", "bpe8k", "mean", 0)])
def test_scores_of_another_cell_where_no_model_is_here(own_project, other):
    """A pull of scores only: they name what they were made from, and the language that they speak of."""
    for kind in ("models", "corpora", "tokenizers", "speed"):
        shutil.rmtree(Path("results", kind))
    assert not read_frame(load_cells(CELLS)).reasons
    recipe = f"{other[0]}-demo"
    shutil.rmtree(layout.scores(*FOCUS, "pocket-demo"))
    shutil.copytree(layout.scores(*other, recipe), layout.scores(*FOCUS, "pocket-demo"))
    frame = read_frame(load_cells(CELLS))
    assert {key for key, _ in frame.reasons} == {KEY} and (KEY, "trained") not in frame.scores


def test_trained_scores_of_another_cell_are_named_themselves_where_no_model_is_here(own_project):
    """The folder of the model is not here: nothing is wrong with it."""
    for kind in ("models", "corpora", "tokenizers", "speed"):
        shutil.rmtree(Path("results", kind))
    swapped = Path(layout.scores(*FOCUS, "pocket-demo"))
    shutil.rmtree(swapped)
    shutil.copytree(layout.scores(*FOCUS[:3], "mean", 0, "pocket-demo"), swapped)
    ((place, reason),) = read_frame(load_cells(CELLS)).reasons.items()
    assert place == (KEY, "trained")
    assert f"{swapped} is of a model that was made from another model" in reason and "score it again" in reason
    assert layout.adapted(*FOCUS, "pocket-demo") not in reason


def test_a_list_of_cells_without_chains_is_refused(own_project, capsys):
    """With it, swapped scores would go unnoticed where the models are not here."""
    listing = json.loads(CELLS.read_text())
    for cell in listing["cells"]:
        del cell["chain"]
    CELLS.write_text(json.dumps(listing))
    for command in (["--check"], ["--out", "tables"]):
        assert main(["report", "--cells", str(CELLS), *command]) == 2
        said = capsys.readouterr().err
        assert "cells.0.chain" in said and "make it again: tokgraft list cells" in said


def test_the_seed_and_the_method_that_a_model_names(own_project):
    """Where nothing else tells them apart: the record of the transplant beside its scores."""
    (cell,) = [cell for cell in load_cells(CELLS).cells if cell.key == KEY]
    with artifacts.create(cell.paths.init, "model", {"seed": 0, "method": "focus"}) as folder:
        (folder / "model.safetensors").write_text("rows")
    assert stale(cell.model_copy(update={"chain": "focus"}), "init") is None
    assert "its seed is 0, not 1" in (stale(cell.model_copy(update={"seed": 1}), "init") or "")
    assert "its method is focus, not mean" in (stale(cell.model_copy(update={"chain": "mean"}), "init") or "")


def test_whatever_a_model_was_made_from_was_made_again(own_project):
    make_again(layout.tokenizer("pocket", "deu_Latn", "bpe8k"), "tokenizer")
    frame = read_frame(load_cells(CELLS))
    unfit = [(cell, stage) for cell, stage in walk(frame.cells) if (cell.key, stage) not in frame.scores]
    assert {(cell.model, cell.language, cell.tokenizer) for cell, _ in unfit} == {("pocket", "deu_Latn", "bpe8k")}
    assert len(frame.reasons) == len(unfit)
    assert all(
        "was made from another tokenizer than results/tokenizers/pocket/deu_Latn/bpe8k holds" in one for one in frame.reasons.values()
    )
    assert {stage for _, stage in unfit} == {"init", "trained"}


def test_a_speed_of_another_tokenizer_is_not_shown(own_project):
    (cell,) = [cell for cell in load_cells(CELLS).cells if cell.key == KEY]
    assert cell_speed(cell).speed is not None
    write_speed(cell.paths.speed, "bpe8k", None, {"tokenizer": Path(layout.tokenizer("pocket", "deu_Latn", "original"))})
    found = cell_speed(cell)
    assert found.speed is None and "was made from another tokenizer" in found.reason and "measure it again" in found.reason
    assert [
        one for one in check_products(load_cells(CELLS)) if "results/speed/pocket/deu_Latn/bpe8k was made from another tokenizer" in one
    ]


def test_an_evaluation_counts_only_whole_and_of_this_tokenizer(own_project):
    listing = json.loads(CELLS.read_text())
    place = Path(layout.evaluation("pocket", "deu_Latn", "bpe8k"))
    for cell in listing["cells"]:
        if cell["tokenizer"] == "bpe8k" and cell["language"] == "deu_Latn" and cell["model"] == "pocket":
            cell["paths"]["evaluation"] = str(place)
    CELLS.write_text(json.dumps(listing))

    def evaluate(tokenizer: str) -> None:
        content = {"tokenizer": {"size": 8192}}
        inputs = {"tokenizer": Path(layout.tokenizer("pocket", "deu_Latn", tokenizer))}
        synthetic_cells._write(place, "evaluation", {"evaluation.json": json.dumps(content)}, inputs)

    def used() -> dict[str, float]:
        from tokgraft.reporting.ranking import rankings

        frame = read_frame(load_cells(CELLS))
        entries = [entry for one in rankings(frame) for entry in one.entries]
        evaluated = [entry for entry in entries if str(place) == str(frame.combinations[entry.combination][0].paths.evaluation)]
        return predictors._evaluated(frame, evaluated[0])

    evaluate("bpe8k")
    assert used() == {"vocabulary size": 8192}
    build_report(load_cells(CELLS), Path("tables"))
    assert f"evaluations/{KEY}" in artifacts.read(Path("tables"))["inputs"], "what a report read is named"
    (place / "evaluation.json").write_text((place / "evaluation.json").read_text().replace("8192", "8193"))
    with pytest.raises(ArtifactError, match="is damaged"):
        used()
    evaluate("original")
    assert used() == {}
    assert [one for one in check_products(load_cells(CELLS)) if f"{place} was made from another tokenizer" in one]


def test_the_cost_in_the_ranking_is_that_of_the_seeds_with_a_score(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    build(tmp_path, [("pocket", "deu_Latn", ["none", "mean"])], seeds=(0, 1))
    shutil.rmtree(layout.scores("pocket", "deu_Latn", "bpe8k", "mean", 0, "pocket-demo"))
    shutil.rmtree(layout.scores("pocket", "deu_Latn", "bpe8k", "mean", 0, "init"))
    build_report(load_cells(CELLS), Path("tables"))
    (row,) = rows("ranking.csv", method="mean", stage="trained")
    assert float(row["training_flops"]) == pytest.approx(4.2e12 * 0.31) and float(row["transplant_flops"]) == 7_000_000
    (row,) = rows("tokenizers.csv", tokenizer="bpe8k")
    assert float(row["tokens_per_byte"]) == pytest.approx(0.31)
    page = Path("tables/report.html").read_text()
    assert layout.adapted("pocket", "deu_Latn", "bpe8k", "mean", 1, "pocket-demo") in page
    assert "manifest absent" not in page
