from __future__ import annotations

import numpy as np
import pytest
import torch

from tokgraft.errors import ModelError
from tokgraft.models.io import (
    check_model,
    embedding_tables,
    head_bias,
    is_tied,
    load_model,
    load_tokenizer,
    save_model,
    set_embedding_tables,
    untie,
)

BIASED = {"gptj", "bert"}
TIED = {"tied_llama", "gpt2", "bert"}
ALL = ["tied_llama", "untied_llama", "gpt2", "neox", "gptj", "bert"]


def new_tables(model, rows):
    """Random tables of another size in the form that the model needs."""
    generator = np.random.default_rng(1)
    E, U = embedding_tables(model)
    bias = head_bias(model)
    return (
        generator.standard_normal((rows, E.shape[1]), dtype=np.float32),
        None if U is None else generator.standard_normal((rows, U.shape[1]), dtype=np.float32),
        None if bias is None else generator.standard_normal(rows, dtype=np.float32),
    )


@pytest.mark.parametrize("shape", ALL)
def test_tables_are_float32_copies(shape, tiny):
    model = tiny(shape, 300)
    E, U = embedding_tables(model)
    bias = head_bias(model)
    assert E.dtype == np.float32 and E.shape[0] == 300
    assert (U is None) == (shape in TIED) == is_tied(model)
    assert (bias is None) == (shape not in BIASED)
    before = model.get_input_embeddings().weight.detach().clone()
    E[:] = 0
    assert torch.equal(model.get_input_embeddings().weight, before)


@pytest.mark.parametrize("shape", ALL)
@pytest.mark.parametrize("rows", [300, 411, 305])
def test_replaced_tables_are_what_the_model_computes_with(shape, rows, tiny):
    model = tiny(shape, 350)
    tied = is_tied(model)
    E, U, bias = new_tables(model, rows)
    set_embedding_tables(model, E, U, bias)
    assert is_tied(model) == tied
    assert model.config.vocab_size == rows
    seen = {}
    handle = model.get_output_embeddings().register_forward_pre_hook(lambda module, inputs: seen.update(hidden=inputs[0]))
    ids = torch.tensor([[0, 3, rows - 1]])
    with torch.no_grad():
        logits = model(ids).logits
        handle.remove()
        expected = seen["hidden"] @ torch.from_numpy(E if U is None else U).T + (0 if bias is None else torch.from_numpy(bias))
        assert torch.equal(model.get_input_embeddings()(ids), torch.from_numpy(E)[ids])
    assert logits.shape == (1, 3, rows)
    torch.testing.assert_close(logits, expected)


@pytest.mark.parametrize("shape", ALL)
def test_replaced_tables_survive_saving(shape, tiny, tokenizer, tmp_path):
    model = tiny(shape, 350)
    E, U, bias = new_tables(model, len(tokenizer))
    set_embedding_tables(model, E, U, bias)
    save_model(model, tokenizer, tmp_path)
    again = load_model(tmp_path)
    check_model(again, load_tokenizer(tmp_path))
    E_again, U_again = embedding_tables(again)
    assert np.array_equal(E_again, E)
    assert (U_again is None) if U is None else np.array_equal(U_again, U)
    assert bias is None or np.array_equal(head_bias(again), bias)


@pytest.mark.parametrize("shape", ["tied_llama", "untied_llama"])
def test_new_rows_learn(shape, tiny):
    model = tiny(shape, 300)
    set_embedding_tables(model, *new_tables(model, 320))
    ids = torch.tensor([[2, 310, 5]])
    model(ids, labels=ids).loss.backward()
    grad = model.get_input_embeddings().weight.grad
    assert grad.shape[0] == 320
    assert grad[2].abs().sum() > 0 and grad[310].abs().sum() > 0


def test_wrong_tables_are_refused_and_change_nothing(tiny):
    tied, untied, biased = tiny("tied_llama", 300), tiny("untied_llama", 300), tiny("gptj", 300)
    E = np.ones((310, 16), dtype=np.float32)
    for model, arguments, message in [
        (tied, (E, E, None), "is tied"),
        (untied, (E, None, None), "is untied"),
        (biased, (E, E, None), "has a bias, but none was given"),
        (tied, (E, None, np.ones(310, dtype=np.float32)), "has no bias, but one was given"),
        (tied, (E[:, :8], None, None), "E has shape"),
        (untied, (E, E[:300], None), "U has shape"),
        (tied, (np.where(np.arange(310)[:, None] == 9, np.nan, E), None, None), r"NaN or Inf in 1 rows, first \[9\]"),
    ]:
        before = model.get_input_embeddings().weight
        with pytest.raises(ModelError, match=message):
            set_embedding_tables(model, *arguments)
        assert model.get_input_embeddings().weight is before and model.config.vocab_size == 300


def test_float64_tables_do_not_change_the_type_of_the_model(tiny):
    model = tiny("untied_llama", 300)
    E = np.zeros((310, 16), dtype=np.float64)
    set_embedding_tables(model, E, E)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


@pytest.mark.parametrize("shape", ALL)
def test_an_untied_model_is_saved_and_loaded_untied(shape, tiny, tokenizer, tmp_path):
    model = tiny(shape, 300)
    ids = torch.tensor([[0, 3, 299]])
    before = model(input_ids=ids).logits
    untie(model)
    assert not is_tied(model) and torch.equal(model(input_ids=ids).logits, before)
    E, U, bias = new_tables(model, 300)
    set_embedding_tables(model, E, U, bias)
    expected = model(input_ids=ids).logits
    assert not torch.allclose(expected, before)
    save_model(model, tokenizer, tmp_path)
    loaded = load_model(tmp_path)
    check_model(loaded, load_tokenizer(tmp_path))
    assert not is_tied(loaded) and torch.equal(loaded(input_ids=ids).logits, expected)
