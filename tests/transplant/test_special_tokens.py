"""A base with one special token, a target with several: whole models, written and loaded again by plain transformers."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

import tokgraft
import toys
from tokenizers import AddedToken, Tokenizer
from tokgraft.models.io import save_model

PROMPT = "The menu has several entries"


def with_specials(names: list[str], added: dict[str, bool], **roles: str) -> PreTrainedTokenizerFast:
    """The small byte-level tokenizer with these special tokens at its lowest ids, and added tokens (whether special) at its highest."""
    spec = json.loads(toys.tokenizer("byte_level").backend_tokenizer.to_str())
    old = {entry["content"] for entry in spec["added_tokens"]}
    texts = [token for token, _ in sorted(spec["model"]["vocab"].items(), key=lambda item: item[1]) if token not in old]
    spec["model"]["vocab"] = {token: number for number, token in enumerate([*names, *texts])}
    spec["added_tokens"] = []
    backend = Tokenizer.from_str(json.dumps(spec))
    backend.add_special_tokens(names)
    for name, special in added.items():
        backend.add_tokens([AddedToken(name, special=special, normalized=False)])
    return PreTrainedTokenizerFast(tokenizer_object=backend, **{f"{role}_token": name for role, name in roles.items()})


@pytest.mark.parametrize("tied", [False, True])
def test_generation_ends_where_it_ended(tied: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    end = "<|endoftext|>"
    base = with_specials([end], {"<think>": True, "<tool>": False}, bos=end, eos=end)
    target = with_specials(["<s>", "<pad>", "</s>"], {"<think>": False, "<tool>": True}, bos="<s>", pad="<pad>", eos="</s>")
    model = toys.decoder(len(base), tied, bos=0, eos=0)
    ids = torch.tensor([base(PROMPT)["input_ids"]])
    with torch.no_grad():
        state = model(ids, output_hidden_states=True).hidden_states[-1][0, -1]
        model.get_output_embeddings().weight[0] = 2 * state  # the text ends after the prompt
    save_model(model, base, tmp_path / "base")
    target.save_pretrained(tmp_path / "target")
    assert model.generate(ids, max_new_tokens=3, do_sample=False, pad_token_id=0)[0, -1] == 0
    with caplog.at_level(logging.INFO, logger="tokgraft"):
        out = tokgraft.transplant(model=tmp_path / "base", tokenizer=tmp_path / "target", method="mean", out=tmp_path / "out")
    made, words = AutoModelForCausalLM.from_pretrained(out), AutoTokenizer.from_pretrained(out)
    written = made.generate(**words(PROMPT, return_tensors="pt"), max_new_tokens=3, do_sample=False)
    assert words.convert_ids_to_tokens(int(written[0, -1])) == "</s>"
    assert written.shape[1] == ids.shape[1] + 1
    lines = map(json.loads, (out / "provenance.jsonl").read_text().splitlines())
    how = {line["text"]: line["how"] for line in lines}
    assert (how["<s>"], how["<pad>"], how["</s>"]) == ("stand_in", "stand_in", "role")
    assert how["<think>"] == how["<tool>"] == "role"
    assert "<|endoftext|> of the base is </s> here; <s>, <pad> stand in for it" in caplog.text
    assert "2 added tokens are special in one vocabulary only, and keep their rows: <think>, <tool>" in caplog.text
