"""Tables of an adapted base in a fine-tuned model of the same base."""

from __future__ import annotations

import copy
import json
import logging
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

import tokgraft
import toys
from tokgraft import artifacts
from tokgraft.cli import main
from tokgraft.errors import ArtifactError, ConfigError, ModelError, TokenizerError
from tokgraft.logs import log
from tokgraft.models.io import load_model, save_model, set_embedding_tables, untie
from tokgraft.transplant import sibling

TEMPLATE = "{% for m in messages %}<|begin|>{{ m.role }}: {{ m.content }}{{ eos_token }}{% endfor %}"
TEXT = "Die Tabelle zeigt alle Werte."


@dataclass
class Family:
    """Folders of a base, its instruct sibling and the adapted base, as arguments of `sibling.apply`."""

    base: Path
    sibling: Path
    adapted: Path
    out: Path

    def apply(self, **more: Any) -> Path:
        return sibling.apply(self.adapted, self.base, self.sibling, self.out, **more)


def instruct(tokenizer: PreTrainedTokenizerFast) -> PreTrainedTokenizerFast:
    """The same tokens with a chat template; turns end with `<|tool|>`, which is an ordinary special token of the base."""
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer.backend_tokenizer, bos_token="<|begin|>", eos_token="<|tool|>", pad_token="<|pad|>", chat_template=TEMPLATE,
    )  # fmt: skip


def family(
    place: Path, tied: bool = False, noise: float = 0.0, target: PreTrainedTokenizerFast | None = None, chatty: bool = True
) -> Family:
    """A base with padded rows; a sibling with another body, whose rows are the base's and some noise; and the base with a new vocabulary."""
    tokenizer = toys.tokenizer("byte_level")
    base, other = (toys.decoder(len(tokenizer) + 12, tied, seed=seed) for seed in (0, 1))
    for table in ("embed", "head"):
        old, new = ((one.get_input_embeddings() if table == "embed" else one.get_output_embeddings()).weight.data for one in (base, other))
        drift = torch.randn(old.shape, generator=torch.Generator().manual_seed(len(table))) / old.shape[1] ** 0.5
        new.copy_(old + noise * old.norm(dim=1).median() * drift)
    save_model(base, tokenizer, place / "base")
    own = instruct(tokenizer) if chatty else tokenizer
    other.generation_config.eos_token_id = [own.eos_token_id, tokenizer.convert_tokens_to_ids("<|end|>")]
    save_model(other, own, place / "sibling")
    target = target or toys.permuted(toys.tokenizer("byte_level", 600, "both"))[0]
    target.save_pretrained(place / "new")
    tokgraft.transplant(model=place / "base", tokenizer=place / "new", method="mean", out=place / "adapted", pad_to_multiple=64)
    return Family(place / "base", place / "sibling", place / "adapted", place / "out")


def plain(folder: Path) -> Path:
    """A copy that is no artifact any more, so that its files may be changed."""
    copied = folder.with_name(f"{folder.name}-plain")
    shutil.copytree(folder, copied, ignore=shutil.ignore_patterns(artifacts.MANIFEST, artifacts.RUN))
    return copied


def weight(model: Any, which: str) -> Any:
    return (model.get_input_embeddings() if which == "input" else model.get_output_embeddings()).weight


