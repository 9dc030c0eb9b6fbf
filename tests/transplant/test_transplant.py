"""The transplant stage: complete model folders from real folders, and clear errors before any work."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, AutoTokenizer, PreTrainedTokenizerFast

import tokgraft
import toys
import toytasks
from tokgraft import artifacts, methods
from tokgraft.cli import main
from tokgraft.errors import ArtifactError, ConfigError, ModelError, TokenizerError
from tokgraft.logs import log
from tokgraft.methods import METHODS
from tokgraft.models.io import save_model
from tokgraft.vocab import Vocabulary

TEXT = "Die Tabelle zeigt 12,5 % aller Werte."


def base(place: Path, kind: str = "byte_level", tied: bool = True, extra: int = 0) -> Path:
    """A base model folder; `extra` padded rows behind the last token."""
    tokenizer = toys.tokenizer(kind)
    rows = len(tokenizer) + extra
    if kind == "wordpiece":
        model: Any = toys.encoder(rows)
    else:
        model = toys.decoder(rows, tied, bos=tokenizer.bos_token_id, eos=tokenizer.eos_token_id, pad=tokenizer.pad_token_id)
    save_model(model, tokenizer, place / "base")
    return place / "base"


def target(place: Path, kind: str = "sp_bpe") -> Path:
    toys.tokenizer(kind, 600, "both").save_pretrained(place / f"new-{kind}")
    return place / f"new-{kind}"


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


@pytest.mark.parametrize("tied", [True, False])
def test_adapted_folder_loads_in_plain_transformers(tmp_path: Path, tied: bool) -> None:
    old, new, out = base(tmp_path, tied=tied, extra=12), target(tmp_path), tmp_path / "out"
    assert tokgraft.transplant(model=old, tokenizer=new, method="mean", out=out) == out
    model, tokenizer = AutoModelForCausalLM.from_pretrained(out), AutoTokenizer.from_pretrained(out)
    size = len(tokenizer)
    assert model.config.vocab_size == model.get_input_embeddings().weight.shape[0] == model.lm_head.weight.shape[0] == size
    assert (model.lm_head.weight.data_ptr() == model.get_input_embeddings().weight.data_ptr()) == tied
    assert (model.config.bos_token_id, model.config.eos_token_id) == (tokenizer.bos_token_id, tokenizer.eos_token_id) == (1, 2)
    assert (model.generation_config.bos_token_id, model.generation_config.eos_token_id) == (1, 2)
    encoded = tokenizer(TEXT, return_tensors="pt")
    assert tokenizer.decode(encoded["input_ids"][0], skip_special_tokens=True) == TEXT
    generated = model.generate(input_ids=encoded["input_ids"], max_new_tokens=4, do_sample=False)
    assert generated.max() < size and torch.isfinite(model(input_ids=generated).logits).all()
    before, after = weights(old), weights(out)
    body = [name for name in before if "embed_tokens" not in name and "lm_head" not in name]
    assert body and all(torch.equal(before[name], after[name]) for name in body)
    assert artifacts.verify(out) == []
    manifest = artifacts.read(out)
    assert manifest["settings"] == {
        "method": "mean", "pad_to_multiple": None, "params": {"mean": {}}, "seed": 0, "versions": {"mean": 1},
    }  # fmt: skip
    assert set(manifest["inputs"]) == {"model", "tokenizer"} and "timing.json" not in manifest["files"]


def test_provenance_and_facts_add_up(tmp_path: Path) -> None:
    old, new, out = base(tmp_path), target(tmp_path), tmp_path / "out"
    tokgraft.transplant(model=old, tokenizer=new, method="mean", out=out)
    lines = [json.loads(line) for line in (out / "provenance.jsonl").read_text(encoding="utf-8").splitlines()]
    facts = json.loads((out / "transplant.json").read_text())
    table = weights(out)["model.embed_tokens.weight"].numpy()
    source = weights(old)["model.embed_tokens.weight"].numpy()
    assert [line["id"] for line in lines] == list(range(len(table))) and sum(facts["how"].values()) == len(table) == facts["rows"]
    for line in lines:
        if line["how"] in ("copied", "role"):
            assert np.array_equal(table[line["id"]], source[line["from"][0]])
        elif line["how"] == "combined":
            assert np.allclose(table[line["id"]], source[line["from"]].mean(axis=0), atol=1e-6)
    shared = [line for line in lines if line["how"] == "copied"]
    assert facts["overlap"]["tokens"] == len(shared) and 0.2 < facts["overlap"]["share"] < 1
    assert facts["norms"]["source_input"]["mean"] == pytest.approx(np.linalg.norm(source, axis=1).mean(), rel=1e-4)


@pytest.mark.parametrize("kind", toys.KINDS)
def test_every_kind_of_tokenizer_and_every_method(tmp_path: Path, kind: str) -> None:
    old, new = base(tmp_path), target(tmp_path, kind)
    for name, entry in METHODS.items():
        if entry.keeps_tokenizer or not entry.tied or (entry.bpe_target and kind in ("unigram", "wordpiece")):
            continue
        resources = toytasks.made(set(entry.requires), toys.tokenizer(kind, 600, "both"))
        folder = tokgraft.transplant(model=old, tokenizer=new, method=name, out=tmp_path / name, resources=resources)
        assert json.loads((folder / "transplant.json").read_text())["method"] == name
    tables = {name: weights(tmp_path / name)["model.embed_tokens.weight"] for name in METHODS.names() if (tmp_path / name).is_dir()}
    assert len({table.numpy().tobytes() for table in tables.values()}) == len(tables), "no two methods give the same rows"


def test_encoder_with_a_bias_on_its_head(tmp_path: Path) -> None:
    old, new, out = base(tmp_path, "wordpiece"), target(tmp_path, "unigram"), tmp_path / "out"
    tokgraft.transplant(model=old, tokenizer=new, method="mean", out=out)
    model = AutoModelForMaskedLM.from_pretrained(out)
    source, goal = (Vocabulary.from_tokenizer(AutoTokenizer.from_pretrained(folder)) for folder in (old, out))
    before = AutoModelForMaskedLM.from_pretrained(old).get_output_embeddings().bias
    after = model.get_output_embeddings().bias
    assert len(after) == len(goal) == model.config.vocab_size
    assert after[goal.roles["mask"]] == before[source.roles["mask"]]
    assert model.config.pad_token_id == goal.roles["pad"]
    assert torch.isfinite(model(input_ids=torch.tensor([[0, 5, 6, 7]])).logits).all()


@pytest.mark.parametrize("tied", [True, False])
def test_none_leaves_every_weight_as_it_is(tmp_path: Path, tied: bool) -> None:
    old = base(tmp_path, tied=tied, extra=12)
    tokgraft.transplant(model=old, method="none", out=tmp_path / "out")
    tokgraft.transplant(model=old, tokenizer=old, method="none", out=tmp_path / "again")
    assert (old / "model.safetensors").read_bytes() == (tmp_path / "out" / "model.safetensors").read_bytes()
    assert artifacts.fingerprint(tmp_path / "out") == artifacts.fingerprint(tmp_path / "again")


def text_of(kind: str, size: int = 600, text: str = "both") -> dict[str, Any]:
    return dict(toytasks.made({"target_text"}, toys.tokenizer(kind, size, text)))


def test_a_refiner_unties_a_tied_model_and_says_so(tmp_path: Path) -> None:
    old, new, resources = base(tmp_path), target(tmp_path), text_of("sp_bpe")
    plain = tokgraft.transplant(model=old, tokenizer=new, method="mean", out=tmp_path / "plain")
    call = {"model": old, "tokenizer": new, "resources": resources}
    tied = tokgraft.transplant(method="mean+prior", out=tmp_path / "tied", **call)
    untied = tokgraft.transplant(method="mean+prior+readout", params={"prior": {"untie": True}}, out=tmp_path / "untied", **call)
    again = tokgraft.transplant(method="mean+prior+readout", params={"prior": {"untie": True}}, out=tmp_path / "again", **call)
    assert artifacts.fingerprint(untied) == artifacts.fingerprint(again)
    assert set(weights(tied)) == set(weights(plain)) and set(weights(untied)) == {*weights(plain), "lm_head.weight"}
    assert torch.equal(weights(untied)["model.embed_tokens.weight"], weights(plain)["model.embed_tokens.weight"])
    for folder, has in ((plain, True), (tied, True), (untied, False)):
        model = AutoModelForCausalLM.from_pretrained(folder)
        assert model.config.tie_word_embeddings == has
        assert (model.lm_head.weight.data_ptr() == model.get_input_embeddings().weight.data_ptr()) == has
        assert json.loads((folder / "transplant.json").read_text())["tied"] == has
        assert torch.isfinite(model(input_ids=torch.tensor([[0, 5, 6]])).logits).all()
    assert set(artifacts.read(untied)["inputs"]) == {"model", "tokenizer", "resource_target_text"}


@pytest.mark.parametrize("tied", [True, False])
def test_the_control_of_a_refiner_keeps_tokenizer_and_padding(tmp_path: Path, tied: bool) -> None:
    old = base(tmp_path, tied=tied, extra=12)
    resources = text_of("byte_level", 800, "english")
    folder = tokgraft.transplant(model=old, method="none+readout", out=tmp_path / "out", resources=resources)
    before, after = weights(old), weights(folder)
    assert torch.equal(after["model.embed_tokens.weight"], before["model.embed_tokens.weight"])
    head = before["model.embed_tokens.weight" if tied else "lm_head.weight"]
    assert torch.equal(after["lm_head.weight"][-12:], head[-12:]) and not torch.allclose(after["lm_head.weight"][:-12], head[:-12])


def test_refiners_of_the_head_refuse_an_encoder(tmp_path: Path) -> None:
    old, new = base(tmp_path, "wordpiece"), target(tmp_path)
    with pytest.raises(ModelError, match="need a causal language model"):
        tokgraft.transplant(model=old, tokenizer=new, method="mean+prior", resources=text_of("sp_bpe"), out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_padded_rows_of_the_base_do_not_count(tmp_path: Path) -> None:
    new = target(tmp_path)
    tables = []
    for name, value in (("a", 0.0), ("b", 500.0)):
        old = base(tmp_path / name, extra=20)
        state = weights(old)
        state["model.embed_tokens.weight"][-20:] = value
        save_file(state, old / "model.safetensors", metadata={"format": "pt"})
        tokgraft.transplant(model=old, tokenizer=new, method="multivariate", params={"eps": 0.1}, out=tmp_path / name / "out")
        tables.append(weights(tmp_path / name / "out")["model.embed_tokens.weight"])
    assert torch.equal(*tables)
    assert tables[0].abs().max() < 50


def test_padding_only_when_asked(tmp_path: Path) -> None:
    old, new = base(tmp_path, "wordpiece"), target(tmp_path, "unigram")
    tokgraft.transplant(model=old, tokenizer=new, method="mean", out=tmp_path / "out", pad_to_multiple=64)
    model, tokenizer = AutoModelForMaskedLM.from_pretrained(tmp_path / "out"), AutoTokenizer.from_pretrained(tmp_path / "out")
    assert model.config.vocab_size % 64 == 0 and model.config.vocab_size > len(tokenizer)
    logits = model(input_ids=torch.tensor([[0, 5, 6, 7]])).logits
    assert logits[..., len(tokenizer) :].max() < -1000, "a head with a bias can keep padded rows out"
    facts = json.loads((tmp_path / "out" / "transplant.json").read_text())
    assert facts["padded_rows"] == model.config.vocab_size - len(tokenizer)


def test_same_call_same_bytes_and_seeds_differ(tmp_path: Path) -> None:
    old, new = base(tmp_path), target(tmp_path)
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        tokgraft.transplant(model=old, tokenizer=new, method="random", out=tmp_path / name, seed=seed)
    prints = [artifacts.fingerprint(tmp_path / name) for name in "abc"]
    assert prints[0] == prints[1] != prints[2]


@pytest.mark.parametrize(
    ("method", "kept", "told"),
    [("random", True, True), ("mean", True, False), ("factorized_overlap", True, True), ("random", False, False)],
)
def test_changed_rows_of_an_extended_vocabulary_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, method: str, kept: bool, told: bool
) -> None:
    monkeypatch.setattr(log, "propagate", True)
    old = base(tmp_path)
    tokgraft.transplant(model=old, tokenizer=old if kept else target(tmp_path), method=method, out=tmp_path / "out")
    assert ("the base's own languages will suffer" in caplog.text) == told


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, new = base(tmp_path), target(tmp_path)
    common = ["transplant", "--model", str(old), "--tokenizer", str(new), "--out", str(tmp_path / "out")]
    assert main([*common, "--method", "multivariate", "--settings", '{"copy_overlap": false}', "--set", "eps=1e-3", "--seed", "4"]) == 0
    settings = artifacts.read(tmp_path / "out")["settings"]
    assert settings["params"] == {"multivariate": {"copy_overlap": False, "eps": 0.001}} and settings["seed"] == 4
    folder = toytasks.made({"token_vectors"}, toys.tokenizer("sp_bpe", 600, "both"))["token_vectors"]
    assert main([*common, "--method", "focus", "--resource", f"token_vectors={folder}"]) == 0
    assert set(artifacts.read(tmp_path / "out")["inputs"]) == {"model", "tokenizer", "resource_token_vectors"}
    assert main([*common, "--method", "focs"]) == 2
    assert "did you mean focus" in capsys.readouterr().err
    assert main([*common, "--method", "mean", "--set", "eps"]) == 2
    assert "KEY=VALUE" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"method": "meen"}, ConfigError, "did you mean mean"),
        ({"method": "multivariate", "params": {"esp": 1}}, ConfigError, "did you mean eps"),
        ({"method": "focus"}, ConfigError, "tokgraft resource --name token_vectors --corpus DIR --tokenizer DIR"),
        ({"method": "focus", "resources": {"token_vector": "x"}}, ConfigError, "did you mean token_vectors"),
        ({"method": "focus", "resources": {"token_vectors": "nowhere"}}, ArtifactError, "nowhere"),
        ({"method": "none"}, ConfigError, "keeps the original tokenizer"),
        ({"model": "nowhere"}, ModelError, "nowhere does not exist"),
        ({"tokenizer": "nowhere"}, ArtifactError, "nowhere does not exist"),
    ],
)
def test_bad_calls_are_explained(tmp_path: Path, arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    call = {"model": base(tmp_path), "tokenizer": target(tmp_path), "method": "mean", "out": tmp_path / "out", **arguments}
    with pytest.raises(error, match=message):
        tokgraft.transplant(**call)
    assert not (tmp_path / "out").exists()


def test_damaged_models_and_tokenizers_are_refused(tmp_path: Path) -> None:
    new = target(tmp_path)
    old = base(tmp_path / "nan")
    state = weights(old)
    state["model.embed_tokens.weight"][[7, 31], 0] = float("nan")
    save_file(state, old / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match="7, 31"):
        tokgraft.transplant(model=old, tokenizer=new, out=tmp_path / "out")
    short = base(tmp_path / "short")
    grown = AutoTokenizer.from_pretrained(short)
    grown.add_tokens(["Zwölfeck"])
    grown.save_pretrained(short)
    with pytest.raises(ModelError, match="without a row"):
        tokgraft.transplant(model=short, tokenizer=new, out=tmp_path / "out")
    good = base(tmp_path / "good")
    PreTrainedTokenizerFast(tokenizer_object=toys.tokenizer("byte_level").backend_tokenizer).save_pretrained(tmp_path / "roleless")
    with pytest.raises(TokenizerError, match="has a role"):
        tokgraft.transplant(model=good, tokenizer=tmp_path / "roleless", out=tmp_path / "out")
    with pytest.raises(ArtifactError, match="would replace an input"):
        tokgraft.transplant(model=good, tokenizer=new, out=good)
    assert not (tmp_path / "out").exists()


def _nan(folder: Path) -> None:
    state = weights(folder)
    state["model.layers.0.mlp.up_proj.weight"][3, 1] = float("nan")
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})


def _cut(folder: Path) -> None:
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[: len(content) // 2])


def _no_safetensors(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"\x00" * 7)


def _more_rows_in_the_config(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "vocab_size": config["vocab_size"] + 64}))


def _fewer_rows_than_tokens(folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["Zwölfeck", "Dreieck"])
    tokenizer.save_pretrained(folder)


def _lost_weights(folder: Path) -> None:
    state = weights(folder)
    del state["model.norm.weight"]
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_nan, r"up_proj\.weight holds NaN or Inf in 1 of \d+ values\n  -> .*fetch"),
        (_cut, r"model\.safetensors cannot be read: .*\n  -> "),
        (_no_safetensors, r"model\.safetensors cannot be read: .*\n  -> "),
        (_more_rows_in_the_config, r"base cannot be loaded: .*(size|shape|mismatch).*\n  -> "),
        (_fewer_rows_than_tokens, r"2 tokens without a row: ids go to \d+.*'(Zwölfeck|Dreieck)'.*\n  -> "),
        (_lost_weights, r"1 weights are missing, among them model\.norm\.weight\n  -> "),
    ],
    ids=["nan", "cut", "no_safetensors", "config_has_more_rows", "tokens_without_a_row", "lost_weights"],
)
def test_command_line_on_a_damaged_base(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: Callable[[Path], None], message: str
) -> None:
    old, new, out = base(tmp_path), target(tmp_path), tmp_path / "out"
    damage(old)
    assert main(["transplant", "--model", str(old), "--tokenizer", str(new), "--method", "mean", "--out", str(out)]) == 2
    told = capsys.readouterr().err
    assert re.search(rf"tokgraft transplant: error: .*{message}", told), told
    assert "Traceback" not in told and not out.exists() and {path.name for path in tmp_path.iterdir()} == {"base", new.name}


def test_command_line_on_a_donor_of_another_tokenizer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, new = base(tmp_path), target(tmp_path)
    donor = tmp_path / "donor"
    shutil.copytree(toytasks.made({"donor"}, toys.tokenizer("byte_level", 600, "both"))["donor"], donor)
    command = ["transplant", "--model", str(old), "--tokenizer", str(new), "--method", "clp", "--resource", f"donor={donor}"]
    assert main([*command, "--out", str(tmp_path / "out")]) == 2
    assert re.search(r"donor was made for another tokenizer\n  -> make it for this one", capsys.readouterr().err)
    (donor / "resource.json").write_bytes(b"{")
    assert main([*command, "--out", str(tmp_path / "out")]) == 2
    assert re.search(r"the resource_donor is damaged: .*resource.json: 1 bytes, the manifest says", capsys.readouterr().err)
    assert not (tmp_path / "out").exists()


def test_a_method_that_cannot_treat_the_model_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    METHODS.names()
    monkeypatch.setitem(METHODS._things, "mean", replace(METHODS.get("mean"), untied=False))
    with pytest.raises(ModelError, match="mean cannot treat a model with two tables"):
        tokgraft.transplant(model=base(tmp_path, tied=False), tokenizer=target(tmp_path), method="mean", out=tmp_path / "out")
    assert methods.parse("mean").first.untied is False
