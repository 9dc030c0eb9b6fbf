from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from synthetic_cells import LEVELS, build

from tokgraft.cells import load_cells
from tokgraft.config import layout
from tokgraft.errors import DataError
from tokgraft.frame import read_frame
from tokgraft.reporting.compare import comparisons
from tokgraft.reporting.findings import headline, leaders, limits, section_findings
from tokgraft.reporting.sections import sections
from tokgraft.reporting.words import amount
from tokgraft.scoring.statistics import Interval, read_samples

CELLS = Path("results/experiments/demo/cells.json")


def test_differences_are_those_of_the_samples(project):
    frame = read_frame(load_cells(CELLS))
    found = {(*one.combination.group[:2], one.combination.method, one.stage, one.task, one.reference): one for one in comparisons(frame)}
    one = found["pocket", "deu_Latn", "focus", "init", "bpb", "mean"]
    focus, mean = (
        read_samples(Path(f"results/scores/pocket/deu_Latn/bpe8k/{method}/s0/init/samples/bpb.jsonl")) for method in ("focus", "mean")
    )
    assert one.difference.mean == pytest.approx(focus.score - mean.score)
    assert one.difference.mean == pytest.approx(LEVELS["focus"][0] - LEVELS["mean"][0], abs=0.05)
    assert one.better is True and one.claim == "better" and one.is_bits
    assert found["pocket", "deu_Latn", "random", "init", "bpb", "mean"].claim == "worse"
    assert found["pocket", "deu_Latn", "mean", "trained", "bpb", "own init"].better
    assert ("pocket", "deu_Latn", "none", "init", "bpb", "untouched") not in found
    assert one.p_holm >= one.difference.p


def test_every_claim_has_an_interval_that_excludes_zero(project):
    found = comparisons(read_frame(load_cells(CELLS)))
    assert {one.claim for one in found} == {"better", "worse", "no claim: the interval includes 0"}
    for one in found:
        assert (one.better is not None) == (one.difference.low > 0 or one.difference.high < 0)


def test_no_ranking_is_claimed_between_equal_methods(tmp_path, monkeypatch):
    monkeypatch.setitem(LEVELS, "multivariate", LEVELS["mean"])
    monkeypatch.chdir(tmp_path)
    build(tmp_path, [("pocket", "deu_Latn", ["none", "mean", "multivariate", "random"])])
    frame = read_frame(load_cells(CELLS))
    (place,) = sections(frame, comparisons(frame))
    lead = leaders(place, "trained")
    assert lead is not None
    assert {lead.best.method, *(row.method for row, _ in lead.tied)} == {"mean", "multivariate"}
    assert lead.runner_up is not None and lead.runner_up[0].method == "random"
    text = " ".join(headline([place]))
    assert "cannot be told apart" in text and "has the fewest" not in text.split("After training")[1].split(".")[0]


def test_findings_name_the_best_and_the_limits(project):
    frame = read_frame(load_cells(CELLS))
    places = sections(frame, comparisons(frame))
    text = " ".join(headline(places))
    assert "focus has the fewest bits per byte of the transplants on German (Pocket) and Greek (Pocket)" in text
    assert "Training lowers bits per byte in 13 of 13 combinations" in text
    assert "40% fewer" in text
    assert any("worse than the original vocabulary" in line for line in section_findings(places[0]))
    said = " ".join(limits(frame, places))
    assert "300k bytes" in said and "One seed" in said and "1.4M" in said and "invented prose" in said


def test_a_seed_that_was_not_scored_is_not_made_up_from_another(tmp_path, monkeypatch):
    """Two seeds, and one of them has no score after training: one seed is compared, also with the same cells before training."""
    build(tmp_path, [("pocket", "deu_Latn", ["none", "mean", "random"])], seeds=(0, 1))
    monkeypatch.chdir(tmp_path)
    shutil.rmtree(layout.scores("pocket", "deu_Latn", "bpe8k", "random", 0, "pocket-demo"))
    found = [one for one in comparisons(read_frame(load_cells(CELLS))) if one.combination.method == "random" and one.stage == "trained"]
    assert {one.reference for one in found} >= {"none", "mean", "own init", "untouched"}
    assert {one.difference.seeds for one in found} == {1}


def test_seeds_are_pooled(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    build(tmp_path, [("pocket", "deu_Latn", ["none", "mean", "random"])], seeds=(0, 1, 2))
    frame = read_frame(load_cells(CELLS))
    assert len(frame.combinations) == 3 and len(frame.cells.cells) == 9
    found = comparisons(frame)
    assert {one.difference.seeds for one in found} == {3}
    assert all(0 < one.difference.detectable < 2 for one in found if one.is_bits)
    (place,) = sections(frame, found)
    means = [read_samples(Path(f"results/scores/pocket/deu_Latn/bpe8k/mean/s{s}/init/samples/bpb.jsonl")).score for s in range(3)]
    row = next(row for row in place.rows if row.method == "mean")
    assert place.bits(row, "init").mean == pytest.approx(np.mean(means))
    assert "3 seeds a method" in " ".join(limits(frame, [place]))


def test_scores_of_different_documents_are_refused(own_project):
    from synthetic_cells import write_scores

    place = Path("results/scores/pocket/deu_Latn/bpe8k/focus/s0/init")
    write_scores(place, Path("results/models/pocket/deu_Latn/bpe8k/focus/s0/init"), "pocket/deu_Latn", "focus", "bpe8k", 0, pages=39)
    with pytest.raises(DataError, match="different documents"):
        comparisons(read_frame(load_cells(CELLS)))


def test_a_cell_list_with_an_unknown_key_or_a_double_is_refused(project, tmp_path):
    listing = json.loads(CELLS.read_text())
    broken = tmp_path / "cells.json"
    broken.write_text(json.dumps({**listing, "cell": []}))
    with pytest.raises(DataError, match="not a cell list"):
        load_cells(broken)
    broken.write_text(json.dumps({**listing, "cells": [*listing["cells"], listing["cells"][0]]}))
    with pytest.raises(DataError, match="twice"):
        load_cells(broken)


def test_a_claimed_difference_never_reads_as_zero():
    assert amount(Interval(-0.0041, -0.0052, -0.0031, 100, p=0.001)) == "0.0041 [0.0031, 0.0052]"
    assert amount(Interval(0.4, 0.3, 0.5, 100, p=0.001)) == "0.40 [0.30, 0.50]"
