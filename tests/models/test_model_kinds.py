"""A folder is loaded as what it was published as, or refused as what it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from transformers import AutoConfig

from tokgraft.errors import ModelError
from tokgraft.models.io import check_model, load_model
from tokgraft.models.kinds import predicts_next

BERT = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32, "max_position_embeddings": 64}
T5 = {"d_model": 16, "d_ff": 32, "num_layers": 1, "num_heads": 2, "d_kv": 8}
BART = {"d_model": 16, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2,
        "decoder_attention_heads": 2}  # fmt: skip


def published(name: str, model_type: str, place: Path, rows: int = 300, **sizes: Any) -> Path:
    """A folder as `save_pretrained` of a class of transformers writes it."""
    torch.manual_seed(0)
    config = AutoConfig.for_model(model_type, vocab_size=rows, **sizes)
    getattr(transformers, name)(config).save_pretrained(place)
    assert json.loads((place / "config.json").read_text())["architectures"] == [name]
    return place


@pytest.mark.parametrize(
    ("name", "model_type", "sizes", "words"),
    [
        ("T5ForConditionalGeneration", "t5", T5, "an encoder-decoder (T5ForConditionalGeneration)"),
        ("BartForConditionalGeneration", "bart", BART, "an encoder-decoder (BartForConditionalGeneration)"),
        ("MBartForConditionalGeneration", "mbart", BART, "an encoder-decoder"),
        ("T5EncoderModel", "t5", {**T5, "is_encoder_decoder": False}, "an encoder without a language-model head (T5EncoderModel)"),
        ("BertModel", "bert", BERT, "an encoder without a language-model head (BertModel)"),
        ("RobertaModel", "roberta", BERT, "an encoder without a language-model head (RobertaModel)"),
        ("BertForSequenceClassification", "bert", BERT, "a classifier of texts (BertForSequenceClassification)"),
        ("GPT2ForSequenceClassification", "gpt2", {"n_embd": 16, "n_layer": 1, "n_head": 2}, "a classifier of texts"),
        ("RobertaForTokenClassification", "roberta", BERT, "a classifier of tokens"),
        ("BertForQuestionAnswering", "bert", BERT, "a model that marks answers"),
        ("ElectraForPreTraining", "electra", {**BERT, "embedding_size": 16}, "a ElectraForPreTraining lacks"),
        ("LlamaModel", "llama", {**BERT, "tie_word_embeddings": False}, "a model without a language-model head (LlamaModel)"),
    ],
)
def test_what_is_no_language_model_is_refused_as_what_it_is(name, model_type, sizes, words, tmp_path):
    folder = published(name, model_type, tmp_path, **sizes)
    with pytest.raises(ModelError) as caught:
        load_model(folder)
    assert words in caught.value.what and "damaged" not in str(caught.value) and "incomplete" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "model_type", "sizes"),
    [
        ("BertForPreTraining", "bert", BERT),
        ("AlbertForPreTraining", "albert", {**BERT, "embedding_size": 8}),
        ("MegatronBertForPreTraining", "megatron-bert", BERT),
    ],
)
def test_an_encoder_with_a_second_head_is_its_masked_language_model(name, model_type, sizes, tmp_path):
    folder = published(name, model_type, tmp_path, **sizes)
    model = load_model(folder)
    assert type(model).__name__ == name.replace("ForPreTraining", "ForMaskedLM")
    ids = torch.tensor([[2, 7, 9, 3]])
    original = getattr(transformers, name).from_pretrained(folder).eval()
    with torch.no_grad():
        assert torch.equal(model(input_ids=ids).logits, original(input_ids=ids).prediction_logits)


@pytest.mark.parametrize(
    ("name", "model_type", "sizes"),
    [
        ("BertForMaskedLM", "bert", BERT),
        ("BertLMHeadModel", "bert", {**BERT, "is_decoder": True}),
        ("RobertaForCausalLM", "roberta", {**BERT, "is_decoder": True}),
        ("GPT2LMHeadModel", "gpt2", {"n_embd": 16, "n_layer": 1, "n_head": 2}),
        ("XLMWithLMHeadModel", "xlm", {"emb_dim": 16, "n_layers": 1, "n_heads": 2}),
        ("BartForCausalLM", "bart", BART),
    ],
)
def test_the_class_is_the_published_one(name, model_type, sizes, tmp_path):
    assert type(load_model(published(name, model_type, tmp_path, **sizes))).__name__ == name


@pytest.mark.parametrize("causal", [True, False])
def test_one_class_for_both_kinds_goes_by_its_config(causal, tokenizer, tmp_path):
    sizes = {"emb_dim": 16, "n_layers": 1, "n_heads": 2, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2}
    model = load_model(published("XLMWithLMHeadModel", "xlm", tmp_path, rows=len(tokenizer), causal=causal, **sizes))
    assert predicts_next(model) == causal
    check_model(model, tokenizer)


def test_a_class_that_transformers_does_not_know_goes_by_its_name(saved):
    path = saved / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "architectures": ["LLaMAForCausalLM"]}))
    assert type(load_model(saved)).__name__ == "LlamaForCausalLM"


def test_a_decoder_whose_head_is_its_input_table_needs_no_other(saved, tiny, tokenizer, tmp_path):
    tiny("gpt2", len(tokenizer)).transformer.save_pretrained(tmp_path / "body")
    assert json.loads((tmp_path / "body" / "config.json").read_text())["architectures"] == ["GPT2Model"]
    assert type(load_model(tmp_path / "body")).__name__ == "GPT2LMHeadModel"


@pytest.mark.parametrize(
    ("name", "model_type", "sizes"),
    [
        ("BertLMHeadModel", "bert", {**BERT, "is_decoder": False}),
        ("RobertaForCausalLM", "roberta", {**BERT, "is_decoder": False, "pad_token_id": 2}),
        ("XLNetLMHeadModel", "xlnet", {"d_model": 16, "n_layer": 1, "n_head": 2, "d_inner": 32}),
    ],
)
def test_a_model_that_sees_what_it_predicts_is_no_causal_one(name, model_type, sizes, tokenizer, tmp_path):
    folder = published(name, model_type, tmp_path, rows=len(tokenizer), bos_token_id=0, eos_token_id=1, **{"pad_token_id": 2, **sizes})
    with pytest.raises(ModelError, match=f"{name} sees the tokens that it predicts"):
        check_model(load_model(folder), tokenizer)
