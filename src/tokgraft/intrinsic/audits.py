"""Tokens that no text produces, and tokens that a model has hardly learned.

Under-trained tokens after Magikarp (arXiv:2405.05417): an indicator from the tables, confirmed by asking the model to repeat them. The indicator follows the tables: with a head of its own, the cosine of an output row to the centre of rows
that are known to be unused, the first principal component removed; with tied tables, the distance of the row to that centre. Low values
are suspects. The centre is the median, not the mean: of the rows held to be unused, some may have been trained after all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tokgraft.errors import ModelError
from tokgraft.intrinsic.inputs import Subject
from tokgraft.tokenizers.audit import reachability

Floats = npt.NDArray[np.float32]
SHARE = 0.02
LEARNED = 0.01
"""A token that the model repeats with a lower probability counts as under-trained."""


def reach(subject: Subject) -> dict[str, Any]:
    """Which tokens a text can be encoded into: classes of the model alone, and of the whole tokenizer.

    The first are those of `tokgraft.tokenizers.audit.reachability`. For the second every token's text is encoded as a text of its own:
    `text_level` counts tokens that do not come back alone (blocked by the normaliser, the pre-tokenizer or the merges).
    """
    found = reachability(subject.base.spec)
    vocabulary = subject.vocabulary
    whole = [number for number in vocabulary.text_ids if vocabulary[number].kind == "normal" and _decodes(vocabulary[number].text)]
    encoded = subject.tokenizer.encode_batch_fast([vocabulary[number].text.decode() for number in whole], add_special_tokens=False)
    lost = [number for number, item in zip(whole, encoded) if list(item.ids) != [number]]
    return {
        "classes": {name: len(ids) for name, ids in found.classes.items()},
        "unreachable": len(found.unreachable),
        "unreachable_as_set": len(found.unreachable_as_set),
        "unreachable_samples": [vocabulary[number].shown for number in found.unreachable[:20]],
        "text_level": {"tried": len(whole), "not_alone": len(lost), "samples": [vocabulary[number].shown for number in lost[:20]]},
    }


def _decodes(text: bytes) -> bool:
    try:
        return bool(text.decode())
    except UnicodeDecodeError:
        return False


def known_unused(subject: Subject, rows: int) -> list[int]:
    """Rows that no training text can have met: without a token, bytes that UTF-8 never has, tokens that are never produced.

    Where there are none of these, special tokens without a role stand in: most of them are kept for later and never trained.
    """
    vocabulary = subject.vocabulary
    found = set(range(rows)) - set(vocabulary.ids)
    never = {0xC0, 0xC1, *range(0xF5, 0x100)}
    found |= {number for number in vocabulary.text_ids if len(vocabulary[number].text) == 1 and vocabulary[number].text[0] in never}
    found |= set(reachability(subject.base.spec).unreachable)
    found = {number for number in found if number < rows}
    return sorted(found or {number for number in vocabulary.special_ids if number < rows and not vocabulary[number].roles})


def indicator(E: Floats, U: Floats | None, unused: Sequence[int]) -> tuple[str, Floats]:
    """(name, value of each row); lower is less trained.

    Args:
        E: Input table, (rows, d).
        U: Output table, (rows, d); None when tied.
        unused: Rows known to be unused; when there are none, the norm of the input row is all there is.

    Raises:
        ModelError: The table is empty or holds NaN.
    """
    if not E.size or not all(np.isfinite(table).all() for table in (E, U) if table is not None):
        raise ModelError("the embedding table is empty or holds NaN or Inf", "check the model: tokgraft verify")
    if not len(unused):
        return "norm of the input row", np.linalg.norm(E, axis=1).astype(np.float32)
    anchors = np.array(unused)
    if U is None:
        return "distance to the centre of unused rows", np.linalg.norm(E - np.median(E[anchors], axis=0), axis=1).astype(np.float32)
    _, _, directions = np.linalg.svd((U - U.mean(axis=0))[:: max(1, len(U) // 4096)], full_matrices=False)
    freed = U - np.outer(U @ directions[0], directions[0])
    centre = np.median(freed[anchors], axis=0)
    scale = np.maximum(np.linalg.norm(freed, axis=1) * np.linalg.norm(centre), 1e-12)
    return "cosine distance of the output row to the centre of unused rows", (1 - freed @ centre / scale).astype(np.float32)


def suspects(subject: Subject, values: Floats) -> list[int]:
    """The two per cent of tokens with the lowest indicator, specials and parts of characters left out."""
    vocabulary = subject.vocabulary
    ids = [number for number in vocabulary.text_ids if number < len(values) and _readable(vocabulary[number].text)]
    ids.sort(key=lambda number: (float(values[number]), number))
    return ids[: max(1, int(SHARE * len(ids)))] if ids else []


def _readable(text: bytes) -> bool:
    return _decodes(text) and bool(text.decode().strip())


def audit(subject: Subject, model: Path, confirm: int = 0) -> dict[str, Any]:
    """Suspects of a model, and how many of the first ones it cannot repeat.

    Args:
        subject: The model's own tokenizer.
        model: Model folder.
        confirm: How many suspects are confirmed by a forward pass; 0: none.

    Raises:
        ModelError: The folder holds no model, or one whose tables are smaller than the tokenizer.
    """
    from tokgraft.models.io import load_model
    from tokgraft.models.tables import embedding_tables

    network = load_model(Path(model))
    E, U = embedding_tables(network)
    if len(E) <= max(subject.vocabulary.ids):
        raise ModelError(f"{model} has {len(E)} rows, {subject.name} has ids up to {max(subject.vocabulary.ids)}",
                         "give the model that this tokenizer belongs to")  # fmt: skip
    unused = known_unused(subject, len(E))
    name, values = indicator(E, U, unused)
    found = suspects(subject, values)
    report: dict[str, Any] = {
        "indicator": name,
        "known_unused": len(unused),
        "suspects": len(found),
        "samples": [{"id": number, "token": subject.vocabulary[number].shown, "indicator": round(float(values[number]), 5)} for number in found[:20]],
    }  # fmt: skip
    if confirm:
        chosen = found[:confirm]
        odds = repeat(subject, _probability(network), chosen)
        missed = [number for number, chance in zip(chosen, odds) if chance < LEARNED]
        report["confirmed"] = {
            "asked": len(chosen),
            "under_trained": len(missed),
            "tokens": [subject.vocabulary[number].shown for number in missed[:20]],
        }
    return report


def repeat(subject: Subject, probability: Callable[[list[int], int], float], ids: Sequence[int]) -> list[float]:
    """Probability of each token after a text that has said it three times, once a line.

    Args:
        subject: The tokenizer.
        probability: Of the token with an id after a list of ids.
        ids: Tokens to ask for.
    """
    line = subject.tokenizer.encode("\n", add_special_tokens=False).ids
    prefix = [subject.ids[token] for token in subject.base.prefix]
    return [probability([*prefix, *([number, *line] * 3)], number) for number in ids]


def _probability(network: Any) -> Callable[[list[int], int], float]:
    import torch

    network.eval()

    def of(context: list[int], number: int) -> float:
        with torch.inference_mode():
            logits = network(input_ids=torch.tensor([context])).logits[0, -1].float()
        return float(torch.softmax(logits, dim=-1)[number])

    return of
