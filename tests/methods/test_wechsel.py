"""`wechsel`, and the common word space and nearest tokens that it shares: hand-made cases, bad input."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import toyspaces
from tokgraft import methods
from tokgraft.errors import ConfigError, DataError
from tokgraft.numerics.linear import procrustes
from tokgraft.rows.words import AlignedParams, common_space, neighbours

SOURCE = toyspaces.vocabulary(" house", " tree", " dog", "1", b"\xc3")
TARGET = toyspaces.vocabulary(" Haus", " Baum", "1", b"\xc3", " ?")
ENGLISH = {"house": [1, 0, 0], "tree": [0, 1, 0], "dog": [0, 0, 1], "1": [1, 1, 1]}
GERMAN = {"Haus": [1, 0.2, 0], "Baum": [0, 1, 0], "1": [1, 1, 0.9]}


def small(**changes: Any) -> Any:
    return toyspaces.task(SOURCE, TARGET, {**toyspaces.resources(ENGLISH, GERMAN, 3), **changes})


def test_weights_by_hand() -> None:
    rows = methods.apply("wechsel", small(), {"neighbours": 2})
    length = np.sqrt(1.04)
    cosines = {1: (1 / length, 1.2 / np.sqrt(3) / length), 2: (1, 1 / np.sqrt(3))}  # Haus: house, 1; Baum: tree, 1
    for number, (near, first) in {1: (cosines[1], 1), 2: (cosines[2], 2)}.items():
        weights = np.exp(np.array(near) / 0.1) / np.exp(np.array(near) / 0.1).sum()
        expected = np.zeros(6)
        expected[[first, 4]] = weights
        assert np.allclose(rows.input[number], expected, atol=1e-6)
        assert rows.provenance[number].sources == (first, 4)
    # The digit is a mixture although both vocabularies have it; a byte without a vector is copied; the rest is random.
    assert [row.how for row in rows.provenance] == ["role", "combined", "combined", "combined", "copied", "random"]
    assert 0 < rows.input[3, 4] < 1
    random = methods.apply("wechsel", small(), {"neighbours": 2, "copy_unknown": False})
    assert [row.how for row in random.provenance][4:] == ["random", "random"]


def test_rotation_is_found_and_case_variants_count() -> None:
    loaded = toyspaces.resources(ENGLISH, GERMAN, 3)
    space = common_space(small(), AlignedParams())
    assert np.allclose(space.rotation, toyspaces.rotation(3), atol=1e-5)
    assert space.pairs == 9 * 4  # three spellings each, of which two are one: e0, e0 and E0
    both = loaded["word_vectors"]
    one = replace(both.target, words=("Tag", "tag")), replace(both.english, words=("day",))
    few = toyspaces.Both(toyspaces.Words(one[0].words, both.target.vectors[:2]), toyspaces.Words(one[1].words, both.english.vectors[:1]))
    found = common_space(small(word_vectors=few, dictionary=(("day", "TAG", 0.5),)), AlignedParams())
    assert found.pairs == 4  # "day" as it is and in lower case, with "tag" in lower and title case


def test_dictionary_weights_turn_the_space() -> None:
    vectors = np.eye(2, dtype=np.float32)
    both = toyspaces.Both(toyspaces.Words(("links", "oben"), vectors), toyspaces.Words(("left", "up"), vectors))
    entries = (("left", "links", 1.0), ("up", "oben", 1.0)) + (("left", "oben", 0.1), ("up", "links", 0.1)) * 4
    given = small(word_vectors=both, dictionary=entries)
    plain, weighted = (common_space(given, AlignedParams(dictionary_weights=choice)).rotation for choice in (False, True))
    assert np.allclose(plain, [[0, 1], [1, 0]], atol=1e-6)  # four doubtful entries outvote one good one
    assert np.allclose(weighted, np.eye(2), atol=1e-6)


def test_procrustes_beats_every_other_rotation() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 5)), rng.normal(size=(40, 5))
    best = np.linalg.norm(x @ procrustes(x.T @ y) - y)
    assert all(np.linalg.norm(x @ toyspaces.rotation(5, seed) - y) >= best for seed in range(50))


def test_bad_input_is_explained() -> None:
    with pytest.raises(DataError, match="4 source tokens have a vector, 10 are needed"):
        methods.apply("wechsel", small(), {})
    with pytest.raises(DataError, match="none of the 1 entries of the dictionary"):
        methods.apply("wechsel", small(dictionary=(("nothing", "nichts", 1.0),)), {})
    with pytest.raises(DataError, match="none of the 0 entries"):
        methods.apply("wechsel", small(dictionary=()), {})
    both = small().resources["word_vectors"]
    zeros = replace(both.target, vectors=np.zeros_like(both.target.vectors))
    with pytest.raises(DataError, match="none of the 9 entries of the dictionary has a vector"):
        methods.apply("wechsel", small(word_vectors=replace(both, target=zeros)), {})
    with pytest.raises(DataError, match="NaN"):
        methods.apply(
            "wechsel", small(word_vectors=replace(both, english=replace(both.english, vectors=both.english.vectors * np.nan))), {}
        )
    with pytest.raises(DataError, match="3 and 2 dimensions"):
        methods.apply("wechsel", small(word_vectors=replace(both, english=replace(both.english, vectors=both.english.vectors[:, :2]))), {})
    with pytest.raises(DataError, match="no target token has a vector"):
        methods.apply("wechsel", small(word_vectors=replace(both, target=replace(both.target, others={}))), {"neighbours": 1})
    with pytest.raises(DataError, match="vectors of tokens hold NaN"):
        neighbours(small(), np.full((6, 3), np.nan), np.ones((6, 3)), [1], 1)
    with pytest.raises(ConfigError, match=r"made without (load_target_)?segmenter"):
        methods.apply("wechsel", small(), {"subword": "words"})
    with pytest.raises(ConfigError, match="temperature"):
        methods.parse("wechsel", {"temperature": 0})
    with pytest.raises(ConfigError, match="did you mean neighbours"):
        methods.parse("wechsel", {"neighbors": 3})
