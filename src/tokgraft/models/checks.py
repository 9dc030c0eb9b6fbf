"""One validator for a model and its tokenizer, whoever made them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from tokgraft.errors import ModelError
from tokgraft.logs import log
from tokgraft.models.ids import put
from tokgraft.models.kinds import predicts_next
from tokgraft.models.tables import is_tied
from tokgraft.vocab import ROLES

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

SHOWN = 10


def check_model(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
    """Raise unless model and tokenizer belong together and every weight is a number.

    Checked: rows of both tables against `vocab_size` of the config and against the tokenizer's ids; special ids of config and generation
    config; the tied flag against the weights; NaN and Inf in every tensor; that a model which predicts the next token does not see it.

    Raises:
        ModelError: The first thing that does not hold, with the tensor, the rows or the key by name.
    """
    padded_rows(model, tokenizer)
    _check_sizes(model)
    _check_ids(model, tokenizer)
    _check_tie(model)
    _check_finite(model)
    _check_direction(model)


def padded_rows(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> list[int]:
    """Rows of the input table that no token of the tokenizer has (padding for speed, or gaps), in order.

    Statistics over a table must leave these out: they are untrained. The other way round, special tokens behind the last row are passed over
    with a warning: text has none of them, and models are published with such tokens (the place of an image, in the tokenizer that a text
    model shares with one that reads images).

    Raises:
        ModelError: Tokens of text or of a role (bos, eos, pad, ...) have no row.
    """
    rows = model.get_input_embeddings().weight.shape[0]
    vocabulary = tokenizer.get_vocab()
    ids = set(vocabulary.values())
    missing = sorted((number, token) for token, number in vocabulary.items() if number >= rows)
    added = tokenizer.added_tokens_decoder
    roles = {getattr(tokenizer, f"{role}_token_id") for role in ROLES}
    if missing and all(number in added and added[number].special and number not in roles for number, _ in missing):
        shown = ", ".join(f"{token!r} ({number})" for number, token in missing[:3])
        log.warning("%d special tokens behind the last of %d rows are left out: %s", len(missing), rows, shown)
    elif missing:
        shown = ", ".join(f"{token!r} ({number})" for number, token in missing[:3])
        raise ModelError(
            f"the tokenizer has {len(missing)} tokens without a row: ids go to {missing[-1][0]}, the input table has {rows} rows; first {shown}",
            "tokenizer and weights do not belong together: give the model's own tokenizer, or resize the model before",
        )
    return [row for row in range(rows) if row not in ids]


def align_special_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> list[str]:
    """Set the special ids of config and generation config to the tokenizer's; one sentence for each change of an id that was set.

    Chat models stop at several tokens: a list of stop ids that contains the tokenizer's end token is kept, and so is a stop id beside it
    that is a special or added token. An id outside the vocabulary is removed.

    Raises:
        ModelError: The architecture counts positions from the pad id, and the tokenizer's differs.
    """
    rows = model.get_input_embeddings().weight.shape[0]
    check_positions(model, tokenizer)
    changes = []
    for where, settings in _settings(model):
        for role in ROLES:
            key = f"{role}_token_id"
            old, own = getattr(settings, key, None), getattr(tokenizer, key, None)
            if role not in ("bos", "eos", "pad") and old is None:
                continue  # most configs do not have these keys at all
            new: Any = own if own is not None else old if _inside(old, rows) else None
            if role == "eos" and own is not None:
                new = _stops(own, old, rows, tokenizer)
            if old != new and put(settings, key, new) and old is not None:
                changes.append(f"{where}: {key} {old} -> {new}")
    return changes


def _stops(own: int, old: Any, rows: int, tokenizer: PreTrainedTokenizerFast) -> int | list[int]:
    """The tokenizer's end token with the stop ids beside it that are no accident."""
    numbers = [number for number in (old if isinstance(old, (list, tuple)) else [old]) if _inside(number, rows)]
    if own not in numbers:
        beside = set(tokenizer.added_tokens_decoder) - {tokenizer.bos_token_id, tokenizer.pad_token_id}
        numbers = [own, *(number for number in numbers if number in beside)]
    return numbers if len(numbers) > 1 else old if old == [own] else own


