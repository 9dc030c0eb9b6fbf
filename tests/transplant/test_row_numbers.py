"""How many rows a written table has, and what the rows hold that no token has."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForMaskedLM

import tokgraft
import toys
from tokgraft import artifacts
from tokgraft.cli import main
from tokgraft.errors import ConfigError
from tokgraft.models.io import save_model


def folders(place: Path, extra: int = 0) -> dict[str, Any]:
    """A base with padded rows and a smaller tokenizer, as arguments of a transplant."""
    tokenizer = toys.tokenizer("byte_level")
    save_model(toys.decoder(len(tokenizer) + extra, False), tokenizer, place / "base")
    toys.tokenizer("byte_level", 500, "both").save_pretrained(place / "new")
    return {"model": place / "base", "tokenizer": place / "new", "method": "mean", "out": place / "out"}


def tables(folder: Path) -> list[Any]:
    weights = load_file(folder / "model.safetensors")
    return [weights[name].numpy() for name in ("model.embed_tokens.weight", "lm_head.weight")]


@pytest.mark.parametrize(("rows", "expected"), [(None, 500), (500, 500), (517, 517), ("base", 812)])
def test_the_number_that_was_asked_for(tmp_path: Path, rows: Any, expected: int) -> None:
    call = folders(tmp_path, extra=12)
    out = tokgraft.transplant(**call, rows=rows)
    plain = tokgraft.transplant(**{**call, "out": tmp_path / "plain"})
    for new, before in zip(tables(out), tables(plain)):
        assert len(new) == expected and np.array_equal(new[:500], before)
        assert np.allclose(new[500:], before.astype(np.float64).mean(axis=0), atol=1e-7)
    assert AutoConfig.from_pretrained(out).vocab_size == expected
    facts = json.loads((out / "transplant.json").read_text())
    assert (facts["rows"], facts["padded_rows"]) == (expected, expected - 500)
    assert artifacts.read(out)["settings"].get("rows") == rows


def test_a_head_with_a_bias_keeps_them_out(tmp_path: Path) -> None:
    tokenizer = toys.tokenizer("wordpiece")
    save_model(toys.encoder(len(tokenizer)), tokenizer, tmp_path / "base")
    toys.tokenizer("unigram", 600, "both").save_pretrained(tmp_path / "new")
    out = tokgraft.transplant(model=tmp_path / "base", tokenizer=tmp_path / "new", method="mean", out=tmp_path / "out", rows=700)
    bias = AutoModelForMaskedLM.from_pretrained(out).get_output_embeddings().bias
    assert len(bias) == 700 and (bias[600:] == -1e4).all() and (bias[:600] > -1e3).all()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"rows": 499}, r"rows are 499, and the new vocabulary needs 500\n  -> give 500 or more"),
        ({"rows": 512, "pad_to_multiple": 64}, "both say how many rows"),
        ({"rows": True}, "rows True is not possible"),
        ({"method": "none", "tokenizer": None, "rows": 900}, "the method none keeps"),
        ({"method": "none", "tokenizer": None, "pad_to_multiple": 64}, "the method none keeps"),
    ],
)
def test_what_is_not_possible_is_refused(tmp_path: Path, more: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        tokgraft.transplant(**{**folders(tmp_path), **more})
    assert not (tmp_path / "out").exists()


def test_a_base_with_too_few_rows(tmp_path: Path) -> None:
    call = folders(tmp_path)
    swapped = {"model": tmp_path / "small", "tokenizer": call["model"]}
    save_model(toys.decoder(512, True), toys.tokenizer("byte_level", 500, "both"), tmp_path / "small")
    with pytest.raises(ConfigError, match=r"the base has 512, and the new vocabulary needs 800"):
        tokgraft.transplant(**{**call, **swapped}, rows="base")


def test_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call = folders(tmp_path, extra=12)
    common = [
        "transplant",
        "--model",
        str(call["model"]),
        "--tokenizer",
        str(call["tokenizer"]),
        "--method",
        "mean",
        "--out",
        str(call["out"]),
    ]
    assert main([*common, "--rows", "base"]) == 0 and len(tables(call["out"])[0]) == 812
    assert main([*common, "--rows", "640"]) == 0 and len(tables(call["out"])[0]) == 640
    assert main([*common, "--rows", "640", "--pad-to-multiple", "64"]) == 2
    assert "not allowed with argument" in capsys.readouterr().err
