"""Rows of single tokens that the user sets, and what is written down of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM

import tokgraft
import toys
from tokgraft import artifacts
from tokgraft.cli import main
from tokgraft.config import overrides
from tokgraft.errors import ConfigError, UnsupportedError
from tokgraft.models.io import save_model
from tokgraft.segmenter import Segmenter

TEXT = "the end of the table"
KEY = {"input": "model.embed_tokens.weight", "output": "lm_head.weight"}


def folders(place: Path, tied: bool = False) -> dict[str, Any]:
    """A base and another tokenizer, as arguments of a transplant."""
    tokenizer = toys.tokenizer("byte_level")
    save_model(toys.decoder(len(tokenizer), tied), tokenizer, place / "base")
    toys.tokenizer("sp_bpe", 600, "both").save_pretrained(place / "new")
    return {"model": place / "base", "tokenizer": place / "new", "method": "mean", "out": place / "out"}


def table(folder: Path, which: str) -> Any:
    return load_file(folder / "model.safetensors")[KEY[which]].numpy()


def ids(*tokens: str) -> list[int]:
    vocabulary = toys.tokenizer("sp_bpe", 600, "both").get_vocab()
    return [vocabulary[token] for token in tokens]


def test_rows_are_what_was_asked_for_and_all_others_stay(tmp_path: Path) -> None:
    call, tokenizer = folders(tmp_path), toys.tokenizer("byte_level")
    plain = tokgraft.transplant(**{**call, "out": tmp_path / "plain"})
    given = {"</s>": "like:<|tool|>", "<unk>": "zero", "<s>": f"text:{TEXT}", "e": "like: the"}
    out = tokgraft.transplant(**call, overrides=given)
    end, unknown, begin, letter = ids("</s>", "<unk>", "<s>", "e")
    pieces = Segmenter(tokenizer).pieces(TEXT.encode())
    assert len(pieces) > 2 and "<s>" not in TEXT
    for which in ("input", "output"):
        source, new, before = table(call["model"], which), table(out, which), table(plain, which)
        assert np.array_equal(new[end], source[tokenizer.convert_tokens_to_ids("<|tool|>")])
        assert np.array_equal(new[letter], source[tokenizer.convert_tokens_to_ids("Ġthe")]), "named by its text"
        assert np.allclose(new[begin], source[pieces].astype(np.float64).mean(axis=0), atol=1e-6)
        others = [number for number in range(len(new)) if number not in (end, unknown, begin, letter)]
        assert np.array_equal(new[others], before[others])
        expected = np.zeros(new.shape[1]) if which == "input" else np.delete(new, unknown, axis=0).astype(np.float64).mean(axis=0)
        assert np.allclose(new[unknown], expected, atol=1e-6)


def test_a_zero_row_is_never_the_most_likely(tmp_path: Path) -> None:
    call = folders(tmp_path)
    out = tokgraft.transplant(**call, overrides={"<unk>": "zero"})
    (unknown,) = ids("<unk>")
    model = AutoModelForCausalLM.from_pretrained(out)
    text = torch.randint(0, model.config.vocab_size, (8, 200), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits = model(input_ids=text).logits
    assert (logits[..., unknown] < logits.amax(dim=-1)).all()
    others = torch.cat([logits[..., :unknown], logits[..., unknown + 1 :]], dim=-1)
    assert torch.allclose(logits[..., unknown], others.mean(dim=-1), atol=1e-4)


def test_what_is_written_down(tmp_path: Path) -> None:
    call, tokenizer = folders(tmp_path), toys.tokenizer("byte_level")
    given = {"</s>": "like:<|tool|>", "<unk>": "zero", "<s>": f"text:{TEXT}"}
    out = tokgraft.transplant(**call, overrides=given)
    sources = [[], list(Segmenter(tokenizer).pieces(TEXT.encode())), [tokenizer.convert_tokens_to_ids("<|tool|>")]]
    lines = [json.loads(line) for line in (out / "provenance.jsonl").read_text().splitlines()]
    assert [line for line in lines if line["how"] == "override"] == [
        {"id": number, "text": text, "how": "override", "from": made}
        for number, text, made in zip(range(3), ["<unk>", "<s>", "</s>"], sources)
    ]
    facts = json.loads((out / "transplant.json").read_text())
    assert facts["how"]["override"] == 3 and sum(facts["how"].values()) == len(lines)
    assert facts["overrides"] == [
        {"id": number, "token": text, "from": made} for number, text, made in zip(range(3), ["<unk>", "<s>", "</s>"], sources)
    ]
    assert artifacts.read(out)["settings"]["overrides"] == given
    other = tokgraft.transplant(**{**call, "out": tmp_path / "other"}, overrides={**given, "</s>": "like:<|end|>"})
    assert artifacts.fingerprint(out) != artifacts.fingerprint(other)


def test_a_tied_model_has_no_zero_row(tmp_path: Path) -> None:
    call = folders(tmp_path, tied=True)
    with pytest.raises(UnsupportedError, match="input and output row at once"):
        tokgraft.transplant(**call, overrides={"<unk>": "zero"})
    out = tokgraft.transplant(**call, overrides={"<unk>": "like:<|tool|>"})
    row = table(call["model"], "input")[toys.tokenizer("byte_level").convert_tokens_to_ids("<|tool|>")]
    assert np.array_equal(table(out, "input")[ids("<unk>")[0]], row)


def test_the_bias_of_a_head_follows(tmp_path: Path) -> None:
    tokenizer = toys.tokenizer("wordpiece")
    save_model(toys.encoder(len(tokenizer)), tokenizer, tmp_path / "base")
    toys.tokenizer("unigram", 600, "both").save_pretrained(tmp_path / "new")
    given = {"<pad>": "zero", "<unk>": "like:[CLS]", "<mask>": "text:the table"}
    call = {"model": tmp_path / "base", "tokenizer": tmp_path / "new", "method": "mean"}
    out = tokgraft.transplant(**call, out=tmp_path / "out", overrides=given)
    old = AutoModelForMaskedLM.from_pretrained(tmp_path / "base").get_output_embeddings().bias.detach().numpy()
    model = AutoModelForMaskedLM.from_pretrained(out)
    new, names = model.get_output_embeddings().bias.detach().numpy(), toys.tokenizer("unigram", 600, "both").get_vocab()
    pieces = Segmenter(tokenizer).pieces(b"the table")
    assert new[names["<unk>"]] == old[tokenizer.cls_token_id] and new[names["<mask>"]] == pytest.approx(old[pieces].mean(), abs=1e-6)
    assert not model.get_input_embeddings().weight[names["<pad>"]].any()
    logits = model(input_ids=torch.tensor([[0, 5, 6, 7]])).logits
    assert logits[..., names["<pad>"]].max() < -1000


@pytest.mark.parametrize("tied", [True, False])
def test_the_base_keeps_its_tokenizer_and_one_row_is_set(tmp_path: Path, tied: bool) -> None:
    call = {**folders(tmp_path, tied), "method": "none", "tokenizer": None}
    out = tokgraft.transplant(**call, overrides={"<|tool|>": "like:<|begin|>"})
    tokenizer = toys.tokenizer("byte_level")
    tool, begin = tokenizer.convert_tokens_to_ids(["<|tool|>", "<|begin|>"])
    for which in ("input",) if tied else ("input", "output"):
        expected = table(call["model"], which)
        expected[tool] = expected[begin]
        assert np.array_equal(table(out, which), expected)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"</S>": "zero"}, r"the new vocabulary has no token '</S>'\n  -> did you mean '</s>'"),
        ({"</s>": "like:<|ends|>"}, r"the base's vocabulary has no token '<\|ends\|>'\n  -> did you mean '<\|end\|>'"),
        ({"</s>": "like"}, r"the override of '</s>' is 'like'\n  -> give like:TOKEN, zero or text:SOME TEXT"),
        ({" the": "zero", "▁the": "zero"}, r"two overrides name the token ' the'"),
        ({" ": "zero"}, r"2 tokens of the new vocabulary stand for ' '\n  -> give the string of one: '<0x20>', '▁'"),
        ({"</s>": 3}, "the override of '</s>' is '3'"),
    ],
)
def test_wrong_overrides_are_explained_before_work(tmp_path: Path, given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        tokgraft.transplant(**folders(tmp_path), overrides=given)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("token", ["=", "a=b", "==", "=zero", "like:", "a=like", " ", "\n"])
@pytest.mark.parametrize("how", ["zero", "like:=", "like:zero", "text:a=b", "text: x=zero ", "text:\n"])
def test_a_flag_is_read_as_it_was_written(token: str, how: str) -> None:
    assert overrides.split(f"{token}={how}") == (token, how)
    assert list(overrides.parse_all({token: how})) == [token]


def test_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call = folders(tmp_path)
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
    assert main([*common, "--override", "</s>=like:<|tool|>", "--override=<unk>=zero", "--override", f"<s>=text:{TEXT}"]) == 0
    settings = artifacts.read(call["out"])["settings"]
    assert settings["overrides"] == {"</s>": "like:<|tool|>", "<unk>": "zero", "<s>": f"text:{TEXT}"}
    assert main([*common, "--override", "</s>=zero", "--override", "</s>=zero"]) == 2
    assert "</s> is given twice" in capsys.readouterr().err
