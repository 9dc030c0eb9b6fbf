"""Models are written in the floating type that they were published in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

import tokgraft
import toys
from tokgraft.cli import main
from tokgraft.config.model import BaseModelConfig
from tokgraft.errors import ConfigError, ModelError
from tokgraft.models.build import build_model
from tokgraft.models.dtypes import round_weights
from tokgraft.models.io import embedding_tables, load_model, save_model
from tokgraft.models.weights import stored_dtype

NARROW = ["bfloat16", "float16"]


def kinds(folder: Path) -> set[str]:
    return {str(tensor.dtype).removeprefix("torch.") for tensor in load_file(folder / "model.safetensors").values()}


def base(place: Path, dtype: str, tied: bool = True, kind: str = "byte_level") -> Path:
    """A base as transformers writes it in a floating type."""
    tokenizer = toys.tokenizer(kind)
    model: Any = toys.encoder(len(tokenizer)) if kind == "wordpiece" else toys.decoder(
        len(tokenizer), tied, bos=tokenizer.bos_token_id, eos=tokenizer.eos_token_id, pad=tokenizer.pad_token_id
    )  # fmt: skip
    model.to(getattr(torch, dtype)).save_pretrained(place)
    tokenizer.save_pretrained(place)
    return place


def target(place: Path) -> Path:
    toys.tokenizer("sp_bpe", 600, "both").save_pretrained(place)
    return place


def weight_bytes(folder: Path) -> int:
    return (folder / "model.safetensors").stat().st_size


@pytest.mark.parametrize("dtype", ["float32", *NARROW])
@pytest.mark.parametrize("kind", ["tied", "untied", "wordpiece"])
def test_a_transplant_is_written_in_the_bases_type(tmp_path, dtype, kind):
    old = base(tmp_path / "base", dtype, kind == "tied", "wordpiece" if kind == "wordpiece" else "byte_level")
    out = tokgraft.transplant(model=old, tokenizer=target(tmp_path / "new"), method="mean", out=tmp_path / "out")
    assert kinds(out) == {dtype} == {stored_dtype(out)} and json.loads((out / "config.json").read_text())["dtype"] == dtype
    wide = tokgraft.transplant(model=old, tokenizer=tmp_path / "new", method="mean", dtype="float32", out=tmp_path / "wide")
    assert kinds(wide) == {"float32"} and json.loads((wide / "config.json").read_text())["dtype"] == "float32"
    ratio = weight_bytes(out) / weight_bytes(wide)
    assert ratio == pytest.approx(1 if dtype == "float32" else 0.5, rel=0.05)
    before, after = load_file(old / "model.safetensors"), load_file(out / "model.safetensors")
    body = [name for name in before if before[name].shape == after[name].shape]
    assert body and all(torch.equal(before[name], after[name]) for name in body)
    exact, rounded = load_file(wide / "model.safetensors"), load_file(out / "model.safetensors")
    assert all(torch.equal(rounded[name], exact[name].to(rounded[name].dtype)) for name in exact), "rounded once, from float32"


@pytest.mark.parametrize("dtype", NARROW)
def test_a_chosen_type_rounds_every_weight(tmp_path, dtype):
    old, new = base(tmp_path / "base", "float32"), target(tmp_path / "new")
    call = ["transplant", "--model", str(old), "--tokenizer", str(new), "--method", "mean"]
    assert main([*call, "--out", str(tmp_path / "plain")]) == 0
    assert main([*call, "--dtype", dtype, "--out", str(tmp_path / "out")]) == 0
    assert kinds(tmp_path / "plain") == {"float32"} and kinds(tmp_path / "out") == {dtype}
    ids = torch.tensor([[5, 6, 7, 300]])
    plain, rounded = (
        AutoModelForCausalLM.from_pretrained(tmp_path / name, dtype=torch.float32)(ids).logits.detach() for name in ("plain", "out")
    )
    assert torch.allclose(plain, rounded, atol=0.05 * float(plain.abs().max())) and not torch.equal(plain, rounded)


def test_an_unknown_type_is_refused(tmp_path, capsys):
    old = base(tmp_path / "base", "float32")
    with pytest.raises(ConfigError, match="dtype is 'float8'"):
        tokgraft.transplant(model=old, tokenizer=target(tmp_path / "new"), method="mean", dtype="float8", out=tmp_path / "out")
    assert main(["transplant", "--model", str(old), "--method", "none", "--dtype", "half", "--out", str(tmp_path / "out")]) == 2
    assert "half" in capsys.readouterr().err


def test_weights_that_are_stored_wider_stay_exact(tmp_path):
    """Routers and norms of published models are often float32 in a bfloat16 file."""
    old = base(tmp_path / "base", "bfloat16")
    tensors = load_file(old / "model.safetensors")
    norm = "model.norm.weight"
    tensors[norm] = tensors[norm].float() + 1e-5
    save_file(tensors, old / "model.safetensors", metadata={"format": "pt"})
    out = tokgraft.transplant(model=old, tokenizer=target(tmp_path / "new"), method="mean", out=tmp_path / "out")
    written = load_file(out / "model.safetensors")
    assert torch.equal(written[norm], tensors[norm]) and written["model.embed_tokens.weight"].dtype == torch.bfloat16


def test_none_leaves_every_byte_of_a_narrow_base(tmp_path):
    first = tokgraft.transplant(model=base(tmp_path / "base", "bfloat16"), method="none", out=tmp_path / "out")
    before, after = load_file(tmp_path / "base" / "model.safetensors"), load_file(first / "model.safetensors")
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)


def test_what_a_type_cannot_hold_is_named(tmp_path):
    model = toys.decoder(300, True)
    with torch.no_grad():
        model.model.norm.weight[3] = 1e6
    with pytest.raises(ModelError, match=r"model\.norm\.weight holds 1e\+06, which float16 cannot hold"):
        round_weights(model, "float16")
    round_weights(model, "bfloat16")


@pytest.mark.parametrize(("chosen", "written"), [(None, "bfloat16"), ("float32", "float32"), ("float16", "float16")])
def test_an_import_keeps_the_type_or_takes_the_configurations(tmp_path, chosen, written):
    old = base(tmp_path / "base", "bfloat16")
    settings = {"name": "Mine", "source": {"kind": "local", "path": str(old)}} | ({} if chosen is None else {"dtype": chosen})
    config = BaseModelConfig.parse(settings, "settings")
    assert ("dtype" in config.canonical()) == (chosen is not None)
    build_model(config, tmp_path / "out")
    assert kinds(tmp_path / "out") == {written}
    expected, _ = embedding_tables(load_model(old))
    found, _ = embedding_tables(load_model(tmp_path / "out"))
    assert (found == expected).all() or chosen == "float16"


def test_a_trained_model_is_written_as_it_was_trained(saved: Path, tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    """Training computes in float32, and rounding what it has learnt would lose of it: `save_model` writes float32 unless it is told."""
    model = load_model(saved)
    save_model(model.bfloat16(), tokenizer, tmp_path / "half")
    assert kinds(tmp_path / "half") == {"float32"}


def test_a_model_is_converted_by_the_method_that_changes_nothing(tmp_path):
    old = base(tmp_path / "base", "float32")
    out = tokgraft.transplant(model=old, method="none", dtype="bfloat16", out=tmp_path / "out")
    before, after = load_file(old / "model.safetensors"), load_file(out / "model.safetensors")
    assert all(torch.equal(after[name], before[name].bfloat16()) for name in before)
