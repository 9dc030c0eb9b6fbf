"""Tables are made from files that their manifests list: what was altered is refused, by the report and by the tracking store."""

from __future__ import annotations

from pathlib import Path

import pytest

from tokgraft import artifacts
from tokgraft.cells import load_cells
from tokgraft.config import layout
from tokgraft.errors import ArtifactError
from tokgraft.reporting.build import build_report
from tokgraft.reporting.checks import check_products
from tokgraft.tracking.record import record

CELLS = Path("results/experiments/demo/cells.json")
SCORES = layout.scores("pocket", "deu_Latn", "bpe8k", "focus", 0, "pocket-demo")
ALTERED = [
    f"{SCORES}/scores.json", f"{SCORES}/samples/bpb.jsonl", f"{SCORES}/model/training.json",
    f"{SCORES}/model/timing.jsonl", f"{SCORES}/manifest.json", f"{layout.tokenizer('pocket', 'deu_Latn', 'bpe8k')}/metrics.json",
    f"{layout.corpus('deu_Latn')}/card.json",
]  # fmt: skip


@pytest.mark.parametrize("name", ALTERED)
def test_an_altered_file_reaches_no_table(own_project, name):
    cells = load_cells(CELLS)
    focus = next(cell for cell in cells.cells if str(cell.paths.score_trained) == SCORES)
    assert record(cells, focus).metrics
    path = Path(name)
    path.chmod(0o644)
    path.write_text(path.read_text().replace("1", "2", 1))
    with pytest.raises(ArtifactError, match="is damaged: "):
        build_report(cells, Path("tables"))
    with pytest.raises(ArtifactError, match="is damaged: "):
        record(cells, focus)
    assert not Path("tables").exists()


def test_an_unlisted_file_beside_scores_is_refused(own_project):
    (Path(SCORES) / "samples/heading-2.jsonl").write_text("{}")
    with pytest.raises(ArtifactError, match=r"heading-2.jsonl: not in the manifest"):
        build_report(load_cells(CELLS), Path("tables"))
    (found,) = check_products(load_cells(CELLS))
    assert "heading-2.jsonl: not in the manifest" in found


def test_the_report_names_what_it_was_made_from(own_project, capsys):
    build_report(load_cells(CELLS), Path("results/tables"))
    inputs = artifacts.read(Path("results/tables"))["inputs"]
    scored, speeds = ({name for name in inputs if name.startswith(kind)} for kind in ("scores/", "speed/"))
    assert (
        len(scored) == 26
        and speeds
        and set(inputs) - scored - speeds
        == {
            f"tokenizers/{model}/{language}/{recipe}"
            for model, language in (("pocket", "deu_Latn"), ("pocket", "ell_Grek"), ("smollm2-135m", "deu_Latn"))
            for recipe in ("original", "bpe8k")
        }
    )
    assert artifacts.outdated(Path("results/tables")) == []
    with artifacts.create(Path(layout.tokenizer("pocket", "deu_Latn", "bpe8k")), "tokenizer", {"another": 1}) as folder:
        (folder / "metrics.json").write_text("{}")
    assert "its tokenizers/pocket/deu_Latn/bpe8k is no longer what it was" in artifacts.outdated(Path("results/tables"))[0]
