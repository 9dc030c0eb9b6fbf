"""The embedding tables of a model: read as numpy copies, replaced together with everything that depends on their size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from tokgraft.errors import ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Floats = npt.NDArray[np.float32]


def is_tied(model: PreTrainedModel) -> bool:
    """Whether input table and head are one tensor."""
    head = model.get_output_embeddings()
    return head is not None and head.weight.data_ptr() == model.get_input_embeddings().weight.data_ptr()


def embedding_tables(model: PreTrainedModel) -> tuple[Floats, Floats | None]:
    """Input table E and output table U as float32 copies.

    Returns:
        E of shape (rows, d); U of shape (rows, d), or None when it is the same tensor.

    Raises:
        ModelError: The model has no output table (it is not a language model).
    """
    head = _head(model)
    inputs = _copy(model.get_input_embeddings().weight)
    return inputs, None if is_tied(model) else _copy(head.weight)


def head_bias(model: PreTrainedModel) -> Floats | None:
    """A float32 copy of the head's bias, of shape (rows,); None when it has none."""
    bias = getattr(_head(model), "bias", None)
    return None if bias is None else _copy(bias)


def vocabulary_tensors(model: PreTrainedModel) -> list[torch.Tensor]:
    """The parameters that have a row or a number for each token."""
    head = _head(model)
    found = [model.get_input_embeddings().weight, head.weight, getattr(head, "bias", None)]
    return [tensor for tensor in found if tensor is not None]


def set_embedding_tables(model: PreTrainedModel, E: Floats, U: Floats | None = None, bias: Floats | None = None) -> None:
    """Replace the tables of `model` in place; the number of rows may change, the tie state does not.

    Everything that depends on the rows follows: sizes of the layers, the head's bias, `vocab_size` of the config. Token ids of config and
    generation config stay as they are: rows do not say which tokens they are for (`tokgraft.models.ids.follow` maps ids by token).

    Args:
        model: The model.
        E: New input table, (rows, d).
        U: New output table, (rows, d); None when the model is tied.
        bias: New bias of the head, (rows,); needed exactly when the head has one.

    Raises:
        ModelError: A table is missing or superfluous, has another width or number of rows, or holds NaN or Inf.
    """
    table, head = model.get_input_embeddings(), _head(model)
    tied, old_bias = is_tied(model), getattr(head, "bias", None)
    _check(model, E, U, bias, tied, old_bias is not None)
    rows = E.shape[0]
    _replace(model, table.weight, E)
    if U is not None:
        _replace(model, head.weight, U)
    if bias is not None and old_bias is not None:
        _replace(model, old_bias, bias)
    table.num_embeddings = rows
    if hasattr(head, "out_features"):
        head.out_features = rows
    if getattr(table, "padding_idx", None) is not None:
        table.padding_idx = None  # a row of the old vocabulary; it would get no gradient
    config = model.config.get_text_config()
    config.vocab_size = rows
    if hasattr(model, "vocab_size"):
        model.vocab_size = rows


def untie(model: PreTrainedModel) -> None:
    """Give the head of a tied model a table of its own, equal to the input table until one of them is changed; in place.

    Raises:
        ModelError: The model has no language-model head.
    """
    head = _head(model)
    if not is_tied(model):
        return
    for name, parameter in list(head.named_parameters(recurse=False)):  # encoders hold the bias in a second place, too
        setattr(head, name, torch.nn.Parameter(parameter.detach().clone(), requires_grad=parameter.requires_grad))
    for settings in (model.config, model.config.get_text_config()):
        settings.tie_word_embeddings = False


def _check(model: PreTrainedModel, E: Floats, U: Floats | None, bias: Floats | None, tied: bool, biased: bool) -> None:
    name = type(model).__name__
    if tied and U is not None:
        raise ModelError(f"{name} is tied: its head is the input table, but an output table was given", "give E only")
    if not tied and U is None:
        raise ModelError(f"{name} is untied: its head needs rows of its own, but no output table was given", "give U as well")
    if biased != (bias is not None):
        raise ModelError(f"{name}: the head {'has a bias, but none was given' if biased else 'has no bias, but one was given'}")
    width, head_width = model.get_input_embeddings().weight.shape[1], _head(model).weight.shape[1]
    for label, array, shape in (("E", E, (E.shape[0], width)), ("U", U, (E.shape[0], head_width)), ("bias", bias, (E.shape[0],))):
        if array is None:
            continue
        if array.shape != shape:
            raise ModelError(f"{name}: {label} has shape {array.shape}, expected {shape}")
        if not np.isfinite(array).all():
            bad = np.unique(np.argwhere(~np.isfinite(array))[:, 0])
            raise ModelError(
                f"{name}: new {label} holds NaN or Inf in {bad.size} rows, first {bad[:10].tolist()}", "the method is at fault"
            )


def _replace(model: PreTrainedModel, old: torch.Tensor, array: Floats) -> None:
    """Put a new parameter in every place of the model that holds `old`, so that ties survive a change of size."""
    new = torch.nn.Parameter(torch.tensor(np.ascontiguousarray(array), dtype=old.dtype, device=old.device), requires_grad=old.requires_grad)
    for module in model.modules():
        for name, parameter in list(module._parameters.items()):
            if parameter is not None and (parameter is old or (parameter.shape == old.shape and parameter.data_ptr() == old.data_ptr())):
                setattr(module, name, new)


def _head(model: PreTrainedModel) -> Any:
    head = model.get_output_embeddings()
    if head is None or getattr(head, "weight", None) is None:
        raise ModelError(f"{type(model).__name__} has no language-model head", "give a causal or masked language model")
    return head


def _copy(tensor: torch.Tensor) -> Floats:
    return np.array(tensor.detach().float().cpu().numpy(), dtype=np.float32, copy=True)
