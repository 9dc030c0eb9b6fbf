"""Which parameters a stage trains, and the optimizer that trains them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tokgraft import jsonl
from tokgraft.config.recipe import Part, TrainingRecipe, TrainingStage
from tokgraft.errors import DataError, ModelError

PROVENANCE = "provenance.jsonl"
OLD = {"copied", "role"}  # a row that came over as it was; every other one counts as new


@dataclass(frozen=True)
class Selection:
    """The parameters that learn in a stage.

    Attributes:
        trainable: Names of parameters, in the model's order; a tied table counts once.
        frozen_rows: Parameter name -> rows of it that keep their values (stages that train `new_rows` only).
    """

    trainable: list[str]
    frozen_rows: dict[str, Tensor] = field(default_factory=dict)


def select(model: Any, parts: Iterable[Part], old_rows: Tensor | None = None) -> Selection:
    """Resolve parts to parameters.

    `embeddings` is the input table, `head` the output table and its bias; tied models have one table, so either part trains both.
    `body` is everything else: layers, norms, learned positions. `layers_odd` and `layers_even` count layers from 1,
    `layers_outer2` are the two lowest and the two highest.

    Args:
        model: The model.
        parts: Parts of the stage.
        old_rows: Ids of the rows that `new_rows` leaves alone.

    Raises:
        DataError: `new_rows` is asked for, and nobody knows which rows are new.
        ModelError: A part matches no parameter.
    """
    parts = set(parts)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    embeddings = {names[id(model.get_input_embeddings().weight)]}
    head = {names[id(parameter)] for parameter in model.get_output_embeddings().parameters()}
    tables = embeddings | head
    body = set(names.values()) - tables
    chosen: set[str] = set()
    if "all" in parts:
        chosen |= set(names.values())
    if "body" in parts:
        chosen |= body
    if "embeddings" in parts:
        chosen |= embeddings
    if "head" in parts:
        chosen |= head
    if layers := parts & {"layers_odd", "layers_even", "layers_outer2"}:
        chosen |= _layers(model, layers)
    masked: dict[str, Tensor] = {}
    if "new_rows" in parts:
        if old_rows is None:
            raise DataError("a stage trains new_rows, and the model has no provenance.jsonl that tells which rows are new",
                            "give a model that `tokgraft transplant` made, or train embeddings instead")  # fmt: skip
        masked = dict.fromkeys(sorted(tables - chosen), old_rows)
        chosen |= tables
    if not chosen:
        raise ModelError(f"{type(model).__name__} has no parameters for {', '.join(sorted(parts))}", "choose other parts in the recipe")
    return Selection([name for name in names.values() if name in chosen], masked)


def old_rows(folder: Path) -> Tensor | None:
    """Ids of the rows that a transplant copied, from the model folder's provenance.jsonl; None when there is no such file.

    Raises:
        DataError: The file is damaged.
    """
    path = Path(folder) / PROVENANCE
    if not path.is_file():
        return None
    again = "make the model again with `tokgraft transplant`"
    ids = []
    for row in jsonl.records(path, again):
        if not isinstance(row.get("id"), int) or not isinstance(row.get("how"), str):
            raise DataError(f"{path} is damaged: a row has no id, or does not say how it was made", again)
        if row["how"] in OLD:
            ids.append(row["id"])
    return torch.tensor(sorted(ids), dtype=torch.long)


def _layers(model: Any, kinds: set[Part]) -> set[str]:
    """Names of the parameters of the chosen layers: those of the module list with as many members as the config counts layers."""
    count = model.config.get_text_config().num_hidden_layers
    lists = [(name, module) for name, module in model.named_modules() if isinstance(module, torch.nn.ModuleList) and len(module) == count]
    if not lists:
        raise ModelError(f"cannot find the {count} layers of {type(model).__name__}", "train body or all instead of single layers")
    name, modules = lists[0]
    wanted = {
        index for index in range(count)
        if ("layers_odd" in kinds and index % 2 == 0)
        or ("layers_even" in kinds and index % 2 == 1)
        or ("layers_outer2" in kinds and (index < 2 or index >= count - 2))
    }  # fmt: skip
    return {f"{name}.{index}.{inner}" for index in wanted for inner, _ in modules[index].named_parameters()}


def apply(model: Any, selection: Selection) -> list[torch.nn.Parameter]:
    """Let the selected parameters learn and nothing else; they are returned in the model's order."""
    chosen = set(selection.trainable)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in chosen)
        parameter.grad = None
    return [parameter for name, parameter in model.named_parameters() if name in chosen]


def mask_gradients(model: Any, selection: Selection) -> None:
    """Clear the gradients of rows that keep their values (AdamW without weight decay then leaves them bit for bit)."""
    for name, rows in selection.frozen_rows.items():
        gradient = model.get_parameter(name).grad
        if gradient is not None:
            gradient.index_fill_(0, rows.to(gradient.device), 0.0)


def optimizer(model: Any, selection: Selection, recipe: TrainingRecipe, device: str) -> torch.optim.AdamW:
    """AdamW (fused) over the selected parameters; matrices decay, embeddings, head, norms and biases do not."""
    tables = {id(model.get_input_embeddings().weight), id(model.get_output_embeddings().weight)}
    chosen = set(selection.trainable)
    decayed: list[torch.nn.Parameter] = []
    plain: list[torch.nn.Parameter] = []
    for name, parameter in model.named_parameters():
        if name in chosen:
            (decayed if parameter.ndim >= 2 and id(parameter) not in tables else plain).append(parameter)
    groups = [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": plain, "weight_decay": 0.0}]
    kept = [group for group in groups if group["params"]]
    return torch.optim.AdamW(kept, lr=0.0, betas=recipe.betas, eps=1e-8, fused=device in {"cpu", "cuda"})


def learning_rate(stage: TrainingStage, step: int, steps: int) -> float:
    """Rate of step `step` (from 0) of `steps`: linear warm-up to the peak, then decay to `final_lr` x peak in the last step."""
    warm = math.ceil(stage.warmup * steps)
    if step < warm:
        return stage.lr * (step + 1) / warm
    done = (step - warm) / max(steps - warm - 1, 1)
    if stage.schedule == "constant":
        return stage.lr
    share = 1 - done if stage.schedule == "linear" else 0.5 * (1 + math.cos(math.pi * done))
    return stage.lr * (stage.final_lr + (1 - stage.final_lr) * share)
