from __future__ import annotations

import csv
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import synthetic_cells
from scipy.stats import spearmanr

from tokgraft.cells import load_cells
from tokgraft.config import layout
from tokgraft.reporting import predictors
from tokgraft.reporting.build import build_report

NAMES = [f"t{number}" for number in range(6)]


def setting(bits, metrics, language="deu_Latn", names=NAMES):
    entries = {name: SimpleNamespace(bits=SimpleNamespace(mean=value)) for name, value in zip(names, bits, strict=True)}
    return predictors.Setting(
        ("pocket", language, "mean", "init", "init"), entries, {name: dict(zip(metrics, values)) for name, *values in zip(names, *metrics.values())}
    )  # fmt: skip


def test_spearman_is_that_of_the_repeated_samples():
    rng = np.random.default_rng(1)
    x, y = rng.integers(0, 5, 9).astype(float), rng.normal(size=9)
    counts = rng.multinomial(9, np.full(9, 1 / 9), size=20)
    found = predictors.spearman(x, y, counts)
    for row, rho in zip(counts, found, strict=True):
        assert rho == pytest.approx(spearmanr(np.repeat(x, row), np.repeat(y, row)).statistic, abs=1e-12)
    assert np.isnan(predictors.spearman(x, y, np.eye(9)[:1] * 9)).all()


def test_what_goes_along_everywhere_comes_first_and_noise_includes_zero():
    bits = [1.0, 1.2, 1.3, 1.9, 2.0, 2.5]
    metrics = {"fertility": [1, 2, 3, 4, 5, 6.0], "premium over English": [2, 1, 3, 2, 1, 3.0], "vocabulary size": [8192.0] * 6}
    found = predictors.correlations([setting(bits, metrics), setting([2 * b for b in bits], metrics, "ell_Grek")])
    assert [one.metric for one in found] == ["fertility", "premium over English"]  # a constant metric has no correlation
    assert (found[0].mean, found[0].low, found[0].high, found[0].tokenizers) == (pytest.approx(1), pytest.approx(1), pytest.approx(1), 6)
    assert found[1].low < found[1].mean < found[1].high and not found[1].claimed and not found[0].claimed
    assert predictors.words(found) == "Nothing is claimed over 6 tokenizers and 2 settings: that takes 10 tokenizers."
    names, more = [f"t{number}" for number in range(10)], {"fertility": [float(number) for number in range(10)]}
    enough = predictors.correlations([setting([1 + 0.1 * number for number in range(10)], more, names=names)])
    assert enough[0].claimed and "fertility has the strongest correlation with bits per byte over 10 tokenizers" in predictors.words(enough)
    assert "more bits where it is larger" in predictors.words(enough)
    # Languages with the same recipes are no further evidence: the interval does not shrink.
    (alone,) = [one for one in predictors.correlations([setting(bits, metrics)]) if one.metric == "premium over English"]
    assert (alone.low, alone.high) == (found[1].low, found[1].high)


def test_a_metric_that_is_missing_for_some_tokenizers_counts_where_it_is_known():
    metrics = {"fertility": [1, 2, 3, 4, 5, 6.0]}
    whole = setting([1, 2, 3, 4, 5, 6.0], metrics)
    lacking = setting([6, 5, 4, 3, 2, 1.0], metrics, "ell_Grek")
    for name in NAMES[:2]:
        del lacking.metrics[name]["fertility"]
    (found,) = predictors.correlations([whole, lacking])
    assert list(found.settings) == [whole.key] and found.mean == pytest.approx(1)
    assert predictors.correlations([]) == [] and predictors.words([]) == ""


def test_a_report_with_evaluated_tokenizers_says_what_predicts_bits_per_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, name in enumerate(NAMES):
        monkeypatch.setitem(synthetic_cells.TOKENS_PER_BYTE, name, 0.2 + 0.02 * number)
        monkeypatch.setitem(synthetic_cells.VOCAB, name, 8192)
        monkeypatch.setitem(synthetic_cells.HARDER, name, 0.1 * number)
    monkeypatch.chdir(tmp_path)
    listing = synthetic_cells.build(tmp_path, [("pocket", "deu_Latn", ["none", "mean"])], zero_shot=True)
    cells = json.loads(listing.read_text())
    control = [cell for cell in cells["cells"] if cell["method"] == "none"]
    cells["cells"] = control + [
        synthetic_cells._cell(tmp_path, "pocket", "deu_Latn", name, method, layout.INIT, 0, 40)
        for name in NAMES
        for method in ("mean", "focus")
    ]
    for cell in cells["cells"]:
        folder = layout.evaluation("pocket", "deu_Latn", cell["tokenizer"])
        cell["paths"]["evaluation"] = str(folder)
        fertility = 6 * synthetic_cells.TOKENS_PER_BYTE[cell["tokenizer"]]
        content = {"tokenizer": {"size": 8192}, "target": {"fertility": {"value": fertility}}}
        if not (tmp_path / folder).exists():
            synthetic_cells._write(tmp_path / folder, "evaluation", {"evaluation.json": json.dumps(content)})
    listing.write_text(json.dumps(cells))
    build_report(load_cells(listing), Path("results/experiments/demo/tables"))
    with Path("results/experiments/demo/tables/predictors.csv").open(newline="") as handle:
        found = list(csv.DictReader(handle))
    assert [(row["metric"], row["method"], row["correlation"]) for row in found] == [
        ("fertility", "all", "1"), ("fertility", "focus", "1"), ("fertility", "mean", "1"),
    ]  # fmt: skip
    assert "What tells bits per byte in advance" in Path("results/experiments/demo/tables/report.html").read_text()
    assert Path("results/experiments/demo/tables/figures/predictors.svg").is_file()
