from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from synthetic_cells import LEVELS, build, write_scores

from tokgraft import artifacts
from tokgraft.cells import load_cells
from tokgraft.cli import main
from tokgraft.config import layout
from tokgraft.reporting.checks import check_products

CELLS = Path("results/experiments/demo/cells.json")
FOCUS = ("pocket", "deu_Latn", "bpe8k", "focus", 0)


def problems() -> list[str]:
    return check_products(load_cells(CELLS))


def remake(folder: Path, kind: str, change) -> None:
    """Make an artifact again with one of its files changed."""
    manifest = artifacts.read(folder)
    with artifacts.create(folder, kind, manifest["settings"]) as temporary:
        shutil.copytree(folder, temporary, dirs_exist_ok=True)
        change(temporary)


def test_products_that_make_sense_have_no_problem(project, capsys):
    assert problems() == []
    assert main(["report", "--cells", str(CELLS), "--check"]) == 0
    assert "13 cells checked, 0 problems" in capsys.readouterr().out


def test_a_missing_score_is_named_and_the_command_fails(own_project, capsys):
    shutil.rmtree(layout.scores(*FOCUS, "init"))
    assert main(["report", "--cells", str(CELLS), "--check"]) == 1
    assert "pocket/deu_Latn/bpe8k/focus/pocket-demo/s0 (init)" in capsys.readouterr().err


def test_nan_in_scores_and_curves(own_project):
    folder = Path(layout.scores(*FOCUS, "init"))

    def spoil(temporary: Path) -> None:
        data = json.loads((temporary / "scores.json").read_text())
        data["tasks"]["heading"]["metrics"]["acc"] = float("nan")
        (temporary / "scores.json").write_text(json.dumps(data))

    remake(folder, "scores", spoil)

    def spoil_curve(temporary: Path) -> None:
        with (temporary / layout.RECORDS / "metrics.jsonl").open("a") as handle:
            handle.write('{"step": 300, "bytes": 1, "loss": NaN}\n')

    remake(Path(layout.scores(*FOCUS, "pocket-demo")), "scores", spoil_curve)
    found = problems()
    assert any("tasks/heading/metrics/acc is not a finite number" in one for one in found)
    assert any("metrics.jsonl, line 7: loss is not a finite number" in one for one in found)


def test_training_that_makes_it_worse(own_project):
    trained = Path(layout.adapted(*FOCUS, "pocket-demo"))
    write_scores(Path(layout.scores(*FOCUS, "pocket-demo")), trained, "pocket/deu_Latn", "focus", "bpe8k", 1, shift=2.0)
    assert [one for one in problems() if "training raises bits per byte" in one and "focus" in one]


@pytest.mark.parametrize(
    "path",
    [
        f"{layout.speed('pocket', 'deu_Latn', 'bpe8k')}/speed.json",
        f"{layout.tokenizer('pocket', 'deu_Latn', 'bpe8k')}/metrics.json",
        f"{layout.corpus('deu_Latn')}/card.json",
        f"{layout.corpus(layout.ENGLISH)}/card.json",
    ],
)
def test_what_the_report_would_refuse_to_read(own_project, path, capsys):
    file = Path(path)
    file.write_text(file.read_text() + " ")
    (found,) = problems()
    assert path in found
    assert main(["report", "--cells", str(CELLS), "--check"]) == 1
    assert "1 problems" in capsys.readouterr().out, "each is named once, however many cells share it"


SCORES = layout.scores(*FOCUS, "pocket-demo")


@pytest.mark.parametrize(
    "path",
    [
        f"{SCORES}/scores.json",
        f"{SCORES}/samples/bpb.jsonl",
        f"{SCORES}/{layout.RECORDS}/metrics.jsonl",
        f"{SCORES}/{layout.RECORDS}/timing.jsonl",
        f"{SCORES}/{layout.RECORDS}/manifest.json",
        f"{SCORES}/run.json",
        f"{SCORES}/manifest.json",
        f"{layout.scores(*FOCUS, 'init')}/{layout.RECORDS}/transplant.json",
        f"{layout.adapted(*FOCUS, 'init')}/manifest.json",
        f"{layout.adapted('pocket', 'deu_Latn', 'original', 'none', 0, 'init')}/manifest.json",
        f"{layout.base('pocket')}/manifest.json",
        f"{layout.tokenizer('pocket', 'deu_Latn', 'bpe8k')}/manifest.json",
        f"{layout.corpus('deu_Latn')}/manifest.json",
        f"{layout.speed('pocket', 'deu_Latn', 'bpe8k')}/manifest.json",
    ],
)
@pytest.mark.parametrize("content", ["half", "empty", "a list"])
def test_damaged_files_are_lines_beside_the_other_problems(own_project, path, content, capsys):
    """Also those that the report cannot do without."""
    file, other = Path(path), Path(layout.corpus(layout.ENGLISH), "card.json")
    text = file.read_text()
    file.write_text({"half": text[: len(text) // 2], "empty": "", "a list": "[]"}[content])
    other.write_text(other.read_text() + " ")
    assert main(["report", "--cells", str(CELLS), "--check"]) == 1
    out, error = capsys.readouterr()
    lines = error.splitlines()
    assert "error:" not in error and "Traceback" not in error
    assert len([line for line in lines if path in line]) == 1, "each is named once, however many cells share it"
    assert [line for line in lines if str(other) in line] and "13 cells checked, " in out
    assert main(["report", "--cells", str(CELLS), "--out", "tables"]) == 2, "what is damaged is not shown"


def test_scores_of_another_model(own_project):
    trained = Path(layout.adapted(*FOCUS, "pocket-demo"))
    remake(trained, "model", lambda temporary: (temporary / "model.safetensors").write_text("other"))
    assert [one for one in problems() if "was made from another model" in one]


def test_a_control_that_changed_the_model(own_project):
    init = Path(layout.adapted("pocket", "deu_Latn", "original", "none", 0, "init"))
    remake(init, "model", lambda temporary: (temporary / "model.safetensors").write_text("other"))
    assert [one for one in problems() if "the control must not change the model" in one]


def test_two_methods_with_identical_samples(own_project):
    source = Path(layout.scores("pocket", "deu_Latn", "bpe8k", "mean", 0, "init"))
    target = Path(layout.scores(*FOCUS, "init"))
    remake(target, "scores", lambda temporary: shutil.copytree(source / "samples", temporary / "samples", dirs_exist_ok=True))
    (found,) = [one for one in problems() if "identical samples" in one]
    assert "focus" in found and "mean" in found and "bpb" in found


@pytest.mark.parametrize(("level", "message"), [(1.2, "far below the uniform baseline"), (5.6, "")])
def test_random_rows_that_know_something(tmp_path, monkeypatch, level, message):
    monkeypatch.setitem(LEVELS, "random", (level, 1.0))
    monkeypatch.chdir(tmp_path)
    build(tmp_path, [("pocket", "deu_Latn", ["none", "random", "mean"])])
    found = problems()
    assert [one for one in found if message in one] if message else found == []


def test_random_rows_above_chance(own_project):
    folder = Path(layout.scores("pocket", "deu_Latn", "bpe8k", "random", 0, "init"))

    def spoil(temporary: Path) -> None:
        data = json.loads((temporary / "scores.json").read_text())
        data["tasks"]["heading"]["metrics"] = {"acc": 0.7, "acc_bytes": 0.7}
        (temporary / "scores.json").write_text(json.dumps(data))

    remake(folder, "scores", spoil)
    assert [one for one in problems() if "heading is 0.700, chance is 0.250" in one]