def by_hand(body: Path, tables: Path) -> Any:
    """The model of one folder with both tables of another, made with torch alone."""
    model, other = (AutoModelForCausalLM.from_pretrained(folder) for folder in (body, tables))
    model.lm_head = copy.deepcopy(other.lm_head)
    model.model.embed_tokens = copy.deepcopy(other.model.embed_tokens)
    return model.eval()


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("noise", [0.0, 0.02])
def test_the_siblings_body_with_the_adapted_tables(tmp_path: Path, tied: bool, noise: float) -> None:
    three = family(tmp_path, tied, noise)
    out = three.apply()
    model, expected = AutoModelForCausalLM.from_pretrained(out), by_hand(three.sibling, three.adapted)
    assert model.config.tie_word_embeddings == tied and model.config.vocab_size == 640
    ids = torch.randint(0, 600, (2, 40), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(model(input_ids=ids).logits, expected(input_ids=ids).logits)
        before = AutoModelForCausalLM.from_pretrained(three.adapted)(input_ids=ids).logits
        assert not torch.allclose(model(input_ids=ids).logits, before, atol=1e-3), "the body is another one"
    assert artifacts.verify(out) == [] and set(artifacts.read(out)["inputs"]) == {"adapted", "base", "sibling"}
    assert artifacts.read(out)["kind"] == "model"
    assert (out / "provenance.jsonl").read_bytes() == (three.adapted / "provenance.jsonl").read_bytes()


def test_chats_end_as_they_ended_in_the_sibling(tmp_path: Path) -> None:
    three = family(tmp_path)
    out = three.apply()
    old, new = AutoTokenizer.from_pretrained(three.sibling), AutoTokenizer.from_pretrained(out)
    assert new.chat_template == TEMPLATE and new.eos_token == "<|tool|>" and new.bos_token == "<|begin|>" and new.pad_token == "<|pad|>"
    chat = [{"role": "user", "content": TEXT}]
    text = new.apply_chat_template(chat, tokenize=False)
    assert text == old.apply_chat_template(chat, tokenize=False) and text.endswith("<|tool|>")
    model = AutoModelForCausalLM.from_pretrained(out)
    turn, end = new.convert_tokens_to_ids(["<|tool|>", "<|end|>"])
    assert old.convert_tokens_to_ids(["<|tool|>", "<|end|>"]) != [turn, end]
    assert model.generation_config.eos_token_id == [turn, end] and model.config.eos_token_id == turn
    assert (model.config.bos_token_id, model.config.pad_token_id) == (new.bos_token_id, new.pad_token_id)


def test_a_base_whose_end_token_has_another_name_in_the_new_vocabulary(tmp_path: Path) -> None:
    spec = json.loads(toys.tokenizer("byte_level", 600, "both").backend_tokenizer.to_str().replace("<|end|>", "</s>"))
    (tmp_path / "tokenizer.json").write_text(json.dumps(spec))
    target = PreTrainedTokenizerFast(
        tokenizer_file=str(tmp_path / "tokenizer.json"), bos_token="<|begin|>", eos_token="</s>", pad_token="<|pad|>"
    )
    out = family(tmp_path, target=target).apply()
    model, tokenizer = AutoModelForCausalLM.from_pretrained(out), AutoTokenizer.from_pretrained(out)
    assert tokenizer.eos_token == "<|tool|>"
    assert model.generation_config.eos_token_id == tokenizer.convert_tokens_to_ids(["<|tool|>", "</s>"])


def test_distances_are_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "propagate", True)
    three = family(tmp_path, noise=0.02)
    model, tokenizer = load_model(three.sibling), AutoTokenizer.from_pretrained(three.sibling)
    tool = tokenizer.convert_tokens_to_ids("<|tool|>")
    model.get_output_embeddings().weight.data[tool] *= -1
    save_model(model, tokenizer, three.sibling)
    with caplog.at_level(logging.INFO):
        out = three.apply()
    facts = json.loads((out / "sibling.json").read_text())["distances"]
    old, new = load_model(three.base), load_model(three.sibling)
    for which in ("input", "output"):
        left, right = (weight(one, which).detach().numpy()[: len(tokenizer)].astype(np.float64) for one in (old, new))
        apart = np.linalg.norm(left - right, axis=1) / np.median(np.linalg.norm(left, axis=1))
        assert facts[which]["median"] == pytest.approx(np.median(apart), rel=1e-3) and 0.01 < facts[which]["median"] < 0.03
        assert facts[which]["largest"] == pytest.approx(apart.max(), rel=1e-3)
        assert facts[which]["beyond"] == (apart > 0.1).sum() == (which == "output")
    assert facts["output"]["most"][0][0] == "<|tool|>"
    assert "moved 1 output rows" in caplog.text and "'<|tool|>'" in caplog.text


@pytest.mark.parametrize("tied", [True, False])
def test_the_siblings_changes_can_be_added_to_copied_rows(tmp_path: Path, tied: bool) -> None:
    three = family(tmp_path, tied, noise=0.02)
    out = three.apply(difference="add")
    lines = [json.loads(line) for line in (three.adapted / "provenance.jsonl").read_text().splitlines()]
    copied = {line["id"]: line["from"][0] for line in lines if line["how"] in ("copied", "role")}
    assert 100 < len(copied) < len(lines)
    models = {name: load_model(folder) for name, folder in vars(three).items()}
    for which in ("input", "output"):
        rows = {name: weight(model, which).detach().numpy() for name, model in models.items()}
        for number in range(640):
            expected = rows["adapted"][number]
            if number in copied:
                expected = expected + (rows["sibling"][copied[number]] - rows["base"][copied[number]])
            assert np.array_equal(rows["out"][number], expected)
    assert artifacts.read(out)["settings"]["difference"] == "add"


def test_an_adapted_model_that_was_untied_unties_the_sibling(tmp_path: Path) -> None:
    three = family(tmp_path, tied=True)
    three.adapted = plain(three.adapted)
    model, tokenizer = load_model(three.adapted), AutoTokenizer.from_pretrained(three.adapted)
    untie(model)
    inputs = model.get_input_embeddings().weight.detach().numpy()
    set_embedding_tables(model, inputs, 2 * inputs)
    save_model(model, tokenizer, three.adapted)
    out = AutoModelForCausalLM.from_pretrained(three.apply())
    assert not out.config.tie_word_embeddings
    ids = torch.arange(50)[None]
    assert torch.equal(out(input_ids=ids).logits, by_hand(three.sibling, three.adapted)(input_ids=ids).logits)


