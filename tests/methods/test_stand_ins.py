"""A base with fewer special tokens than the target: the others are read like it, and never written in its place."""

from __future__ import annotations

import json

import numpy as np
import pytest
from transformers import PreTrainedTokenizerFast

import toys
from tokenizers import Tokenizer
from tokgraft import methods
from tokgraft.methods import Transplant
from tokgraft.segmenter import Segmenter
from tokgraft.vocab import Vocabulary

WIDTH = 32


def with_specials(*names: str, **roles: str) -> PreTrainedTokenizerFast:
    """The small byte-level tokenizer with other special tokens, at the lowest ids, behind them the same text tokens."""
    spec = json.loads(toys.tokenizer("byte_level").backend_tokenizer.to_str())
    old = {entry["content"] for entry in spec["added_tokens"]}
    texts = [token for token, _ in sorted(spec["model"]["vocab"].items(), key=lambda item: item[1]) if token not in old]
    spec["model"]["vocab"] = {token: number for number, token in enumerate([*names, *texts])}
    spec["added_tokens"] = [
        {"id": number, "content": name, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
        for number, name in enumerate(names)
    ]
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(spec)), **{f"{role}_token": name for role, name in roles.items()}
    )


END = "<|endoftext|>"
BASES = {
    "gpt2": (with_specials(END, bos=END, eos=END, unk=END), END),
    "qwen": (with_specials(END, "<|im_start|>", "<|im_end|>", eos="<|im_end|>", pad=END), "<|im_end|>"),
    "bert": (with_specials("[CLS]", "[SEP]", cls="[CLS]", sep="[SEP]"), "[SEP]"),
}
TARGET = with_specials("<s>", "<pad>", "</s>", "<unk>", "<mask>", bos="<s>", eos="</s>", pad="<pad>", unk="<unk>", mask="<mask>")


def transplant(base: PreTrainedTokenizerFast, tied: bool, bias: bool) -> Transplant:
    source, target = Vocabulary.from_tokenizer(base), Vocabulary.from_tokenizer(TARGET)
    rng = np.random.default_rng(3)
    E, U = (rng.standard_normal((len(source), WIDTH)).astype(np.float32) - 0.3 for _ in range(2))
    offsets = rng.standard_normal(len(source)).astype(np.float32) if bias else None
    return Transplant(source, target, E, E if tied else U, offsets, segmenter=Segmenter(base, source))


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("method", ["mean", "random", "subword"])
@pytest.mark.parametrize("name", BASES)
def test_a_text_ends_where_it_ended(name: str, method: str, tied: bool, bias: bool) -> None:
    base, end = BASES[name]
    task = transplant(base, tied, bias)
    old = base.convert_tokens_to_ids(end)
    states = np.random.default_rng(4).standard_normal((4000, WIDTH)) + 2 * task.U[old]  # most of them end a text
    before = states @ task.U.T + (0 if task.bias is None else task.bias)
    assert (before.argmax(axis=1) == old).mean() > 0.5
    rows = methods.apply(method, task, {})
    logits = states @ (rows.input if rows.output is None else rows.output).T + (0 if rows.bias is None else rows.bias)
    written = logits.argmax(axis=1)
    assert written[before.argmax(axis=1) == old].tolist().count(TARGET.convert_tokens_to_ids("</s>")) > 1000
    standing = {TARGET.convert_ids_to_tokens(number) for number, way in enumerate(rows.provenance) if way.how == "stand_in"}
    assert standing & {"<s>", "<pad>"}
    assert standing.isdisjoint(TARGET.convert_ids_to_tokens(written.tolist()))
    if method != "random":  # which gives the other tokens rows that may win as well
        assert set(written[before.argmax(axis=1) == old].tolist()) == {TARGET.convert_tokens_to_ids("</s>")}


@pytest.mark.parametrize("tied", [False, True])
def test_stand_ins_are_read_like_the_token_that_they_stand_in_for(tied: bool) -> None:
    base, end = BASES["gpt2"]
    task = transplant(base, tied, bias=False)
    rows, old = methods.apply("mean", task, {}), task.E[base.convert_tokens_to_ids(end)]
    own, begin = (TARGET.convert_tokens_to_ids(token) for token in ("</s>", "<s>"))
    assert np.array_equal(rows.input[own], old)
    assert rows.provenance[own].how == "role" and rows.provenance[begin].how == "stand_in"
    assert rows.provenance[begin].sources == rows.provenance[own].sources
    if tied:
        assert 0.9 < rows.input[begin] @ old / np.linalg.norm(rows.input[begin]) / np.linalg.norm(old) < 1
    else:
        assert np.array_equal(rows.input[begin], old)


def test_special_tokens_of_their_own_stay_bit_for_bit() -> None:
    base, _ = BASES["qwen"]
    source = Vocabulary.from_tokenizer(base)
    E = np.random.default_rng(0).standard_normal((len(source), WIDTH)).astype(np.float32)
    rows = methods.apply("mean", Transplant(source, source, E, E, segmenter=Segmenter(base, source)), {})
    assert np.array_equal(rows.input, E)
