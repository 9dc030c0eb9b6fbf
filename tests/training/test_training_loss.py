"""The chunked cross-entropy equals torch's, in value and in every gradient."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cross_entropy, linear
from transformers import Gemma2Config, Gemma2ForCausalLM, GPT2Config, GPT2LMHeadModel

from tokgraft.models.head import plain_head
from tokgraft.training.loss import IGNORE, chunked_cross_entropy
from training_material import llama


@pytest.mark.parametrize("chunk", [1, 7, 64, 1000])
@pytest.mark.parametrize("bias", [False, True])
def test_value_and_gradients_equal_torch(chunk: int, bias: bool) -> None:
    torch.manual_seed(0)
    hidden = torch.randn(50, 16, requires_grad=True)
    weight = torch.randn(97, 16, requires_grad=True)
    offset = torch.randn(97, requires_grad=True) if bias else None
    targets = torch.randint(97, (50,))
    targets[[0, 13, 49]] = IGNORE
    leaves = [leaf for leaf in (hidden, weight, offset) if leaf is not None]
    plain = cross_entropy(linear(hidden, weight, offset), targets, reduction="sum") / 47
    expected = torch.autograd.grad(plain, leaves)
    ours = chunked_cross_entropy(hidden, weight, targets, offset, chunk) / 47
    found = torch.autograd.grad(ours, leaves)
    assert abs(ours.item() - plain.item()) < 1e-5
    for left, right in zip(found, expected):
        assert torch.allclose(left, right, rtol=0, atol=1e-5)


def test_nothing_to_predict_gives_zero() -> None:
    hidden = torch.randn(5, 4, requires_grad=True)
    weight = torch.randn(9, 4, requires_grad=True)
    loss = chunked_cross_entropy(hidden, weight, torch.full((5,), IGNORE))
    loss.backward()
    assert loss.item() == 0 and hidden.grad is not None and not hidden.grad.any() and weight.grad is not None and not weight.grad.any()


@pytest.mark.parametrize("tied", [True, False])
def test_whole_model_gradients_equal_its_own_forward(tied: bool) -> None:
    model = llama(301, tied)
    ids = torch.randint(301, (3, 20))
    goals = torch.randint(301, (60,))
    cross_entropy(model(input_ids=ids).logits.flatten(0, 1), goals, reduction="sum").backward()
    expected = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    model.zero_grad()
    head = plain_head(model)
    assert head is not None
    chunked_cross_entropy(head.hidden(ids).flatten(0, 1), head.weight, goals, head.bias, chunk=16).backward()
    for name, parameter in model.named_parameters():
        assert torch.allclose(parameter.grad, expected[name], rtol=1e-5, atol=1e-4), name


def test_frozen_head_gets_no_gradient() -> None:
    hidden = torch.randn(5, 4, requires_grad=True)
    weight = torch.randn(9, 4)
    chunked_cross_entropy(hidden, weight, torch.arange(5)).backward()
    assert weight.grad is None and hidden.grad is not None and bool(hidden.grad.any())


def test_soft_cap_is_detected_and_a_plain_head_found() -> None:
    shape = {"vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    capped = Gemma2Config(**shape, intermediate_size=32, num_key_value_heads=2, head_dim=8, final_logit_softcapping=0.5)
    plain = Gemma2Config(**shape, intermediate_size=32, num_key_value_heads=2, head_dim=8, final_logit_softcapping=None)
    torch.manual_seed(0)
    assert plain_head(Gemma2ForCausalLM(capped)) is None
    assert plain_head(Gemma2ForCausalLM(plain)) is not None
    assert plain_head(GPT2LMHeadModel(GPT2Config(vocab_size=50, n_embd=16, n_layer=1, n_head=2))) is not None
