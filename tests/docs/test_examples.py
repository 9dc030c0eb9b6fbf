"""The blocks of the documentation run, page by page, in a folder that holds what they name (tests/docs/sample.py)."""

from __future__ import annotations

import contextlib
import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.docs.pages import ROOT, Block, blocks, commands, settings
from tests.docs.sample import create, shrink
from tokgraft.cli import main
from tokgraft.matrix import load_matrix
from tokgraft.places import Places
from tokgraft.scoring.tasks import TASKS
from tokgraft.tokenizers.trainers import TRAINERS

# What a page takes as made already: commands, run before its first block.
BEFORE = {
    "docs/models.md": ["tokgraft resource --name token_vectors --corpus CORPUS --tokenizer TOKENIZER --out VECTORS"],
    "docs/evaluation.md": ["tokgraft score --model BASE --corpus CORPUS --tasks bpb --out scores/focus-0"]
    + [f"cp -r scores/focus-0 scores/{name}" for name in ("focus-1", "focus-2", "mean-0", "mean-1", "mean-2")],
    "docs/languages.md": [
        "tokgraft corpus --language big.yaml --shard 1 --out shards/1",
        "tokgraft tokenizer --recipe bpe8k --corpus CORPUS --base my-model --out results/tokenizers/smollm2-135m/deu_Latn/bpe8k",
    ],
    "docs/methods/trans_tokenization.md": ["tokgraft transplant --model BASE --tokenizer TOKENIZER --method mean --out ADAPTED"],
}
# What a page has left behind when its blocks have run.
LEFT = {
    "README.md": ["{out}/scores/scores.json", "{out}/mean/model.safetensors"],
    "docs/models.md": ["scores/scores.json", "transplanted/transplant.json", "ADAPTED/provenance.jsonl", "OUT/sibling.json"],
    "docs/evaluation.md": ["results/scores/alone/samples/bpb.jsonl"],
    "docs/tokenizers.md": ["compare.html", "challenge.jsonl", "naive/tokenizer.json"],
    "docs/training.md": ["trained/model.safetensors"],
}
RUN = [block for block in blocks() if not block.marker and block.language != "text"]


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return create(tmp_path_factory.mktemp("docs") / "sample")


@pytest.mark.parametrize("page", sorted({block.page for block in RUN}))
def test_the_blocks_of_a_page_run(page: str, sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(sample, tmp_path / "here", symlinks=False)
    monkeypatch.chdir(tmp_path / "here")
    names: dict[str, Any] = {"__name__": "example"}
    for line in BEFORE.get(page, []):
        run_line(line)
    try:
        for block in RUN:
            if block.page == page:
                run_block(block, tmp_path, names)
        assert all(Path(name.format(out=tmp_path / "out")).is_file() for name in LEFT.get(page, []))
        if page == "README.md":
            assert names["model"].config.vocab_size == len(names["tokenizer"]) == 640
    finally:  # what pages register as an example
        TASKS._things.pop("first_word", None)
        TRAINERS._things.pop("mine", None)


def run_block(block: Block, place: Path, names: dict[str, Any]) -> None:
    """Run a block in the current folder; /tmp/tokgraft of the pages is `place`/out. `names` is what earlier Python blocks of the page defined."""
    code = block.code.replace("/tmp/tokgraft", str(place / "out"))
    if block.language == "yaml":
        path, content = settings(block.page, block)
        if path.startswith("config/"):
            Path(path).write_text(yaml.safe_dump(shrink(content, Path(path).parent.name)))
    elif block.language == "python":
        exec(compile(code, block.name, "exec", dont_inherit=True), names)
    else:
        for line in commands(code):
            run_line(line, block.name)


def run_line(line: str, where: str = "") -> None:
    """Run a command: one of ours in this process, which spares a start of five seconds, another one in a shell."""
    words = shlex.split(line, comments=True)
    if words[0] != "tokgraft":
        subprocess.run(["bash", "-ec", line], check=True)
        return
    words, _, target = (words, "", "") if ">" not in words else (words[: words.index(">")], ">", words[-1])
    expanded = [inner for word in words[1:] for inner in _expand(word)]
    with contextlib.ExitStack() as stack:
        if target:
            stack.enter_context(contextlib.redirect_stdout(stack.enter_context(Path(target).open("w"))))
        assert main(expanded) == 0, f"{where}: {line}"


def _expand(word: str) -> list[str]:
    """Braces and stars as the shell would expand them."""
    if re.search(r"\{.*,.*\}", word) and not word.startswith("{"):
        head, options, tail = re.split(r"[{}]", word, maxsplit=2)
        return [head + option + tail for option in options.split(",")]
    return sorted(map(str, Path().glob(word))) if "*" in word else [word]


def test_the_experiment_of_the_docs_builds_its_matrix() -> None:
    """Every name in it exists, every key is known, and each method that it defines is used."""
    (block,) = (block for block in blocks() if block.page == "docs/experiments.md" and block.language == "yaml")
    _, given = settings(block.page, block)
    matrix = load_matrix(json.dumps(given), ROOT / "config")
    (grid,) = given["grids"]
    asked = {method.partition("+")[0] for method in {cell.method for cell in matrix.cells}}
    assert asked == set(grid["methods"]) >= set(given["methods"])
    chains = len(grid["refiners"])
    transplants = len(grid["tokenizers"]) * (len(grid["methods"]) - 1) * chains * len(grid["seeds"])
    assert len(matrix.cells) == transplants + chains * len(grid["seeds"])  # the control has one tokenizer, its own
    places = Places(matrix)
    assert all(places.cell(cell) for cell in matrix.cells)
