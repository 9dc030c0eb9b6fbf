"""A hydra reads source and target tokens with one body, and writes target tokens."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

import tokgraft
import toys
from tokgraft import artifacts
from tokgraft.cli import main
from tokgraft.errors import ArtifactError, ModelError
from tokgraft.models.io import load_model, save_model
from tokgraft.transplant import hydra

TEXT = "The table shows all values."


def folders(place: Path, tied: bool) -> tuple[Path, Path]:
    source, target = toys.tokenizer("byte_level"), toys.tokenizer("sp_bpe", 600, "both")
    save_model(toys.decoder(len(source) + 12, tied), source, place / "base")  # padded rows behind the last token
    target.save_pretrained(place / "target")
    tokgraft.transplant(model=place / "base", tokenizer=place / "target", method="mean", out=place / "adapted", pad_to_multiple=64)
    return place / "base", place / "adapted"


@pytest.mark.parametrize("tied", [True, False])
def test_reads_both_and_writes_one(tmp_path: Path, tied: bool) -> None:
    base, adapted = folders(tmp_path, tied)
    two = hydra.load(hydra.export(adapted, base, tmp_path / "out"))
    one, old = load_model(adapted), load_model(base)
    rows = one.get_input_embeddings().weight.shape[0]
    assert two.offset == rows and rows % 64 == 0
    target = torch.tensor([two.target.encode(TEXT, add_special_tokens=False)])
    source = torch.tensor([two.source_ids(TEXT)])
    with torch.no_grad():
        assert torch.equal(two.model(target).logits, one(target).logits), "as the adapted model"
        known = old.model(source - two.offset).last_hidden_state
        assert torch.equal(two.model.model(source).last_hidden_state, known), "the body of both is the base's here"
        assert torch.equal(two.model(source).logits, one.get_output_embeddings()(known))
        mixed = torch.cat([source, target[:, :3]], dim=1)
        assert two.model(mixed).logits.shape == (1, mixed.shape[1], rows)
        written = two.model.generate(mixed, max_new_tokens=5, do_sample=False, eos_token_id=None)[0, mixed.shape[1] :]
    assert len(written) == 5 and int(written.max()) < rows


def test_it_can_be_trained(tmp_path: Path) -> None:
    base, adapted = folders(tmp_path, True)
    two = hydra.load(hydra.export(adapted, base, tmp_path / "out"))
    source, target = two.source_ids(TEXT), two.target.encode("Die Tabelle zeigt alle Werte.", add_special_tokens=False)
    loss = two.model(torch.tensor([[*source, *target]]), labels=torch.tensor([[-100] * len(source) + target])).loss
    loss.backward()
    moved = two.model.get_input_embeddings().weight.grad.abs().sum(dim=1) > 0
    assert set(torch.nonzero(moved)[:, 0].tolist()) == {*source, *target[:-1]}


def test_bytes_and_errors(tmp_path: Path) -> None:
    base, adapted = folders(tmp_path, True)
    first, second = hydra.export(adapted, base, tmp_path / "a"), tmp_path / "b"
    assert main(["hydra", "--adapted", str(adapted), "--base", str(base), "--out", str(second)]) == 0
    assert artifacts.fingerprint(first) == artifacts.fingerprint(second)
    assert artifacts.verify(first) == []
    with pytest.raises(RuntimeError, match=r"size mismatch|mismatched"):
        AutoModelForCausalLM.from_pretrained(first)
    with pytest.raises(ArtifactError):
        hydra.load(adapted)
    save_model(toys.decoder(len(toys.tokenizer("byte_level")), True, width=32), toys.tokenizer("byte_level"), tmp_path / "wide")
    with pytest.raises(ModelError, match="rows of 32 numbers"):
        hydra.export(adapted, tmp_path / "wide", tmp_path / "c")
    facts = json.loads((first / "hydra.json").read_text())
    (first / "hydra.json").write_text(json.dumps({**facts, "source_rows": 3}))
    with pytest.raises(ArtifactError, match="the hydra is damaged"):
        hydra.load(first)
