"""The recipe of docs/identical-vocabulary.md, as it stands there: a draft with the ids and rows of a large model."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import toys
from tokgraft.models.io import load_model, load_tokenizer, save_model

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "identical-vocabulary.md").read_text(encoding="utf-8")


def blocks() -> list[tuple[str, str]]:
    """(language, code) of each block of the recipe."""
    recipe = PAGE.split("<!-- recipe:begin -->")[1].split("<!-- recipe:end -->")[0]
    return re.findall(r"```(\w+)\n(.*?)```", recipe, re.DOTALL)


@pytest.mark.parametrize("kind", ["the same tokens in another order", "another vocabulary"])
def test_the_recipe_gives_equal_ids_and_rows(tmp_path: Path, kind: str) -> None:
    small, large = toys.tokenizer("byte_level"), toys.permuted(toys.tokenizer("byte_level"))[0]
    if kind == "another vocabulary":
        large = toys.tokenizer("sp_bpe", 600, "both")
    save_model(toys.decoder(len(small) + 3, True), small, tmp_path / "small")
    save_model(toys.decoder(896, False, width=32, seed=5), large, tmp_path / "large")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    ran = []
    for language, code in blocks():
        argv = ["bash", "-ec", code] if language == "bash" else [sys.executable, "-c", code]
        done = subprocess.run(argv, cwd=tmp_path, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        ran.append(language)
    assert ran == ["bash", "python"]
    draft, tokenizer = load_model(tmp_path / "draft"), load_tokenizer(tmp_path / "draft")
    assert tokenizer.get_vocab() == large.get_vocab() and draft.get_input_embeddings().weight.shape[0] == 896
    if kind == "the same tokens in another order":
        text = "The table shows all values."
        old, new = (torch.tensor([one.encode(text, add_special_tokens=False)]) for one in (small, large))
        with torch.no_grad():
            before, after = load_model(tmp_path / "small")(input_ids=old).logits, draft(input_ids=new).logits
        names = small.convert_ids_to_tokens(range(len(small)))
        assert torch.allclose(after[..., large.convert_tokens_to_ids(names)], before[..., : len(small)], atol=1e-5)
