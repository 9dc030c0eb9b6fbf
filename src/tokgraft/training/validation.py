"""Validation: bits per byte of dev pages, several times in a run."""

from __future__ import annotations

from typing import Any

from tokgraft.models.bits import bits_per_byte, document_bits
from tokgraft.training.device import DeviceContext
from tokgraft.training.text import TrainingText

WINDOW = 1024  # longest window, in tokens; shorter where the model's context is


def context_length(model: Any) -> int | None:
    """The longest text that a model reads, in tokens; None where its config says nothing."""
    config = model.config.get_text_config()
    return getattr(config, "max_position_embeddings", None) or getattr(config, "n_positions", None)


class Validation:
    """Scores the dev pages with a model as it is when it is called.

    Args:
        model: The model that is trained.
        tokenizer: Its tokenizer.
        text: The corpora of the run.
        context: Device of the run.
    """

    def __init__(self, model: Any, tokenizer: Any, text: TrainingText, context: DeviceContext) -> None:
        self._model, self._tokenizer, self._text, self._context = model, tokenizer, text, context
        self._window = min(context_length(model) or WINDOW, WINDOW)

    def __call__(self) -> dict[str, float]:
        """Column ("val_bpb", "val_bpb_english") -> bits per byte."""
        with self._context.autocast():
            values = {
                name: bits_per_byte(document_bits(self._model, self._tokenizer, texts, max_tokens=self._window))
                for name, texts in self._text.dev.items()
            }
        if self._text.same:
            values["val_bpb_english"] = values["val_bpb"]
        return values
