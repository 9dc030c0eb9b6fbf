"""`ofa`: pieces of words, the overlap that ignores case, low-rank tables; bad input."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import toys
import toyspaces
from tokgraft import methods
from tokgraft.errors import ConfigError, DataError
from tokgraft.methods import Transplant

OLD, NEW = toys.tokenizer("byte_level"), toys.tokenizer("byte_level", 600, "german")


def made(**changes: Any) -> Transplant:
    """A transplant with vectors for the words of the toy texts."""
    rng = np.random.default_rng(0)
    german = tuple(sorted(set(toys.GERMAN.split())))
    english = tuple(sorted(set(toys.TRANSLATED.split())))
    sides = [toyspaces.Words(words, rng.normal(size=(len(words), 6)).astype(np.float32)) for words in (german, english)]
    entries = tuple((one, two, 1.0) for one, two in zip(english, german))
    loaded = {"word_vectors": toyspaces.Both(*sides), "dictionary": entries, **changes}
    return toyspaces.between(OLD, NEW, loaded)


class Everywhere:
    """A segmenter by which every word consists of the token 1."""

    def pieces_many(self, texts: Any) -> list[list[int]]:
        return [[1] for _ in texts]


def test_tokens_that_differ_in_case_are_copied() -> None:
    source, target = toyspaces.vocabulary(" The", " the", "tree", b"\xc3", " HOUSE"), toyspaces.vocabulary(" THE", "Tree", b"\xc3", " the")
    task = replace(made(), source=source, target=target, E=np.eye(6, dtype=np.float32))
    task = replace(task, U=task.E, segmenter=Everywhere(), load_target_segmenter=Everywhere)
    rows = methods.apply("ofa", task, {})
    found = [row.sources for row in rows.provenance]
    assert found == [(0,), (1,), (3,), (4,), (2,)]  # " THE": " The" stands before " the" in the order of their bytes
    assert rows.stats["fuzzy"] == 2
    exact = methods.apply("ofa", task, {"fuzzy": False, "neighbours": 1})
    assert [row.how for row in exact.provenance] == ["role", "combined", "random", "copied", "copied"]


def test_rank_limits_all_but_special_rows() -> None:
    task = made()
    full, low, high = (methods.apply("ofa", task, {"rank": rank}) for rank in (None, 3, 20))
    specials = set(task.target.special_ids) & set(task.overlap)
    others = [number for number in range(len(task.target)) if number not in specials]
    assert np.linalg.matrix_rank(low.input[others], tol=1e-3) == 3
    for number in specials:
        assert np.array_equal(low.input[number], task.E[task.overlap[number].source])
    sure = [number for number, way in enumerate(full.provenance) if way.how != "random"]
    assert np.allclose(high.input[sure], full.input[sure], atol=1e-5)
    # The best approximation of rank 3: rows of the overlap are those of numpy's decomposition.
    u, s, v = np.linalg.svd(task.E.astype(np.float64), full_matrices=False)
    near = (u[:, :3] * s[:3]) @ v[:3]
    copied = [number for number, way in enumerate(low.provenance) if way.how == "copied" and number in task.overlap]
    assert np.allclose(low.input[copied], near[[task.overlap[number].source for number in copied]], atol=1e-5)
    # Random rows: mean and spread are those of the coordinates.
    drawn = [number for number, way in enumerate(low.provenance) if way.how == "random"]
    assert len(drawn) > 40
    ours, theirs = low.input[drawn] @ v[:3].T, u[:, :3] * s[:3]
    assert np.abs(ours.mean(axis=0) - theirs.mean(axis=0)).max() < 5 * (theirs.std(axis=0) / np.sqrt(len(drawn))).max()
    assert np.allclose(ours.std(axis=0), theirs.std(axis=0), rtol=0.4)


def test_bad_input_is_explained() -> None:
    with pytest.raises(DataError, match="none of the 1 entries"):
        methods.apply("ofa", made(dictionary=(("nothing", "nichts", 1.0),)), {})
    with pytest.raises(DataError, match="source tokens have a vector, 5000 are needed"):
        methods.apply("ofa", made(), {"neighbours": 5000})
    with pytest.raises(ConfigError, match=r"made without (load_target_)?segmenter"):
        methods.apply("ofa", replace(made(), load_target_segmenter=None), {})
    with pytest.raises(ConfigError, match="rank"):
        methods.parse("ofa", {"rank": 0})
    both = made().resources["word_vectors"]
    broken = replace(both, target=replace(both.target, vectors=np.full_like(both.target.vectors, np.inf)))
    with pytest.raises(DataError, match="NaN or Inf"):
        methods.apply("ofa", made(word_vectors=broken), {})
