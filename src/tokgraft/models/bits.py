"""Bits per byte of documents: the one number that compares models with different tokenizers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from tokgraft.errors import ModelError, TokenizerError
from tokgraft.models.head import PlainHead, plain_head

LOGIT_BYTES = 64_000_000  # logits held at once while scoring

Window = tuple[list[int], list[int]]


def prefix_token(tokenizer: Any) -> int:
    """The token that stands before a document: BOS if the tokenizer defines one, else EOS.

    Raises:
        TokenizerError: It defines neither.
    """
    for token in (tokenizer.bos_token_id, tokenizer.eos_token_id):
        if token is not None:
            return int(token)
    raise TokenizerError(
        "the tokenizer defines neither BOS nor EOS", "set one: a document needs a token that its first token is predicted from"
    )


def windows(tokens: list[int], prefix: int, max_tokens: int) -> Iterator[Window]:
    """Cut a document into (input, predicted tokens): every token is predicted once, no input is longer than `max_tokens`.

    The first window starts with `prefix`; each later one starts with the last token of the one before; the last one is
    lengthened to the left to `max_tokens`, as the rolling log-likelihood of lm-evaluation-harness does, so that both give one number.
    """
    done = 0
    while done < len(tokens):
        end = min(done + max_tokens, len(tokens))
        start = max(end - max_tokens, 0)
        given = [prefix, *tokens[: end - 1]] if start == 0 else tokens[start - 1 : end - 1]
        yield given, tokens[done:end]
        done = end


@torch.no_grad()
def document_bits(model: Any, tokenizer: Any, texts: list[str], *, max_tokens: int, batch_tokens: int = 4096) -> list[tuple[float, int]]:
    """Information of each text under a model, in bits, and its length in UTF-8 bytes; bits per byte is their quotient.

    Each document stands alone: its first token is predicted from `prefix_token`, longer documents are cut into `windows`.

    Args:
        model: Causal language model.
        tokenizer: Its tokenizer; it adds no special tokens here.
        texts: The documents.
        max_tokens: Longest input in tokens (at most the model's context).
        batch_tokens: Tokens of one forward pass, padding included (never less than one window).

    Raises:
        ModelError: The model gives NaN.
    """
    prefix = prefix_token(tokenizer)
    encoded = tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"] if texts else []
    work = [(number, *window) for number, ids in enumerate(encoded) for window in windows(list(ids), prefix, max_tokens)]
    work.sort(key=lambda item: -len(item[1]))
    nats = [0.0] * len(texts)
    head = plain_head(model)
    was_training = model.training
    model.eval()
    try:
        for batch in _batches(work, batch_tokens):
            for (number, _, _), value in zip(batch, _window_nats(model, head, [item[1:] for item in batch])):
                nats[number] += value
    finally:
        model.train(was_training)
    if not all(math.isfinite(value) for value in nats):
        raise ModelError(
            "the model gives NaN or infinite log-probabilities", "check its weights (`tokgraft doctor`) and how it was trained"
        )
    return [(value / math.log(2), len(text.encode())) for value, text in zip(nats, texts)]


def bits_per_byte(documents: list[tuple[float, int]]) -> float:
    """Bits of all documents divided by bytes of all documents."""
    return sum(bits for bits, _ in documents) / max(sum(size for _, size in documents), 1)


def _batches(work: list[tuple[int, list[int], list[int]]], batch_tokens: int) -> Iterator[list[tuple[int, list[int], list[int]]]]:
    """Split work, sorted by falling input length, into batches of at most `batch_tokens` padded tokens."""
    start = 0
    while start < len(work):
        rows = max(batch_tokens // len(work[start][1]), 1)
        yield work[start : start + rows]
        start += rows


def _window_nats(model: Any, head: PlainHead | None, batch: list[Window]) -> list[float]:
    device = model.get_input_embeddings().weight.device
    width = len(batch[0][0])
    ids = torch.zeros(len(batch), width, dtype=torch.long)
    labels = torch.full((len(batch), width), -100, dtype=torch.long)
    for row, (given, predicted) in enumerate(batch):
        ids[row, : len(given)] = torch.tensor(given)
        labels[row, len(given) - len(predicted) : len(given)] = torch.tensor(predicted)
    # Padding stands to the right of a causal model's text: it needs no mask.
    ids, labels = ids.to(device), labels.to(device)
    counted = labels != -100
    targets = labels[counted]
    if head is None:
        losses = _losses(model(input_ids=ids, use_cache=False).logits[counted], targets)
    else:
        states = head.hidden(ids)[counted]
        chunk = max(LOGIT_BYTES // (4 * head.weight.shape[0]), 1)
        losses = torch.cat([
            _losses(torch.nn.functional.linear(states[i : i + chunk], head.weight, head.bias), targets[i : i + chunk])
            for i in range(0, len(states), chunk)
        ])  # fmt: skip
    rows = counted.nonzero()[:, 0].cpu()
    return torch.zeros(len(batch), dtype=torch.float64).index_add_(0, rows, losses.double().cpu()).tolist()


def _losses(logits: Tensor, targets: Tensor) -> Tensor:
    return torch.nn.functional.cross_entropy(logits.float(), targets, reduction="none")
