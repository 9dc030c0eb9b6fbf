"""What is looked at before the first job: the room that models will take."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tokgraft import artifacts
from tokgraft.config import layout
from tokgraft.errors import ConfigError
from tokgraft.matrix import load_matrix
from tokgraft.places import Places
from tokgraft.preflight import BASE_ROOM, MODEL_ROOM, check_dates, examine

GRID = (
    '{"models": ["smollm2-135m"], "languages": ["deu_Latn"], "tokenizers": ["bpe8k"], "methods": ["mean"], "recipes": %s, "tasks": ["bpb"]}'
)


@pytest.mark.parametrize(("recipes", "models"), [('["init"]', 1), ('["smollm2-demo"]', 2), ('["init", "smollm2-demo"]', 2)])
def test_room_for_every_model_that_is_not_scored(tmp_path: Path, recipes: str, models: int) -> None:
    matrix = load_matrix(f'{{"name": "x", "grids": [{GRID % recipes}]}}')
    assert _room(matrix, tmp_path) == pytest.approx((models * MODEL_ROOM + BASE_ROOM) / 1e9, abs=0.5)
    scores = tmp_path / Places(matrix).scores("smollm2-135m", "deu_Latn", "bpe8k", "mean", 0, layout.INIT)
    with artifacts.create(scores, "scores", {}, {}, ()) as folder:
        (folder / "scores.json").write_text("{}")
    rest = models - 1
    assert _room(matrix, tmp_path) == pytest.approx((rest * MODEL_ROOM + (BASE_ROOM if rest else 0)) / 1e9, abs=0.5)


def _room(matrix: object, root: Path) -> int:
    said = [finding.what for finding in examine(matrix, root) if "disk" in finding.what or "needed" in finding.what]  # type: ignore[arg-type]
    assert len(said) == 1
    return int(re.findall(r"about (\d+) GB", said[0])[0])


MATRIX = '{"name": "x", "grids": [' + GRID % '["init"]' + "]}"


def test_other_runs_and_locks_that_a_killed_one_left_are_noted(tmp_path: Path) -> None:
    matrix = load_matrix(MATRIX)
    assert _locks(matrix, tmp_path) == []
    (tmp_path / ".snakemake" / "locks").mkdir(parents=True)
    (tmp_path / ".snakemake" / "locks" / "0.output.lock").write_text("x")
    assert "snakemake --unlock" in _locks(matrix, tmp_path)[0]
    run = tmp_path / "bin" / "snakemake"
    run.parent.mkdir()
    run.write_text("echo started; read forever\n")
    with subprocess.Popen(["sh", str(run)], cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None and other.stdout.readline() == "started\n"
        found = _locks(matrix, tmp_path)
        assert len(found) == 1 and f"(process {other.pid})" in found[0] and "wait for it" in found[0]
        other.communicate("")
    assert "snakemake --unlock" in _locks(matrix, tmp_path)[0]


def test_a_run_does_not_take_itself_for_another(tmp_path: Path) -> None:
    """The doctor that a run calls when it starts."""
    (tmp_path / ".snakemake" / "locks").mkdir(parents=True)
    (tmp_path / ".snakemake" / "locks" / "0.output.lock").write_text("x")
    run = tmp_path / "snakemake"
    code = "from pathlib import Path; from tokgraft.preflight import _other_runs; print(list(_other_runs(Path())))"
    run.write_text(f"{sys.executable} -c '{code}'; echo done\n")
    done = subprocess.run(["sh", str(run)], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\ndone\n", done


def _locks(matrix: object, root: Path) -> list[str]:
    return [f"{finding.what} -> {finding.do}" for finding in examine(matrix, root) if finding.level == "note" and str(root) in finding.what]  # type: ignore[arg-type]


def test_labels_of_the_language_identifier(tmp_path: Path) -> None:
    """`lid: [ua]`: the code of the country, where the language's is uk."""
    shutil.copytree("config", tmp_path / "config")
    path = tmp_path / "config" / "languages" / "deu_Latn.yaml"
    text = path.read_text()
    for code, label, near in (("uk", "ua", "did you mean uk?"), ("de", "deu", "did you mean de?"), ("xx", "ua", "known: af, als, ")):
        path.write_text(text.replace("bcp47: de", f"bcp47: {code}").replace("lid: [de]", f"lid: [{label}]"))
        found = [finding for finding in examine(load_matrix(MATRIX, tmp_path / "config"), tmp_path) if "label" in finding.what]
        assert [(finding.level, repr(label) in finding.what) for finding in found] == [("missing", True)]
        assert found[0].do.startswith(near)


def test_a_file_dated_in_the_future_is_refused_unless_this_run_makes_it_anew(tmp_path: Path) -> None:
    """Snakemake fails a job that has done its work when an input is newer than the output."""
    text, corpus, model = (tmp_path / name for name in ("text.txt", "corpus.json", "model.json"))
    job = SimpleNamespace(input=[str(text), str(tmp_path / "not there yet")], output=[str(corpus)])
    for file in (text, corpus):
        file.touch()
    check_dates([job])
    os.utime(text, (4e9, 4e9))
    with pytest.raises(ConfigError, match=rf"{re.escape(str(text))}: dated in the future \(2096-") as raised:
        check_dates([job])
    assert raised.value.do.endswith(f"touch {text}")

    os.utime(corpus, (4e9, 4e9))
    next_job = SimpleNamespace(input=[str(corpus)], output=[str(model)])
    os.utime(text)
    check_dates([job, next_job])
    with pytest.raises(ConfigError, match=r"corpus\.json"):
        check_dates([next_job])
