"""The gate behind a transplant finds what is not as it was meant, and leaves nothing behind then."""

from __future__ import annotations

import json
import logging
import os
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import tokgraft
import toys
from tokgraft.errors import ModelError, TokenizerError
from tokgraft.models.io import save_model
from tokgraft.transplant import _gate, _gate_process, _run
from tokgraft.transplant._gate_process import Failure
from tokgraft.vocab import Vocabulary


@pytest.fixture
def permuted(tmp_path: Path) -> tuple[Path, Path]:
    """A base, and its own tokenizer with other ids."""
    tokenizer = toys.tokenizer("byte_level")
    model = toys.decoder(len(tokenizer), False, bos=tokenizer.bos_token_id, eos=tokenizer.eos_token_id, pad=tokenizer.pad_token_id)
    save_model(model, tokenizer, tmp_path / "base")
    toys.permuted(tokenizer)[0].save_pretrained(tmp_path / "new")
    return tmp_path / "base", tmp_path / "new"


def expected(folder: Path, **more: Any) -> _gate.Expected:
    texts = ["Größe ändern!", "<|tool|>Hi"]
    return _gate.Expected(**{
        "folder": str(folder), "trust_remote_code": False, "texts": texts, "old_sizes": [], "base_added": [], **more,
    })  # fmt: skip


def edit(path: Path, **changes: Any) -> None:
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, **changes}))


def test_what_was_compared_is_written_down(tmp_path: Path, permuted: tuple[Path, Path]) -> None:
    old, new = permuted
    out = tokgraft.transplant(model=old, tokenizer=new, method="mean", out=tmp_path / "out")
    told = json.loads((out / "transplant.json").read_text())["gate"]
    assert told["columns"] == len(toys.tokenizer("byte_level")) and told["texts"] > 20 and told["chats"] == 0


