"""`subword` beside mergekit's subword approximation, on tokens whose bytes mergekit reads as they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import toys
import toytasks
from tokgraft import methods

subword = pytest.importorskip("mergekit.tokensurgeon.subword")

CASES = {"mean": ("mean", None), "weighted_mean": ("mergekit_weighted_mean", "weighted_mean"), "first_last": ("first_last", None)}


@pytest.mark.parametrize("scheme", sorted(CASES))
def test_same_rows(scheme: str) -> None:
    """mergekit gives the bytes' printable stand-ins to the tokenizer, so only printable ASCII tokens can be compared."""
    source, target = toys.tokenizer("byte_level"), toys.tokenizer("byte_level", 1200, "both")
    ours, right = CASES[scheme]
    task = toytasks.task("subword", source, target, tied=False)
    rows = methods.apply("subword", task, {"preset": ours})
    ascii_tokens = [n for n, way in enumerate(rows.provenance) if way.how == "combined" and printable(task.target[n].text)]
    assert len(ascii_tokens) > 100
    named: list[Any] = [task.target[number].text.decode() for number in ascii_tokens]
    for table, head, found in ((task.E, False, rows.input), (task.U, True, rows.output)):
        theirs = subword.subword_approximate(torch.from_numpy(table), named, head, source, subword.SubwordMethod(scheme)).numpy()
        assert found is not None
        assert np.abs(found[ascii_tokens] - theirs).max() < 1e-6
    if right:
        meant = methods.apply("subword", task, {"preset": right})
        assert meant.output is not None and np.abs(meant.output[ascii_tokens] - theirs).max() > 0.1


def printable(text: bytes) -> bool:
    return text.isascii() and text.decode().isprintable()
