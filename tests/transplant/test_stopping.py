"""An adapted model ends its text where its base did, whatever the special tokens of both are."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM, PreTrainedTokenizerFast

import tokgraft
import toys
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

TURN, END = "<|end_of_turn|>", "<|endoftext|>"
LAYOUTS = {
    "one token for all roles": ([END], {"bos": END, "eos": END, "pad": END}),
    "llama": (["<unk>", "<s>", "</s>"], {"bos": "<s>", "eos": "</s>", "unk": "<unk>"}),
    "gemma": (["<pad>", "<eos>", "<bos>", TURN], {"bos": "<bos>", "eos": "<eos>", "pad": "<pad>"}),
    "llama chat": (["<unk>", "<s>", "</s>", "<|im_start|>", TURN], {"bos": "<s>", "eos": "</s>", "unk": "<unk>"}),
    "chat": ([END, "<|im_start|>", TURN], {"eos": TURN, "pad": END}),
}
CHAIN = "dklmnop"  # what the base writes after its first letter


def spoken(layout: str, more: tuple[str, ...] = ()) -> PreTrainedTokenizerFast:
    """A byte-level tokenizer with the special tokens of a layout, and merges for `more`."""
    specials, roles = LAYOUTS[layout]
    pieces = [*specials, *sorted(pre_tokenizers.ByteLevel.alphabet()), *more]
    backend = Tokenizer(
        models.BPE(vocab={piece: number for number, piece in enumerate(pieces)}, merges=[(one[0], one[1:]) for one in more])
    )
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(specials)
    return PreTrainedTokenizerFast(tokenizer_object=backend, **{f"{role}_token": token for role, token in roles.items()})


def writing(tokenizer: PreTrainedTokenizerFast, stop: str, tied: bool) -> LlamaForCausalLM:
    """A Llama that writes `CHAIN` letter by letter and then `stop`: its body passes each row on, and an output row is its predecessor's row.

    Of a tied model a row is both: each has a direction of its own and its predecessor's, and is longer than it.
    """
    model = toys.decoder(len(tokenizer), tied, width=64)
    numbers = [tokenizer.convert_tokens_to_ids(token) for token in (*CHAIN, stop)]
    directions = torch.linalg.qr(torch.randn(64, len(numbers)))[0].T
    with torch.no_grad():
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
        model.model.embed_tokens.weight.normal_(0, 0.01)[numbers] = directions
        for place in range(1, len(numbers)):
            row = directions[place - 1] + (directions[place] if tied else 0)
            model.lm_head.weight[numbers[place]] = row * (3**place if tied else 1)
    return model


def continuation(folder: Path) -> tuple[str, str]:
    """What a folder writes greedily after the first letter, as plain transformers loads it: the text, and the token that ended it."""
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32), AutoTokenizer.from_pretrained(folder)
    prompt = tokenizer(CHAIN[0], add_special_tokens=False, return_tensors="pt")["input_ids"]
    written = model.generate(input_ids=prompt, max_new_tokens=30, do_sample=False)[0].tolist()
    assert len(written) < 31, tokenizer.decode(written)
    return tokenizer.decode(written[:-1]), tokenizer.convert_ids_to_tokens(written[-1])


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize(
    ("base", "stop", "target", "ends"),
    [
        ("one token for all roles", END, "llama", "</s>"),
        ("one token for all roles", END, "gemma", "<eos>"),
        ("llama", "</s>", "one token for all roles", END),
        ("llama", "</s>", "gemma", "<eos>"),
        ("gemma", "<eos>", "llama", "</s>"),
        ("gemma", TURN, "llama chat", TURN),
        ("gemma", "<eos>", "llama chat", "</s>"),
        ("chat", TURN, "gemma", "<eos>"),
        ("chat", END, "one token for all roles", END),
        ("chat", TURN, "llama", "</s>"),
    ],
)
def test_the_adapted_model_ends_where_its_base_ends(tmp_path, base, stop, target, ends, tied):
    old, new = spoken(base), spoken(target, ("th", "er"))
    model = writing(old, stop, tied)
    stops = sorted({old.eos_token_id, old.convert_tokens_to_ids(stop)})
    for settings in (model.config, model.generation_config):
        for role in ("bos", "eos", "pad"):
            setattr(settings, f"{role}_token_id", getattr(old, f"{role}_token_id"))
    model.generation_config.eos_token_id = stops if len(stops) > 1 else stops[0]
    model.save_pretrained(tmp_path / "base")
    old.save_pretrained(tmp_path / "base")
    new.save_pretrained(tmp_path / "new")
    assert continuation(tmp_path / "base") == (CHAIN, stop)
    out = tokgraft.transplant(model=tmp_path / "base", tokenizer=tmp_path / "new", method="mean", out=tmp_path / "out")
    assert continuation(out) == (CHAIN, ends)