def test_an_untied_sibling_of_a_tied_base_stays_untied(tmp_path: Path) -> None:
    three = family(tmp_path, tied=True)
    model, tokenizer = load_model(three.sibling), AutoTokenizer.from_pretrained(three.sibling)
    untie(model)
    save_model(model, tokenizer, three.sibling)
    out = AutoModelForCausalLM.from_pretrained(three.apply())
    assert not out.config.tie_word_embeddings and torch.equal(weight(out, "input"), weight(out, "output"))
    assert torch.equal(weight(out, "input"), weight(load_model(three.adapted), "input"))


def test_training_of_the_adapted_body_is_not_carried_over_and_that_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "propagate", True)
    three = family(tmp_path)
    assert json.loads((three.apply() / "sibling.json").read_text())["trained_body"] == 0
    three.adapted = plain(three.adapted)
    model, tokenizer = load_model(three.adapted), AutoTokenizer.from_pretrained(three.adapted)
    model.model.norm.weight.data += 0.1
    save_model(model, tokenizer, three.adapted)
    assert json.loads((three.apply() / "sibling.json").read_text())["trained_body"] == 1
    assert "changed 1 tensors of the adapted model's body (model.norm.weight" in caplog.text


def test_what_is_no_sibling_is_refused(tmp_path: Path) -> None:
    three = family(tmp_path)
    tokenizer = toys.tokenizer("byte_level")
    save_model(toys.decoder(len(tokenizer) + 12, False, seed=7), tokenizer, tmp_path / "stranger")
    with pytest.raises(ModelError, match=r"the sibling's input rows are not the base's: half of them are at least 1\.\d+ apart"):
        sibling.apply(three.adapted, three.base, tmp_path / "stranger", three.out)
    save_model(toys.decoder(len(tokenizer) + 12, False, width=32), tokenizer, tmp_path / "wide")
    with pytest.raises(ModelError, match="the sibling is not of the same base: "):
        sibling.apply(three.adapted, three.base, tmp_path / "wide", three.out)
    with pytest.raises(ModelError, match="the adapted model is not of the same base: "):
        sibling.apply(three.adapted, tmp_path / "wide", tmp_path / "wide", three.out)
    grown = AutoTokenizer.from_pretrained(three.sibling)
    grown.add_tokens(["<|turn|>"])
    save_model(load_model(three.sibling), grown, tmp_path / "grown")
    with pytest.raises(TokenizerError, match=r"base and sibling differ in 1 tokens: '<\|turn\|>' \(800\)"):
        sibling.apply(three.adapted, three.base, tmp_path / "grown", three.out)
    with pytest.raises(ArtifactError, match=r"has no provenance\.jsonl"):
        sibling.apply(three.base, three.base, three.sibling, three.out)
    with pytest.raises(ConfigError, match="difference 'keep' is unknown"):
        three.apply(difference="keep")
    assert not three.out.exists()


@pytest.mark.parametrize("chatty", [True, False])
def test_a_vocabulary_without_a_stop_token_of_the_sibling_is_refused(tmp_path: Path, chatty: bool) -> None:
    """Whether it is the sibling's end token or one beside it."""
    three = family(tmp_path, target=toys.tokenizer("sp_bpe", 600, "both"), chatty=chatty)
    if not chatty:
        model, tokenizer = load_model(three.sibling), AutoTokenizer.from_pretrained(three.sibling)
        model.generation_config.eos_token_id = tokenizer.convert_tokens_to_ids(["<|end|>", "<|tool|>"])
        save_model(model, tokenizer, three.sibling)
    with pytest.raises(TokenizerError, match=r"ends its answers with '<\|tool\|>', which the new vocabulary lacks"):
        three.apply()
    assert not three.out.exists()


def test_the_gate_looks_at_what_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    three, put = family(tmp_path), sibling._put
    monkeypatch.setattr(sibling, "_put", lambda model, inputs, *others: put(model, np.roll(inputs, 1, axis=0), *others))
    with pytest.raises(ModelError, match="does not compute what its base computes"):
        three.apply()
    assert not three.out.exists()


def test_on_the_command_line(tmp_path: Path) -> None:
    three = family(tmp_path)
    flags = [f"--{name}={getattr(three, name)}" for name in ("adapted", "base", "sibling", "out")]
    assert main(["sibling", *flags, "--difference", "add"]) == 0
    assert artifacts.read(three.out)["settings"]["difference"] == "add"
