"""Models with more tables of their tokens than input and output table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForMaskedLM

import tokgraft
import toys
import toytasks
from tokgraft.errors import ModelError, UnsupportedError
from tokgraft.methods import METHODS
from tokgraft.models.io import embedding_tables, head_bias, load_model, save_model
from tokgraft.models.tables import further_columns, set_embedding_tables
from tokgraft.segmenter import Segmenter
from tokgraft.transplant import sibling
from tokgraft.transplant.hydra import export

SIZES = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 4, "num_attention_heads": 2}
GEMMA = {**SIZES, "num_key_value_heads": 1, "head_dim": 8, "hidden_size_per_layer_input": 4, "num_kv_shared_layers": 0,
         "layer_types": ["sliding_attention", "full_attention"] * 2}  # fmt: skip
KINDS: dict[str, dict[str, Any]] = {
    "gemma3n_text": {**GEMMA, "activation_sparsity_pattern": [0.0] * 4, "laurel_rank": 4},
    "gemma4_text": {**GEMMA, "global_head_dim": 8},
    "mobilebert": {**SIZES, "embedding_size": 8, "true_hidden_size": 16, "intra_bottleneck_size": 16, "trigram_input": False},
}
PLAIN = {"llama": {**SIZES, "num_key_value_heads": 1, "intermediate_size": 812}, "ibert": SIZES}


def model_of(kind: str, rows: int, seed: int = 0, **more: Any) -> Any:
    """A tiny random model; rows of its second table differ from token to token."""
    torch.manual_seed(seed)
    sizes = {**KINDS, **PLAIN}[kind]
    ids = {f"{role}_token_id": getattr(spoken(kind), f"{role}_token_id") for role in ("bos", "eos", "pad")}
    second = {"vocab_size_per_layer_input": rows} if kind.startswith("gemma") else {}
    config = AutoConfig.for_model(kind, vocab_size=rows, max_position_embeddings=64, **{**sizes, **ids, **second, **more})
    auto = AutoModelForMaskedLM if kind in ("mobilebert", "ibert") else AutoModelForCausalLM
    model = auto.from_config(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 2:
                parameter.normal_(0, 0.3)
            elif name.endswith("bias"):
                parameter.normal_(0, 0.1)
    return model


def spoken(kind: str) -> Any:
    return toys.tokenizer("wordpiece" if kind in ("mobilebert", "ibert") else "byte_level")


def base(place: Path, kind: str) -> tuple[Path, Any, Any]:
    tokenizer = spoken(kind)
    model = model_of(kind, len(tokenizer))
    save_model(model, tokenizer, place)
    return place, model, tokenizer


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_permuted_ids_give_the_bases_logits(tmp_path, kind):
    folder, model, tokenizer = base(tmp_path / "base", kind)
    shuffled, order = toys.permuted(tokenizer)
    shuffled.save_pretrained(tmp_path / "new")
    out = tokgraft.transplant(model=folder, tokenizer=tmp_path / "new", method="mean", out=tmp_path / "out")
    new = torch.tensor([[40, 300, 200, 77, 5]])
    with torch.no_grad():
        expected = model(input_ids=torch.tensor(order)[new]).logits[..., order]
        assert torch.allclose(load_model(out)(input_ids=new).logits, expected, atol=1e-4)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_larger_vocabulary_has_rows_of_the_same_tokens_in_every_table(tmp_path, kind):
    folder, model, _ = base(tmp_path / "base", kind)
    toys.tokenizer("wordpiece" if kind == "mobilebert" else "byte_level", 1100, "both").save_pretrained(tmp_path / "new")
    out = tokgraft.transplant(model=folder, tokenizer=tmp_path / "new", method="mean", out=tmp_path / "out")
    adapted = load_model(out)
    old, new = further_columns(model), further_columns(adapted)
    before, _ = embedding_tables(model)
    after, _ = embedding_tables(adapted)
    assert old is not None and new is not None and new.shape == (len(after), old.shape[1])
    lines = [json.loads(line) for line in (out / "provenance.jsonl").read_text(encoding="utf-8").splitlines()]
    for line in lines:
        sources = line["from"]
        if line["how"] in ("copied", "role"):
            assert np.array_equal(new[line["id"]], old[sources[0]]) and np.array_equal(after[line["id"]], before[sources[0]])
        elif line["how"] == "combined":
            assert np.allclose(new[line["id"]], old[sources].mean(axis=0), atol=1e-6)
    assert {line["how"] for line in lines} >= {"copied", "combined"}
    assert torch.isfinite(adapted(input_ids=torch.tensor([[len(after) - 1, 7, 8]])).logits).all()


def test_every_method_makes_them(tmp_path):
    folder, model, tokenizer = base(tmp_path / "base", "gemma4_text")
    toys.tokenizer("byte_level", 900, "both").save_pretrained(tmp_path / "new")
    old = further_columns(model)
    assert old is not None
    for name, entry in METHODS.items():
        if entry.keeps_tokenizer or not entry.tied:
            continue
        resources = toytasks.made(set(entry.requires), toys.tokenizer("byte_level", 900, "both"))
        out = tokgraft.transplant(model=folder, tokenizer=tmp_path / "new", method=name, out=tmp_path / name, resources=resources)
        new = further_columns(load_model(out))
        assert new is not None and np.isfinite(new).all() and new[tokenizer.eos_token_id].any(), name


def test_a_method_that_cannot_read_several_states_of_a_token_says_so(tmp_path):
    folder, _, _ = base(tmp_path / "base", "gemma3n_text")
    toys.tokenizer("byte_level", 900, "both").save_pretrained(tmp_path / "new")
    with pytest.raises(UnsupportedError, match="the layers of Gemma3nTextModel hold several states of each token"):
        tokgraft.transplant(model=folder, tokenizer=tmp_path / "new", method="hidden_state", out=tmp_path / "out")


def test_a_refiner_runs_the_model_with_all_new_tables(tmp_path):
    folder, _, _ = base(tmp_path / "base", "gemma3n_text")
    toys.tokenizer("byte_level", 900, "both").save_pretrained(tmp_path / "new")
    resources = dict(toytasks.made({"target_text"}, toys.tokenizer("byte_level", 900, "both")))
    out = tokgraft.transplant(model=folder, tokenizer=tmp_path / "new", method="mean+clip", out=tmp_path / "out", resources=resources)
    assert further_columns(load_model(out)) is not None


def test_a_second_table_with_fewer_rows_is_filled_up(tmp_path):
    """Gemma 3n has no such rows for the tokens of images and sound, and uses its first row for them."""
    tokenizer = spoken("gemma3n_text")
    model = model_of("gemma3n_text", len(tokenizer) + 6, vocab_size_per_layer_input=len(tokenizer))
    columns, table = further_columns(model), model.model.embed_tokens_per_layer.weight.detach().numpy()
    assert columns is not None
    assert np.array_equal(columns[: len(table)], table) and (columns[len(table) :] == table[0]).all()
    save_model(model, tokenizer, tmp_path / "base")
    toys.permuted(tokenizer)[0].save_pretrained(tmp_path / "new")
    out = tokgraft.transplant(model=tmp_path / "base", tokenizer=tmp_path / "new", method="mean", out=tmp_path / "out")
    assert load_model(out).config.vocab_size_per_layer_input == len(tokenizer)


@pytest.mark.parametrize("kind", sorted(PLAIN))
def test_a_size_that_is_the_vocabularys_by_chance_is_left_alone(kind):
    rows = 812
    model = model_of(kind, rows)
    assert further_columns(model) is None
    E, U = embedding_tables(model)
    bias = head_bias(model)
    grown = [None if table is None else np.concatenate([table, table[:9]]) for table in (E, U, bias)]
    set_embedding_tables(model, *grown)
    assert model(input_ids=torch.tensor([[rows + 8, 5]])).logits.shape[-1] == rows + 9
    if kind == "llama":
        assert model.model.layers[0].mlp.up_proj.weight.shape == (rows, 16)
    else:
        assert model.ibert.embeddings.word_embeddings.weight_integer.shape[0] == rows + 9


def test_tables_that_are_forgotten_or_made_up_are_refused():
    model, plain = model_of("gemma3n_text", 300), model_of("llama", 300)
    E, U = embedding_tables(model)
    with pytest.raises(ModelError, match=r"Gemma3nForCausalLM has further tables of its tokens: model\.embed_tokens_per_layer\.weight"):
        set_embedding_tables(model, E, U)
    with pytest.raises(ModelError, match="columns have shape"):
        set_embedding_tables(model, E, U, None, np.zeros((300, 3), dtype=np.float32))
    with pytest.raises(ModelError, match="has no further tables"):
        set_embedding_tables(plain, *embedding_tables(plain), None, np.zeros((300, 3), dtype=np.float32))


def test_a_table_of_whole_numbers_is_refused_by_name():
    model = model_of("llama", 300)
    model.register_buffer("route", torch.arange(300))

    class Routed(type(model)):  # as DeepSeek V4: each token has experts of its own
        def __init__(self, config: Any) -> None:
            super().__init__(config)
            self.register_buffer("route", torch.arange(config.vocab_size))

    model.__class__ = Routed
    with pytest.raises(UnsupportedError, match=r"a table of whole numbers for its tokens \(route\), which no method can make"):
        further_columns(model)


def test_a_hydra_of_such_a_model_is_refused(tmp_path):
    folder, _, _ = base(tmp_path / "base", "gemma3n_text")
    with pytest.raises(ModelError, match="has tables beside input and output table"):
        export(folder, folder, tmp_path / "hydra")


@pytest.mark.parametrize("method", ["mean", "none"])
def test_an_override_sets_the_row_in_every_table(tmp_path, method):
    folder, model, tokenizer = base(tmp_path / "base", "gemma3n_text")
    old, (before, _) = further_columns(model), embedding_tables(model)
    given = {"<|tool|>": "like:<|begin|>", "<|pad|>": "text:the end of the table"}
    pieces = Segmenter(tokenizer).pieces(b"the end of the table")
    tool, begin, pad = tokenizer.convert_tokens_to_ids(["<|tool|>", "<|begin|>", "<|pad|>"])
    out = tokgraft.transplant(model=folder, tokenizer=folder, method=method, out=tmp_path / "out", overrides=given)
    adapted = load_model(out)
    new, (after, _) = further_columns(adapted), embedding_tables(adapted)
    for source, made in ((old, new), (before, after)):
        expected = source.copy()
        expected[tool], expected[pad] = source[begin], source[pieces].astype(np.float64).mean(axis=0)
        assert np.allclose(made, expected, atol=1e-6) and np.array_equal(made[tool], source[begin])


@pytest.mark.parametrize("difference", ["drop", "add"])
def test_a_sibling_gets_all_tables_of_an_adapted_base(tmp_path, difference):
    folder, model, tokenizer = base(tmp_path / "base", "gemma3n_text")
    toys.permuted(tokenizer)[0].save_pretrained(tmp_path / "new")
    adapted = tokgraft.transplant(model=folder, tokenizer=tmp_path / "new", method="mean", out=tmp_path / "adapted")
    other, (rows, _), columns = model_of("gemma3n_text", len(tokenizer), seed=1), embedding_tables(model), further_columns(model)
    drift = 0.01 * np.random.default_rng(0).standard_normal(columns.shape).astype(np.float32)
    set_embedding_tables(other, rows, None, None, columns + drift)
    save_model(other, tokenizer, tmp_path / "sibling")
    out = load_model(sibling.apply(adapted, folder, tmp_path / "sibling", tmp_path / "out", difference=difference))
    tables, shuffled = load_model(adapted), toys.permuted(tokenizer)[1]
    expected = further_columns(tables) + (drift[shuffled] if difference == "add" else 0)
    assert np.allclose(further_columns(out), expected, atol=1e-6)
    set_embedding_tables(other, embedding_tables(tables)[0], None, None, further_columns(out))
    ids = torch.tensor([[40, 300, 200, 77, 5]])
    assert torch.equal(out(input_ids=ids).logits, other(input_ids=ids).logits)
