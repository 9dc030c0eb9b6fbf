"""What is looked at before the first job: the room that models will take."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tokgraft import artifacts
from tokgraft.config import layout
from tokgraft.matrix import load_matrix
from tokgraft.places import Places
from tokgraft.preflight import BASE_ROOM, MODEL_ROOM, examine

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
