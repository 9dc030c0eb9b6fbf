"""The embedding tables of a model: read as numpy copies, replaced together with everything that depends on their size."""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from tokgraft.errors import ModelError, UnsupportedError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Floats = npt.NDArray[np.float32]
SIZES = ("vocab_size_per_layer_input",)  # sizes of further tables that configs name beside vocab_size


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
    """The tensors that have a row or a number for each token."""
    head = _head(model)
    return [model.get_input_embeddings().weight, head.weight, *_biases(model), *(part.tensor for part in _further(model))]


def further_columns(model: PreTrainedModel) -> Floats | None:
    """A float32 copy of what a model has for each token beside input table, output table and bias.

    Gemma 3n has a second input table for its layers, the head of MobileBERT a second matrix.

    Returns:
        (rows, k): the tables side by side, each with the axis of the tokens first and the others flattened; None for most models. A table
        with fewer rows than the input table is filled up with its first row, which such models use for tokens without one.

    Raises:
        UnsupportedError: One is made of whole numbers (a hash of each token, for example), which no method can mix.
    """
    rows, found = len(model.get_input_embeddings().weight), []
    for part in _further(model):
        if part.constant:
            continue
        if not part.tensor.is_floating_point():
            raise UnsupportedError(
                f"{type(model).__name__} has a table of whole numbers for its tokens ({part.name}), which no method can make",
                "take a base without it",
            )
        columns = _copy(part.tensor.movedim(part.axis, 0).reshape(part.tensor.shape[part.axis], -1))
        found.append(np.concatenate([columns, np.repeat(columns[:1], rows - len(columns), axis=0)]))
    return np.concatenate(found, axis=1) if found else None


class _Part(NamedTuple):
    """A tensor with an axis of tokens that is neither input table nor head nor bias.

    Attributes:
        name: Its name.
        tensor: The tensor.
        axis: Its axis of tokens.
    """

    name: str
    tensor: torch.Tensor
    axis: int

    @property
    def constant(self) -> bool:
        """Whether it says the same of every token (a buffer that is not in use, a bias of zeros), and may stay so."""
        return not self.tensor.numel() or bool((self.tensor == self.tensor.flatten()[0]).all())


def _further(model: PreTrainedModel) -> list[_Part]:
    """Tensors whose shape follows the size of the vocabulary, beside the usual ones, in the order of the model.

    An axis as long as the vocabulary may be chance. So the model is made again without memory for a larger vocabulary, and what grows is
    indexed by tokens. Where that cannot be done (code of the folder's own), none are known.
    """
    table, head = model.get_input_embeddings().weight, _head(model)
    usual = {tensor.data_ptr() for tensor in (table, head.weight, *_biases(model)) if tensor is not None}
    text = model.config.get_text_config()
    sizes = {len(table), *(getattr(text, key, len(table)) for key in SIZES)}
    named = (*model.named_parameters(), *model.named_buffers())
    found = {name: tensor for name, tensor in named if sizes & set(tensor.shape) and tensor.data_ptr() not in usual}
    if not found:
        return []
    larger = copy.deepcopy(model.config)
    for key in ("vocab_size", *SIZES):
        if hasattr(larger.get_text_config(), key):
            setattr(larger.get_text_config(), key, getattr(text, key) + 8)
    try:
        with torch.device("meta"):
            grown = type(model)(larger)
    except Exception:  # a class of its own may need anything
        return []
    shapes = {name: tensor.shape for name, tensor in (*grown.named_parameters(), *grown.named_buffers())}
    parts = []
    for name, tensor in found.items():
        axes = [axis for axis, (old, new) in enumerate(zip(tensor.shape, shapes.get(name, tensor.shape))) if new != old]
        if axes:
            parts.append(_Part(name, tensor, axes[0]))
    return parts


def _biases(model: PreTrainedModel) -> list[torch.Tensor]:
    """The bias of the head, and the second place in which encoders hold it (another tensor once the model is untied)."""
    head = _head(model)
    if (bias := getattr(head, "bias", None)) is None:
        return []
    parents = [module for module in model.modules() if any(child is head for child in module.children())]
    seconds = [getattr(parent, "bias", None) for parent in parents]
    return [bias, *(second for second in seconds if isinstance(second, torch.nn.Parameter) and second.shape == bias.shape)]


