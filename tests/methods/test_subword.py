"""Weightings of `subword`: hand-computed cases, the plain mean, presets and what overrides them, bad parameters."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import toys
import toytasks
from tokgraft import methods
from tokgraft.errors import ConfigError
from tokgraft.methods.subword import PRESETS, Exponential, Length, Linear, Plain, weights

TEXTS = [b" Gr", "ö".encode(), "ße".encode()]


def rows(tied: bool, **params: Any) -> tuple[methods.Transplant, methods.Rows]:
    task = toytasks.task("subword", toys.tokenizer("byte_level"), toys.tokenizer("sp_bpe", 600, "both"), tied=tied, bias=True)
    return task, methods.apply("subword", task, params)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (Plain(kind="mean"), [1, 1, 1]),
        (Plain(kind="first"), [1, 0, 0]),
        (Plain(kind="last"), [0, 0, 1]),
        (Length(kind="length"), [3, 2, 3]),
        (Length(kind="length", unit="characters"), [3, 1, 2]),
        (Linear(kind="linear", heavy="last"), [1, 2, 3]),
        (Linear(kind="linear", heavy="first"), [3, 2, 1]),
        (Exponential(kind="exponential", rate=2), [np.exp(-4), np.exp(-2), 1]),
        (Exponential(kind="exponential", rate=-2), [1, np.exp(-2), np.exp(-4)]),
    ],
    ids=str,
)
def test_weights_by_hand(rule: Any, expected: list[float]) -> None:
    assert np.allclose(weights(rule, TEXTS), expected)


def test_adaptivocab_as_published_and_as_programmed() -> None:
    """Two pieces: .119 and .881 by the paper's formula, 1/3 and 2/3 by its program."""
    for preset, expected in (("adaptivocab", [0.1192, 0.8808]), ("adaptivocab_code", [1 / 3, 2 / 3])):
        found = np.array(weights(PRESETS[preset][0], TEXTS[:2]))
        assert np.allclose(found / found.sum(), expected, atol=1e-4)
        found = np.array(weights(PRESETS[preset][1], TEXTS[:2]))
        assert np.allclose(found / found.sum(), expected[::-1], atol=1e-4)


def test_pieces_of_one_character_have_a_length() -> None:
    first, second = "ö".encode()[:1], "ö".encode()[1:]
    assert weights(Length(kind="length", unit="characters"), [second, second]) == [1, 1]
    assert weights(Length(kind="length", unit="characters"), [first, second]) == [1, 0]
    assert np.isfinite(weights(Exponential(kind="exponential", rate=50), TEXTS * 20)).all()


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("preset", ["mean", "fvt", "retok", "redwhale"])
def test_mean_gives_the_bytes_of_mean(preset: str, tied: bool) -> None:
    task, found = rows(tied, preset=preset)
    plain = methods.apply("mean", task, {})
    assert found.input.tobytes() == plain.input.tobytes() and found.provenance == plain.provenance
    assert (found.output is None and plain.output is None) or np.array_equal(found.output, plain.output)
    assert np.array_equal(found.bias, plain.bias)


def test_each_table_has_its_own_weights() -> None:
    task, found = rows(False, preset="first_last")
    for number, way in enumerate(found.provenance):
        if way.how == "combined":
            ids = task.pieces[number]
            assert np.array_equal(found.input[number], task.E[ids[-1]])
            assert found.output is not None and np.array_equal(found.output[number], task.U[ids[0]])
            assert task.bias is not None and found.bias is not None and found.bias[number] == task.bias[ids[0]]


def test_a_tied_row_is_the_mean_of_both() -> None:
    task, found = rows(True, preset="first_last")
    checked = 0
    for number, way in enumerate(found.provenance):
        if way.how == "combined":
            ids = task.pieces[number]
            assert np.allclose(found.input[number], (task.E[ids[0]] + task.E[ids[-1]]) / 2, atol=1e-6)
            checked += 1
    assert checked > 100


def test_explicit_weights_override_a_preset() -> None:
    _, preset = rows(False, preset="eeve")
    _, mixed = rows(False, preset="adaptivocab", input={"kind": "mean"}, output={"kind": "first"})
    _, half = rows(False, preset="adaptivocab", output={"kind": "first"})
    assert preset.output is not None and mixed.output is not None and half.output is not None
    assert np.array_equal(preset.input, mixed.input) and np.array_equal(preset.output, mixed.output)
    assert np.array_equal(half.output, mixed.output) and not np.allclose(half.input, mixed.input)
    assert half.stats["input"] == {"kind": "exponential", "rate": 2.0}


@pytest.mark.parametrize(
    "params", [{"preset": "mena"}, {"input": {"kind": "median"}}, {"input": {"kind": "mean", "rate": 1}}, {"output": "first"}], ids=str
)
def test_bad_parameters(params: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"subword"):
        methods.parse("subword", params)
