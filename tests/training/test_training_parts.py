"""Which parameters learn, at which rate, and that masked rows keep their bits."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
import torch

from tokgraft.config.recipe import TrainingRecipe, TrainingStage
from tokgraft.errors import DataError
from tokgraft.training import parts
from training_material import llama

RECIPE = TrainingRecipe(stages=[TrainingStage(name="one", train=["all"], bytes=1, lr=1.0)], weight_decay=0.5)


def names(model: torch.nn.Module, *chosen: str) -> set[str]:
    return set(parts.select(model, chosen, torch.tensor([0])).trainable)  # type: ignore[arg-type]


def test_parts_of_an_untied_model_are_disjoint_and_whole() -> None:
    model = llama(50, tied=False, layers=4)
    everything = {name for name, _ in model.named_parameters()}
    embeddings, head, body = names(model, "embeddings"), names(model, "head"), names(model, "body")
    assert embeddings == {"model.embed_tokens.weight"} and head == {"lm_head.weight"}
    assert embeddings | head | body == everything == names(model, "all")
    assert not (embeddings | head) & body
    odd, even = names(model, "layers_odd"), names(model, "layers_even")
    assert {name.split(".")[2] for name in odd} == {"0", "2"}
    assert odd | even | {"model.norm.weight"} == body and not odd & even
    assert names(llama(50, layers=6), "layers_outer2") == {
        n for n, _ in llama(50, layers=6).named_parameters() if n[13:15] in {"0.", "1.", "4.", "5."}
    }


def test_head_of_a_tied_model_is_its_embeddings() -> None:
    model = llama(50)
    assert names(model, "embeddings") == names(model, "head") == {"model.embed_tokens.weight"}


def test_new_rows_keep_the_others_bit_for_bit() -> None:
    model = llama(50, tied=False)
    old = torch.arange(0, 50, 2)
    selection = parts.select(model, ["new_rows"], old)
    assert set(selection.trainable) == {"model.embed_tokens.weight", "lm_head.weight"}
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    chosen = parts.apply(model, selection)
    optimizer = parts.optimizer(model, selection, RECIPE, "cpu")
    for _ in range(3):
        ids = torch.tensor([[*range(50), 0]])  # the last input predicts nothing
        model(input_ids=ids, labels=ids).loss.backward()
        parts.mask_gradients(model, selection)
        torch.nn.utils.clip_grad_norm_(chosen, 1.0)
        for group in optimizer.param_groups:
            group["lr"] = 0.1
        optimizer.step()
        optimizer.zero_grad()
    for name, parameter in model.named_parameters():
        same = (parameter == before[name]).reshape(parameter.shape[0], -1).all(1)
        if name in selection.trainable:
            assert same[old].all() and not same[1::2].any(), name
        else:
            assert same.all(), name


def test_new_rows_beside_whole_tables_mask_nothing() -> None:
    selection = parts.select(llama(50, tied=False), ["new_rows", "embeddings"], torch.tensor([1]))
    assert set(selection.frozen_rows) == {"lm_head.weight"}


def test_new_rows_need_provenance(tmp_path: Path) -> None:
    assert parts.old_rows(tmp_path) is None
    with pytest.raises(DataError, match=r"provenance\.jsonl"):
        parts.select(llama(50), ["new_rows"], parts.old_rows(tmp_path))
    rows = [{"id": 0, "how": "role"}, {"id": 1, "how": "combined"}, {"id": 2, "how": "copied"}, {"id": 3, "how": "random"}]
    (tmp_path / "provenance.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert parts.old_rows(tmp_path).tolist() == [0, 2]  # type: ignore[union-attr]
    (tmp_path / "provenance.jsonl").write_text('{"id": 0}\n')
    with pytest.raises(DataError, match="damaged"):
        parts.old_rows(tmp_path)


def test_only_matrices_decay() -> None:
    model = llama(50, tied=False)
    optimizer = parts.optimizer(model, parts.select(model, ["all"]), RECIPE, "cpu")
    shapes = {id(parameter): name for name, parameter in model.named_parameters()}
    decay = {shapes[id(p)]: group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert decay["model.embed_tokens.weight"] == decay["lm_head.weight"] == decay["model.norm.weight"] == 0
    assert decay["model.layers.0.mlp.up_proj.weight"] == 0.5
    assert len(decay) == len(shapes)


@pytest.mark.parametrize(("schedule", "last"), [("cosine", 0.1), ("linear", 0.1), ("constant", 1.0)])
def test_rate_warms_up_and_ends_where_it_should(schedule: str, last: float) -> None:
    stage = TrainingStage(name="one", train=["all"], bytes=1, lr=2.0, schedule=schedule, final_lr=0.1, warmup=0.1)  # type: ignore[arg-type]
    rates = [parts.learning_rate(stage, step, 100) for step in range(100)]
    assert rates[0] == pytest.approx(0.2) and rates[9] == rates[10] == 2.0
    assert all(a >= b for a, b in itertools.pairwise(rates[10:]))
    assert rates[-1] == pytest.approx(2.0 * last)
    assert parts.learning_rate(stage, 0, 1) == 2.0
