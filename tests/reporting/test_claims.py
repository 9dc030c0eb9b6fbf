"""What the report says in words, against values that this test computes from the samples by itself."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path

import pytest
from synthetic_cells import LEVELS, SUFFIX, TOKENS_PER_BYTE, VOCAB, build

from tokgraft.cells import load_cells
from tokgraft.frame import read_frame
from tokgraft.reporting import ranking
from tokgraft.reporting.build import build_report
from tokgraft.reporting.checks import check_products
from tokgraft.reporting.compare import comparisons
from tokgraft.reporting.findings import headline
from tokgraft.reporting.sections import sections
from tokgraft.score_rows import bits_task, main_row

CELLS = Path("results/cells.json")


@pytest.fixture
def invented(tmp_path, monkeypatch):
    """Build an experiment with levels of its own; (frame, places)."""

    def make(demo, levels=None, suffixes=None, **settings):
        for name, pair in (levels or {}).items():
            monkeypatch.setitem(LEVELS, name, pair)
        for name, suffix in (suffixes or {}).items():
            monkeypatch.setitem(SUFFIX, name, suffix)
        monkeypatch.chdir(tmp_path)
        frame = read_frame(load_cells(build(tmp_path, demo, **settings)))
        return frame, sections(frame, comparisons(frame))

    return make


MIXED = [("pocket", "deu_Latn", ["none", "random", "mean", "focus"]), ("smollm2-135m", "deu_Latn", ["none", "random", "mean"])]
WORSE = {"smollm2-135m/none": (1.7, 1.6), "smollm2-135m/mean": (2.2, 2.0), "smollm2-135m/random": (5.7, 4.2)}


def test_models_that_were_scored_on_other_tasks_are_compared_as_well(invented):
    _, places = invented(MIXED, WORSE, {"smollm2-135m": "-small"})
    text = " ".join(headline(places))
    assert "Against the untouched original, 2 of 5 trained transplants are better and 3 worse" in text
    assert "5 of 5 trained transplants" in text.split("English gets worse")[1]
    assert "mean has the fewest bits per byte of the transplants on German (SmolLM2 135M)" in text
    assert "Training lowers bits per byte in 7 of 7 combinations" in text


def test_tokenizers_that_were_scored_on_other_tasks_are_compared_apart(invented, monkeypatch):
    monkeypatch.setitem(TOKENS_PER_BYTE, "bpe16k", 0.28)
    monkeypatch.setitem(VOCAB, "bpe16k", 16384)
    demo = [("pocket", "deu_Latn", ["none", "mean", "focus"]), ("pocket", "deu_Latn", ["mean", "focus"], "bpe16k")]
    frame, places = invented(demo, suffixes={"bpe16k": "-small", "original": "+-small"})
    assert [place.task for place in places] == ["bpb", "bpb-small"]
    assert [{row.tokenizer for row in place.rows} for place in places] == [{"original", "bpe8k"}, {"original", "bpe16k"}]
    assert len({place.slug for place in places}) == 2 and {place.where for place in places} == {
        "German (Pocket, bpb)", "German (Pocket, bpb-small)",
    }  # fmt: skip
    text = " ".join(headline(places))
    assert "Against the original vocabulary trained on the same bytes, 0 of 4 trained transplants are better and 4 worse" in text
    ranked = ranking.rankings(frame)
    assert [(one.task, len(one.entries)) for one in ranked] == [("bpb", 6), ("bpb-small", 6)]
    build_report(frame.cells, Path("results/tables"))
    with Path("results/tables/ranking.csv").open(newline="") as handle:
        assert len(list(csv.DictReader(handle))) == 12


def test_a_start_that_was_scored_on_more_tasks_is_compared_on_the_shared_one(invented, monkeypatch):
    """What several recipes start from is scored on the tasks of all of them: before and after training must not mix two tasks."""
    frame, _ = invented([("pocket", "deu_Latn", ["none", "mean"])], suffixes={"pocket": "-small"})
    one, (cell,) = next((one, cells) for one, cells in frame.combinations.items() if one.method == "mean")
    row = main_row(frame.of_cell(cell, "init"), "bpb-small")
    frame = dataclasses.replace(frame, rows=[*frame.rows, dataclasses.replace(row, task="bpb-full", items=400, value=0.5)])
    assert bits_task(frame.of_cell(cell, "init")) == "bpb-full" and frame.bits_task(one) == "bpb-small"
    monkeypatch.setattr("tokgraft.reporting.checks.read_frame", lambda cells, refuse: frame)
    assert not [one for one in check_products(frame.cells) if "training raises" in one]