def test_a_row_in_a_wrong_place_stops_the_transplant(tmp_path: Path, permuted: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = permuted

    def wrong(model: Any, inputs: Any, *others: Any) -> None:
        put(model, np.roll(inputs, 1, axis=0), *others)

    put = _run._put
    monkeypatch.setattr(_run, "_put", wrong)
    with pytest.raises(ModelError, match="does not compute what its base computes"):
        tokgraft.transplant(model=old, tokenizer=new, method="mean", out=tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["base", "new"]


def test_weights_that_are_missing_or_too_many(tmp_path: Path, permuted: tuple[Path, Path]) -> None:
    old, _ = permuted
    weights = load_file(old / "model.safetensors")
    save_file({**weights, "model.second.weight": torch.zeros(2)}, old / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"1 unexpected keys, among them model\.second\.weight"):
        _gate.check(expected(old), None)
    weights.pop("model.norm.weight")
    save_file(weights, old / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"1 missing keys, among them model\.norm\.weight"):
        _gate.check(expected(old), None)


@pytest.mark.parametrize("name", ["Qwen2Tokenizer", "GPT2Tokenizer"])
def test_a_class_that_rebuilds_the_tokenizer_is_found(tmp_path: Path, name: str) -> None:
    tokenizer = toys.tokenizer("sp_bpe")
    save_model(toys.decoder(len(tokenizer), True, bos=1, eos=2), tokenizer, tmp_path / "base")
    _gate.check(expected(tmp_path / "base"), None)
    edit(tmp_path / "base" / "tokenizer_config.json", tokenizer_class=name)
    with pytest.raises(TokenizerError, match="AutoTokenizer"):
        _gate.check(expected(tmp_path / "base"), None)


def test_a_token_without_a_row(tmp_path: Path, permuted: tuple[Path, Path]) -> None:
    old, _ = permuted
    spec = json.loads((old / "tokenizer.json").read_text())
    number = len(toys.tokenizer("byte_level"))
    spec["added_tokens"].append({**spec["added_tokens"][0], "id": number, "content": "<|late|>"})
    (old / "tokenizer.json").write_text(json.dumps(spec))
    with pytest.raises(TokenizerError, match=rf"1 tokens have no row, among them '<\|late\|>' \(id {number} of {number} rows\)"):
        _gate.check(expected(old), None)


def test_a_table_of_the_old_size_is_found_unless_the_size_is_another_of_the_model() -> None:
    model = torch.nn.Module()
    model.get_input_embeddings = lambda: model.rows  # type: ignore[assignment]
    model.rows, model.second = torch.nn.Embedding(50, 8), torch.nn.Embedding(70, 4)
    settings = {"vocab_size": 50, "text_config": {"vocab_size_per_layer_input": 70}, "hidden_size": 8}
    model.config = SimpleNamespace(to_dict=lambda: settings)  # type: ignore[assignment]
    _gate_process._sizes(model, {50, 60})
    with pytest.raises(Failure, match=r"second.weight is still \(70, 4\), of the old vocabulary of 70"):
        _gate_process._sizes(model, {60, 70})
    settings["intermediate_size"] = 70
    _gate_process._sizes(model, {60, 70})


def test_control_tokens_that_the_template_writes_and_the_vocabulary_spells(
    tmp_path: Path, permuted: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    old, _ = permuted
    template = "{% for m in messages %}<|turn|>{{ m.role }}\n{{ m.content }}{% endfor %}"
    (old / "chat_template.jinja").write_text(template)
    with caplog.at_level(logging.WARNING):
        told = _gate.check(expected(old, base_added=["<|turn|>", "<|end|>"]), None)
    assert told["chats"] >= 3
    assert "writes <|turn|>, one token each in the base: the new vocabulary spells them in pieces" in caplog.text


def test_texts_are_of_the_language_where_there_is_a_corpus(tmp_path: Path) -> None:
    page = {"id": "p", "source": "s", "paragraphs": [{"key": "", "tag": "p", "text": text} for text in ("Erste Zeile.", "Zweite Zeile.")]}
    (tmp_path / "dev.jsonl").write_text(json.dumps(page) + "\n")
    vocabulary = Vocabulary.from_tokenizer(toys.tokenizer("byte_level"))
    found = _gate.texts(tmp_path, vocabulary)
    assert found[-2:] == ["Erste Zeile.", "Zweite Zeile."] and "one <|tool|> two<|tool|>three" in found
    assert len(_gate.texts(None, vocabulary)) > len(found)


def test_a_killed_process_is_an_error_and_the_next_one_answers(tmp_path: Path, permuted: tuple[Path, Path]) -> None:
    old, _ = permuted
    _gate.prepare()
    held = _gate._process()
    os.kill(held._process.pid, signal.SIGSTOP)
    os.kill(held._process.pid, signal.SIGKILL)
    with pytest.raises(ModelError, match=r"ended \(status -9\)"):
        held.ask({})
    assert _gate.check(expected(old), None)["texts"] == 2


def test_token_ids_must_be_what_was_decided(permuted: tuple[Path, Path]) -> None:
    old, _ = permuted
    edit(old / "generation_config.json", eos_token_id=[1, 3], sequence_bias=[[[5, 6], -1.0]])
    decided = {"config.eos_token_id": 1, "generation_config.eos_token_id": [1, 3], "generation_config.sequence_bias": [[[5, 6], -1.0]]}
    _gate.check(expected(old, token_ids=decided), None)
    edit(old / "generation_config.json", eos_token_id=1)
    with pytest.raises(ModelError, match=r"generation_config\.eos_token_id is 1 in the written folder, and not \[1, 3\]"):
        _gate.check(expected(old, token_ids=decided), None)


def test_the_working_folder_may_have_changed_since_the_process_was_started(
    tmp_path: Path, permuted: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    _gate.prepare()
    monkeypatch.chdir(tmp_path)
    assert tokgraft.transplant(model="base", tokenizer="new", method="mean", out="out") == Path("out")


def test_what_nobody_thought_of_is_an_error_and_the_process_goes_on(tmp_path: Path, permuted: tuple[Path, Path]) -> None:
    old, new = permuted
    held = _gate._process()
    (new / "tokenizer.json").write_text("{")
    with pytest.raises(ModelError, match="cannot be looked at: Exception: EOF"):
        _gate.check(expected(new), None)
    assert _gate.check(expected(old), None)["texts"] == 2
    assert _gate._process() is held