def check_positions(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
    """Raise if rows cannot move: RoBERTa's family numbers positions from pad id + 1, with another pad id every position embedding would move.

    Raises:
        ModelError: The tokenizer's pad id is not the model's.
    """
    for name, module in model.named_modules():
        padding = getattr(module, "padding_idx", None)
        if name.endswith("position_embeddings") and isinstance(module, torch.nn.Embedding) and padding is not None:
            if tokenizer.pad_token_id != padding:
                raise ModelError(
                    f"{type(model).__name__} counts positions from its pad id {padding}, the tokenizer's pad id is {tokenizer.pad_token_id}",
                    f"give the tokenizer a pad token with id {padding}",
                )
            return


def _settings(model: PreTrainedModel) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = [("config", model.config)]
    if (text := model.config.get_text_config()) is not model.config:
        found.append(("text config", text))
    if getattr(model, "generation_config", None) is not None:
        found.append(("generation_config", model.generation_config))
    return found


def _inside(value: Any, rows: int) -> bool:
    numbers = value if isinstance(value, (list, tuple)) else [value]
    return all(isinstance(number, int) and 0 <= number < rows for number in numbers)


def _check_sizes(model: PreTrainedModel) -> None:
    rows = model.get_input_embeddings().weight.shape[0]
    declared = model.config.get_text_config().vocab_size
    if rows != declared:
        raise ModelError(f"config.vocab_size is {declared}, but the input table has {rows} rows", "correct vocab_size in config.json")
    head = model.get_output_embeddings()
    if head is None:
        raise ModelError(f"{type(model).__name__} has no language-model head", "give a causal or masked language model")
    for label, tensor in (("head", head.weight), ("head bias", getattr(head, "bias", None))):
        if tensor is not None and tensor.shape[0] != rows:
            raise ModelError(f"the {label} has {tensor.shape[0]} rows, the input table {rows}", "resize both alike")


def _check_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
    rows = model.get_input_embeddings().weight.shape[0]
    for where, settings in _settings(model):
        for role in ROLES:
            key = f"{role}_token_id"
            value, own = getattr(settings, key, None), getattr(tokenizer, key, None)
            if value is None:
                continue
            if not _inside(value, rows):
                raise ModelError(f"{where}.{key} is {value}, outside the {rows} rows", f"set it to the tokenizer's: {own}")
            numbers = value if isinstance(value, (list, tuple)) else [value]
            if own is not None and own not in numbers:
                raise ModelError(
                    f"{where}.{key} is {value}, the tokenizer's is {own}",
                    "make them agree: correct the file, or import the model with `tokgraft model` (kind local)",
                )


def _check_tie(model: PreTrainedModel) -> None:
    flag, tied = bool(getattr(model.config.get_text_config(), "tie_word_embeddings", False)), is_tied(model)
    if flag != tied:
        state = "one tensor" if tied else "two tensors"
        raise ModelError(
            f"config.tie_word_embeddings is {flag}, but input table and head are {state}", "correct config.json or tie the weights"
        )


def _check_finite(model: PreTrainedModel) -> None:
    tables = {id(model.get_input_embeddings().weight), id(getattr(model.get_output_embeddings(), "weight", None))}
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if not tensor.is_floating_point() or torch.isfinite(tensor).all():
            continue
        bad = ~torch.isfinite(tensor)
        place = f"{int(bad.sum())} of {tensor.numel()} values"
        if id(tensor) in tables:
            found = bad.any(dim=1).nonzero().flatten().tolist()
            place = f"{len(found)} rows: {', '.join(map(str, found[:SHOWN]))}{', ...' if len(found) > SHOWN else ''}"
        raise ModelError(f"{name} holds NaN or Inf in {place}", "the weights are damaged; fetch or train the model again")


@torch.no_grad()
def _check_direction(model: PreTrainedModel) -> None:
    """Run a model that predicts the next token on two texts that differ in their last token only: what it says of the tokens before may not differ."""
    if not predicts_next(model):
        return
    rows = model.get_input_embeddings().weight.shape[0]
    ids = torch.arange(4).remainder(rows).repeat(2, 1)
    ids[1, -1] = rows - 1 if rows > 4 else 0
    logits = model(input_ids=ids.to(model.device), use_cache=False).logits[:, :-1].float()
    apart = (logits[0] - logits[1]).abs().max()
    if apart > 1e-5 * logits.abs().max():
        raise ModelError(
            f"{type(model).__name__} sees the tokens that it predicts: what it says of a token changes with the ones after it",
            "it is an encoder: give its masked language model (`architectures` in config.json), or set is_decoder if it was trained as a decoder",
        )
