"""States of text: what the head of the model reads, with other input rows, whatever the length of a document."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import transformers

import toys
from tokgraft.errors import ModelError
from tokgraft.models.io import set_embedding_tables
from tokgraft.models.states import BodyStates, logit_scale

DOCUMENTS = [np.arange(2, 2 + size, dtype=np.int32) % 90 for size in (5, 2, 300, 17)]  # the third is longer than the context


def rows(count: int = 90, seed: int = 1, tied: bool = True) -> Any:
    generator = np.random.default_rng(seed)
    table = generator.standard_normal((count, 24), dtype=np.float32)
    return SimpleNamespace(
        input=table, output=None if tied else generator.standard_normal((count, 24), dtype=np.float32), bias=None, columns=None
    )


@pytest.mark.parametrize("tied", [True, False])
def test_states_times_head_are_the_logits(tied: bool) -> None:
    given = rows(tied=tied)
    found = BodyStates(lambda: toys.decoder(100, tied))(given, DOCUMENTS)
    assert found.shape == (sum(len(document) - 1 for document in DOCUMENTS), 24) and found.dtype == np.float32
    model = toys.decoder(100, tied)
    set_embedding_tables(model, given.input, given.output)
    place = 0
    for document in DOCUMENTS:
        if len(document) < 200:
            with torch.no_grad():
                own = model(input_ids=torch.tensor(document[None, :-1].astype(np.int64))).logits[0].numpy()
            table = given.input if tied else given.output
            assert np.allclose(found[place : place + len(document) - 1] @ table.T, own, atol=1e-4)
        place += len(document) - 1


def test_states_are_kept_until_the_input_rows_change() -> None:
    loads: list[int] = []
    passes: list[int] = []

    def load() -> Any:
        loads.append(1)
        model = toys.decoder(100, True)
        model.base_model.register_forward_hook(lambda *_: passes.append(1))
        return model

    reader, given = BodyStates(load), rows()
    first = reader(given, DOCUMENTS)
    seen = len(passes)
    assert np.array_equal(
        reader(SimpleNamespace(input=given.input.copy(), output=given.input, bias=None, columns=None), DOCUMENTS[::-1])[-4:], first[:4]
    )
    assert len(passes) == seen, "other output rows change no state"
    reader(given, [*DOCUMENTS, DOCUMENTS[0][:3]])
    assert len(passes) == seen + 1, "only the new document is read"
    assert not np.allclose(reader(rows(seed=2), DOCUMENTS), first) and len(loads) == 1


def test_scaled_logits_are_part_of_the_states_and_others_are_refused() -> None:
    sizes = {"vocab_size": 90, "hidden_size": 24, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    torch.manual_seed(0)
    granite = transformers.GraniteForCausalLM(
        transformers.GraniteConfig(**sizes, num_key_value_heads=2, logits_scaling=8.0, tie_word_embeddings=True, pad_token_id=0)
    ).eval()
    assert logit_scale(granite) == pytest.approx(1 / 8, rel=1e-4)
    document = np.array([1, 5, 9], dtype=np.int32)
    given = SimpleNamespace(input=rows().input, output=None, bias=None, columns=None)
    found = BodyStates(lambda: granite)(given, [document])
    with torch.no_grad():
        assert np.allclose(found @ given.input.T, granite(input_ids=torch.tensor([[1, 5]])).logits[0].numpy(), atol=1e-4)
    gemma = transformers.Gemma2ForCausalLM(
        transformers.Gemma2Config(**sizes, num_key_value_heads=2, head_dim=12, final_logit_softcapping=1.0, pad_token_id=0)
    ).eval()
    with torch.no_grad():
        gemma.lm_head.weight.mul_(60)
    with pytest.raises(ModelError, match="soft cap"):
        logit_scale(gemma)
    with pytest.raises(ModelError, match="need a causal language model"):
        BodyStates(lambda: toys.encoder(100))(rows(), DOCUMENTS)


def test_a_body_that_gives_nan_is_refused() -> None:
    model, given = toys.decoder(100, True), rows()
    reader = BodyStates(lambda: model)
    reader(given, DOCUMENTS[:1])
    torch.nn.init.constant_(model.model.norm.weight, float("nan"))
    with pytest.raises(ModelError, match="NaN or infinite"):
        reader(given, DOCUMENTS)
    given.input[7] = np.nan
    with pytest.raises(ModelError, match="NaN or Inf in 1 rows, first"):
        reader(given, DOCUMENTS)
