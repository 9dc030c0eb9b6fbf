"""Bits of documents equal lm-eval's rolling log-likelihood and a hand computation."""

from __future__ import annotations

import math

import pytest
import torch
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

from tokgraft.errors import ModelError, TokenizerError
from tokgraft.models.bits import bits_per_byte, document_bits, prefix_token, windows
from training_material import WORDS, llama, text, tokenizer


@pytest.mark.parametrize("length", [1, 2, 7, 8, 9, 15, 16, 17, 31])
def test_windows_are_those_of_the_harness(length: int) -> None:
    tokens = list(range(100, 100 + length))
    theirs = []
    for pair in get_rolling_token_windows(tokens, prefix_token=1, max_seq_len=8, context_len=1):
        context, predicted = make_disjoint_window(pair)
        theirs.append(((context + predicted)[:-1], predicted))
    assert list(windows(tokens, 1, 8)) == theirs


def test_bits_equal_a_computation_by_hand() -> None:
    words = tokenizer()
    model = llama(len(words))
    documents = ["\n".join(text(WORDS, n, 2 + n)) for n in range(4)] + ["ä", ""]
    found = document_bits(model, words, documents, max_tokens=64, batch_tokens=100)
    for document, (bits, size) in zip(documents, found):
        assert size == len(document.encode())
        ids = words(document, add_special_tokens=False)["input_ids"]
        by_hand = 0.0
        for given, predicted in windows(ids, words.bos_token_id, 64):
            with torch.no_grad():
                logs = model(input_ids=torch.tensor([given])).logits[0].double().log_softmax(-1)[-len(predicted) :]
            by_hand -= logs[range(len(predicted)), predicted].sum().item() / math.log(2)
        assert bits == pytest.approx(by_hand, rel=1e-5)


def test_bits_do_not_depend_on_batching_and_a_uniform_model_gives_log2_of_the_vocabulary() -> None:
    words = tokenizer()
    model = llama(len(words))
    documents = ["\n".join(text(WORDS, n, 1 + n % 3)) for n in range(9)]
    small = document_bits(model, words, documents, max_tokens=32, batch_tokens=1)
    large = document_bits(model, words, documents, max_tokens=32, batch_tokens=10_000)
    assert [bits for bits, _ in small] == pytest.approx([bits for bits, _ in large], rel=1e-5)
    torch.nn.init.zeros_(model.lm_head.weight)
    count = len(words(documents[0], add_special_tokens=False)["input_ids"])
    bits, size = document_bits(model, words, documents[:1], max_tokens=32)[0]
    assert bits == pytest.approx(count * math.log2(len(words)), rel=1e-5)
    assert bits_per_byte([(bits, size)]) == pytest.approx(bits / size)


def test_prefix_is_bos_then_eos_and_nan_is_named() -> None:
    words = tokenizer()
    assert prefix_token(words) == words.bos_token_id
    assert prefix_token(tokenizer(bos=None)) == words.eos_token_id
    bare = tokenizer(bos=None)
    bare.eos_token = None
    with pytest.raises(TokenizerError, match="neither BOS nor EOS"):
        prefix_token(bare)
    model = llama(len(words))
    torch.nn.init.constant_(model.lm_head.weight, float("nan"))
    with pytest.raises(ModelError, match="NaN"):
        document_bits(model, words, ["Die Tabelle"], max_tokens=32)
