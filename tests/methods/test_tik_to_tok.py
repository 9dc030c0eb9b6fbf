"""`tik_to_tok`: translations, fixed weights, symbols; bad input."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import toyspaces
from tokgraft import methods
from tokgraft.errors import ConfigError, DataError
from tokgraft.methods.tik_to_tok import TikToTok, fixed_weights

SOURCE = toyspaces.vocabulary(" house", "house", " House", " tree", " DOG", ".", b"\xff")
TARGET = toyspaces.vocabulary(" Haus", "haus", " Baum", " HUND", ".", " Katze", b"\xff", b"\xfe")
ENGLISH = {"house": [1, 0, 0], "House": [1, 0.1, 0], "tree": [0, 1, 0], "DOG": [0, 0, 1], ".": [1, 1, 1]}
GERMAN = {"Katze": [0, 0.4, 1], ".": [0, 0, 1], "Haus": [0, 0, 1]}
WORDS = (("shed", "haus", 1.0), ("house", "haus", 0.7), ("tree", "haus", 0.2), ("tree", "baum", 0.5), ("dog", "hund", 0.5))


def small(dictionary: Any = WORDS, **changes: Any) -> Any:
    loaded = toyspaces.resources(ENGLISH, GERMAN, 3)
    return toyspaces.task(SOURCE, TARGET, {**loaded, "dictionary": (*loaded["dictionary"], *dictionary), **changes})


def test_translations_take_case_and_space_of_the_token() -> None:
    rows = methods.apply("tik_to_tok", small(), {})
    # "shed" is the heaviest translation of Haus, but no token.
    assert [row.sources for row in rows.provenance[1:5]] == [(3,), (2,), (4,), (5,)]
    assert np.array_equal(rows.input[1:5], np.eye(8, dtype=np.float32)[[3, 2, 4, 5]])
    assert rows.stats["direct"] == 4 and rows.stats["mixed"] == 1
    assert [row.how for row in rows.provenance] == ["role", *["combined"] * 4, "copied", "combined", "copied", "random"]


def test_others_have_three_neighbours_with_fixed_weights() -> None:
    rows = methods.apply("tik_to_tok", small(), {})
    expected = np.zeros(8)
    expected[[5, 6, 4]] = 0.4 + 0.4 / 3, 0.2 + 0.4 / 3, 0.4 / 3  # DOG, then ".", then tree
    assert np.allclose(rows.input[6], expected, atol=1e-6)
    assert rows.provenance[6].sources == (5, 6, 4)


def test_symbols_can_be_mixed_like_words() -> None:
    rows = methods.apply("tik_to_tok", small(), {"copy_symbols": False})
    assert rows.provenance[5].how == "combined" and rows.input[5, 5] > 0.5
    assert rows.provenance[7].how == "copied"  # without a vector there is nothing better


@pytest.mark.parametrize(
    ("params", "weights"),
    [({}, (8 / 15, 1 / 3, 2 / 15)), ({"neighbours": 1}, (1,)), ({"neighbours": 2}, (0.6, 0.4)), ({"first": 1, "second": 0}, (1, 0, 0))],
)
def test_weights(params: dict[str, Any], weights: tuple[float, ...]) -> None:
    assert np.allclose(fixed_weights(TikToTok(**params)), weights)


def test_bad_input_is_explained() -> None:
    useless = {**toyspaces.resources(ENGLISH, GERMAN, 3), "dictionary": (("x", "y", 1.0),)}
    with pytest.raises(DataError, match="none of the 1 entries"):
        methods.apply("tik_to_tok", toyspaces.task(SOURCE, TARGET, useless), {})
    with pytest.raises(DataError, match="6 source tokens have a vector, 7 are needed"):
        methods.apply("tik_to_tok", small(), {"neighbours": 7})
    with pytest.raises(ConfigError, match=r"first \+ second is 1.5"):
        methods.parse("tik_to_tok", {"first": 0.9, "second": 0.6})
