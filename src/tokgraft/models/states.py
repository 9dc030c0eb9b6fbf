"""What a model reads out of text: the final hidden states that its head turns into predictions."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from tokgraft.errors import ModelError, UnsupportedError
from tokgraft.logs import Heartbeat
from tokgraft.models.bits import windows
from tokgraft.models.kinds import predicts_next
from tokgraft.models.tables import is_tied, set_embedding_tables

Floats = npt.NDArray[np.float32]
BATCH_TOKENS = 2048  # of one forward pass, padding included
PROBE = 16


class BodyStates:
    """Runs the body of a base model with other input rows, and keeps the states of each document until the rows change.

    Args:
        load: Gives a fresh copy of the base model; called once, when the first states are asked for.
    """

    def __init__(self, load: Callable[[], Any]) -> None:
        self._load = load
        self._model: Any = None
        self._scale = 1.0
        self._table = b""
        self._kept: dict[bytes, Floats] = {}

    def __call__(self, rows: Any, documents: Sequence[npt.NDArray[np.int32]]) -> Floats:
        """The final hidden states that the tokens of documents are predicted from.

        Args:
            rows: New rows (`input`, `output`, `bias`); only the input table counts.
            documents: Ids of each document, what it is predicted from (its first id) included.

        Returns:
            (n, d_out), float32: one state for each token but the first of each document, in order. A constant scale of the logits is
            part of them.

        Raises:
            ModelError: The logits are not a matrix product of such states, or a state is not finite.
        """
        table = hashlib.sha256(np.ascontiguousarray(rows.input).data).digest()
        if table != self._table:
            self._kept.clear()
            self._put(rows)
            self._table = table
        keys = [document.tobytes() for document in documents]
        missing = {key: document for key, document in zip(keys, documents) if key not in self._kept}
        if missing:
            self._kept.update(zip(missing, self._read(list(missing.values()))))
        return np.concatenate([self._kept[key] for key in keys])

    def _put(self, rows: Any) -> None:
        if self._model is None:
            self._model = self._load()
            self._scale = logit_scale(self._model)
        biased = getattr(self._model.get_output_embeddings(), "bias", None) is not None
        set_embedding_tables(
            self._model, rows.input, None if is_tied(self._model) else rows.output, rows.bias if biased else None, rows.columns
        )

    @torch.no_grad()
    def _read(self, documents: list[npt.NDArray[np.int32]]) -> list[Floats]:
        # Cut like a document that is scored: one state for each predicted token, whatever the model's context.
        width = self._model.get_output_embeddings().weight.shape[1]
        found = [np.empty((len(document) - 1, width), dtype=np.float32) for document in documents]
        work: list[tuple[int, int, list[int], int]] = []
        for number, document in enumerate(documents):
            place = 0
            for given, predicted in windows(document[1:].tolist(), int(document[0]), _context(self._model)):
                work.append((number, place, given, len(predicted)))
                place += len(predicted)
        work.sort(key=lambda item: -len(item[2]))
        heartbeat, done = Heartbeat("reading states", sum(len(states) for states in found), "tokens"), 0
        while work:
            count = max(BATCH_TOKENS // len(work[0][2]), 1)
            batch, work = work[:count], work[count:]
            ids = torch.zeros(len(batch), len(batch[0][2]), dtype=torch.long)
            for row, (_, _, given, _) in enumerate(batch):
                ids[row, : len(given)] = torch.tensor(given)
            # Padding stands to the right of a causal model's text: it needs no mask.
            states = self._model.base_model(input_ids=ids, use_cache=False).last_hidden_state.float().numpy()
            if not np.isfinite(states).all():
                raise ModelError(
                    "the model gives NaN or infinite hidden states with the new rows", "the method before this one is at fault"
                )
            for row, (number, place, given, size) in enumerate(batch):
                found[number][place : place + size] = np.float32(self._scale) * states[row, len(given) - size : len(given)]
                done += size
            heartbeat.beat(done)
        return found


@torch.no_grad()
def logit_scale(model: Any) -> float:
    """The constant that a model multiplies head @ state by; 1 for most.

    Raises:
        ModelError: The model is no causal language model, or its logits are something else (a soft cap, a transform before the head).
    """
    layer, body, name = model.get_output_embeddings(), getattr(model, "base_model", None), type(model).__name__
    if not predicts_next(model) or body is None or body is model or not isinstance(layer, torch.nn.Linear):
        raise UnsupportedError(f"{name} has no head that predicts the next token", "refiners of the head need a causal language model")
    ids = (torch.arange(PROBE) % layer.weight.shape[0])[None]
    plain = torch.nn.functional.linear(body(input_ids=ids, use_cache=False).last_hidden_state, layer.weight, layer.bias).double()
    own = model(input_ids=ids, use_cache=False).logits.double()
    if own.shape == plain.shape:
        scale = float((plain * own).sum() / (plain * plain).sum().clamp(min=1e-30))
        if abs(scale - 1) < 1e-4:
            scale = 1.0
        if torch.allclose(own, scale * plain, rtol=1e-3, atol=1e-3) and (scale == 1.0 or layer.bias is None):
            return scale
    raise UnsupportedError(
        f"the logits of {name} are more than its head times its hidden states (a soft cap, for example)",
        "leave the refiners of the head out for this model",
    )


def _context(model: Any) -> int:
    config = model.config.get_text_config()
    return int(getattr(config, "max_position_embeddings", None) or getattr(config, "n_positions", None) or 2048)