def _replace_further(model: PreTrainedModel, parts: list[_Part], rows: int, columns: Floats | None) -> None:
    """Put new columns into the tensors that `further_columns` has read."""
    begin = 0
    for part in parts:
        rest = [size for axis, size in enumerate(part.tensor.shape) if axis != part.axis]
        if part.constant:
            shape = [rows if axis == part.axis else size for axis, size in enumerate(part.tensor.shape)]
            _put(model, part.tensor, part.tensor.flatten()[0].expand(shape).contiguous())
            continue
        assert columns is not None  # _check
        width = math.prod(rest)
        block = torch.tensor(columns[:, begin : begin + width]).reshape(rows, *rest).movedim(0, part.axis)
        begin += width
        _put(model, part.tensor, block.contiguous())
    for module in model.modules():
        if isinstance(module, torch.nn.Linear):
            module.out_features, module.in_features = module.weight.shape
        elif isinstance(module, torch.nn.Embedding) and module.num_embeddings != len(module.weight):
            module.num_embeddings, module.padding_idx = len(module.weight), None
        for key in SIZES:
            if hasattr(module, key):
                setattr(module, key, rows)
    text = model.config.get_text_config()
    for key in SIZES:
        if hasattr(text, key):
            setattr(text, key, rows)


def set_embedding_tables(
    model: PreTrainedModel, E: Floats, U: Floats | None = None, bias: Floats | None = None, columns: Floats | None = None
) -> None:
    """Replace the tables of `model` in place; the number of rows may change, the tie state does not.

    Everything that depends on the rows follows: sizes of the layers, the head's bias, `vocab_size` of the config. Token ids of config and
    generation config stay as they are: rows do not say which tokens they are for (`tokgraft.models.ids.follow` maps ids by token).

    Args:
        model: The model.
        E: New input table, (rows, d).
        U: New output table, (rows, d); None when the model is tied.
        bias: New bias of the head, (rows,); needed exactly when the head has one.
        columns: New `further_columns`, (rows, k); needed exactly when the model has any.

    Raises:
        ModelError: A table is missing or superfluous, has another width or number of rows, or holds NaN or Inf.
    """
    table, head = model.get_input_embeddings(), _head(model)
    tied, old_bias, further = is_tied(model), getattr(head, "bias", None), _further(model)
    _check(model, E, U, bias, tied, old_bias is not None)
    _check_columns(model, further, E.shape[0], columns)
    rows = E.shape[0]
    for old, array in ((table.weight, E), (head.weight, U), *((old, bias) for old in _biases(model))):
        if array is not None and old is not None:
            _put(model, old, torch.tensor(np.ascontiguousarray(array)))
    if further:
        _replace_further(model, further, rows, columns)
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


def _check_columns(model: PreTrainedModel, further: list[_Part], rows: int, columns: Floats | None) -> None:
    """Raise unless the columns are those of the further tables."""
    name, mixed = type(model).__name__, [part for part in further if not part.constant]
    if (columns is None) != (not mixed):
        shown = ", ".join(part.name for part in mixed)
        raise ModelError(
            f"{name} has further tables of its tokens: {shown}" if mixed else f"{name} has no further tables", "see further_columns"
        )
    if columns is None:
        return
    width = sum(part.tensor.numel() // part.tensor.shape[part.axis] for part in mixed)
    if columns.shape != (rows, width) or not np.isfinite(columns).all():
        raise ModelError(f"{name}: columns have shape {columns.shape}, expected {(rows, width)}, all finite", "the method is at fault")


def _put(model: PreTrainedModel, old: torch.Tensor, values: torch.Tensor) -> None:
    """Put a new parameter or buffer in every place of the model that holds `old`, so that ties survive a change of size."""
    new = values.to(dtype=old.dtype, device=old.device)
    if isinstance(old, torch.nn.Parameter):
        new = torch.nn.Parameter(new, requires_grad=old.requires_grad)
    for module in model.modules():
        for name, held in (*module._parameters.items(), *module._buffers.items()):
            if held is not None and (held is old or (held.shape == old.shape and held.data_ptr() == old.data_ptr())):
                setattr(module, name, new)


def _head(model: PreTrainedModel) -> Any:
    head = model.get_output_embeddings()
    if head is None or getattr(head, "weight", None) is None:
        raise ModelError(f"{type(model).__name__} has no language-model head", "give a causal or masked language model")
    return head


def _copy(tensor: torch.Tensor) -> Floats:
    return np.array(tensor.detach().float().cpu().numpy(), dtype=np.float32, copy=True)
