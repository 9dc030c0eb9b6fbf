from __future__ import annotations

import pytest
import torch
from transformers import PreTrainedTokenizerFast, RobertaConfig, RobertaForMaskedLM

from tokenizers import AddedToken, Tokenizer
from tokgraft.errors import ModelError
from tokgraft.models.io import align_special_ids, check_model, padded_rows


def test_sound_models_pass(tiny, tokenizer):
    for shape in ("tied_llama", "untied_llama", "gpt2", "neox", "gptj", "bert"):
        check_model(tiny(shape, len(tokenizer)), tokenizer)


def test_padded_rows_are_reported_and_allowed(tiny, tokenizer):
    model = tiny("untied_llama", len(tokenizer) + 20)
    assert padded_rows(model, tokenizer) == list(range(len(tokenizer), len(tokenizer) + 20))
    check_model(model, tokenizer)


def test_missing_rows_are_an_error(tiny, tokenizer):
    model = tiny("tied_llama", len(tokenizer) - 3)
    with pytest.raises(
        ModelError, match=f"3 tokens without a row: ids go to {len(tokenizer) - 1}, the input table has {len(tokenizer) - 3} rows"
    ):
        check_model(model, tokenizer)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_bad_rows_of_the_input_table_are_named(tiny, tokenizer, value):
    model = tiny("tied_llama", len(tokenizer))
    with torch.no_grad():
        model.get_input_embeddings().weight[[7, 42], 3] = value
    with pytest.raises(ModelError, match=r"model\.embed_tokens\.weight holds NaN or Inf in 2 rows: 7, 42"):
        check_model(model, tokenizer)


def test_bad_rows_of_an_untied_head_are_named(tiny, tokenizer):
    model = tiny("neox", len(tokenizer))
    with torch.no_grad():
        model.get_output_embeddings().weight[5] = float("nan")
    with pytest.raises(ModelError, match=r"lm_head\.weight holds NaN or Inf in 1 rows: 5"):
        check_model(model, tokenizer)


def test_bad_values_in_the_body_are_named(tiny, tokenizer):
    model = tiny("tied_llama", len(tokenizer))
    with torch.no_grad():
        model.model.layers[1].mlp.up_proj.weight[0, :2] = float("inf")
    with pytest.raises(ModelError, match=r"layers\.1\.mlp\.up_proj\.weight holds NaN or Inf in 2 of 512 values"):
        check_model(model, tokenizer)


@pytest.mark.parametrize(
    ("where", "key", "value", "message"),
    [
        ("config", "eos_token_id", 9, r"config\.eos_token_id is 9, the tokenizer's is 1"),
        ("config", "pad_token_id", -1, r"config\.pad_token_id is -1, outside"),
        ("generation_config", "eos_token_id", [1, 100_000], r"generation_config\.eos_token_id is \[1, 100000\], outside"),
        ("generation_config", "bos_token_id", 5, r"generation_config\.bos_token_id is 5, the tokenizer's is 0"),
    ],
)
def test_wrong_special_ids_are_named_and_mended(tiny, tokenizer, where, key, value, message):
    model = tiny("tied_llama", len(tokenizer))
    setattr(getattr(model, where), key, value)
    with pytest.raises(ModelError, match=message):
        check_model(model, tokenizer)
    changes = align_special_ids(model, tokenizer)
    assert len(changes) == 1 and changes[0].startswith(f"{where}: {key} {value} -> ")
    check_model(model, tokenizer)


def test_declared_size_must_be_the_real_one(tiny, tokenizer):
    model = tiny("tied_llama", len(tokenizer))
    model.config.vocab_size += 1
    with pytest.raises(ModelError, match=r"config\.vocab_size is 301, but the input table has 300 rows"):
        check_model(model, tokenizer)


@pytest.mark.parametrize(("shape", "state"), [("tied_llama", "one tensor"), ("untied_llama", "two tensors")])
def test_tied_flag_must_be_true_to_the_weights(tiny, tokenizer, shape, state):
    model = tiny(shape, len(tokenizer))
    model.config.tie_word_embeddings = not model.config.tie_word_embeddings
    with pytest.raises(ModelError, match=f"tie_word_embeddings is .*, but input table and head are {state}"):
        check_model(model, tokenizer)


def test_pad_id_of_the_roberta_family_cannot_move(tokenizer):
    config = RobertaConfig(vocab_size=300, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, pad_token_id=1)
    with pytest.raises(ModelError, match="counts positions from its pad id 1, the tokenizer's pad id is 2"):
        align_special_ids(RobertaForMaskedLM(config), tokenizer)


def with_tokens(original, special, *texts):
    """A copy of a tokenizer with more added tokens behind its last id."""
    copied = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(original.backend_tokenizer.to_str()), bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    )
    copied.add_tokens([AddedToken(text, special=special) for text in texts])
    return copied


@pytest.mark.parametrize("tokens", [("<image_soft_token>",), ("<image>", "<audio>")])
def test_special_tokens_behind_the_last_row_are_passed_over(tiny, tokenizer, caplog, tokens):
    published = with_tokens(tokenizer, True, *tokens)
    model = tiny("tied_llama", len(tokenizer))
    assert padded_rows(model, published) == []
    check_model(model, published)
    assert f"{len(tokens)} special tokens behind the last of 300 rows are left out: {tokens[0]!r} (300)" in caplog.text


def test_tokens_of_text_or_of_a_role_need_a_row(tiny, tokenizer):
    model = tiny("tied_llama", len(tokenizer))
    with pytest.raises(ModelError, match="2 tokens without a row"):
        padded_rows(model, with_tokens(with_tokens(tokenizer, True, "<image>"), False, "words"))
    padding = with_tokens(tokenizer, True, "[PAD]")
    padding.pad_token = "[PAD]"
    with pytest.raises(ModelError, match="1 tokens without a row"):
        padded_rows(model, padding)
