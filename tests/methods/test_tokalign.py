"""What TokAlign does in cases small enough to follow, and what it refuses."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import toys
import toytasks
from tokgraft import methods
from tokgraft.errors import ConfigError, DataError
from tokgraft.methods import Transplant
from tokgraft.methods.tokalign import most_similar
from tokgraft.vocab import Token, Vocabulary


def vocabulary(*texts: str) -> Vocabulary:
    return Vocabulary(tuple(Token(text.encode(), "normal", (), text) for text in texts), "plain")


def small(vectors: dict[str, tuple[list[int], list[list[float]]]], pieces: dict[str, list[int]] | None = None) -> Transplant:
    """Source a b x y, target b a new rare; E's rows are 1, 2, 3, 4."""
    source, target = vocabulary("a", "b", "x", "y"), vocabulary("b", "a", "new", "rare")
    E = np.arange(1, 5, dtype=np.float32)[:, None].repeat(2, axis=1)
    found: dict[str, Any] = {side: (np.array(ids), np.array(rows, dtype=np.float32)) for side, (ids, rows) in vectors.items()}
    task = Transplant(source, target, E, E, resources={"token_cooccurrence": {**found, "source_vocabulary": source.text_fingerprint}})
    task.__dict__["pieces"] = {n: tuple((pieces or {}).get(target[n].surface, ())) for n in target.ids}
    return task


# In the source space a and x point right, b and y up; the target space is turned: a points left, b down, "new" nearly down.
VECTORS = {
    "source": ([0, 1, 2, 3], [[1.0, 0.0], [0.0, 1.0], [0.9, 0.1], [0.2, 2.0]]),
    "target": ([0, 1, 2], [[0.0, -1.0], [-1.0, 0.0], [-0.2, -3.0]]),
}


def test_the_most_similar_source_token_lends_its_row() -> None:
    rows = methods.apply("tokalign", small(VECTORS, {"rare": [0, 1]}), {"pivots": 2})
    # (cosines to a, b): new (0.067, 0.998); a (1, 0), b (0, 1), x (0.994, 0.110), y (0.100, 0.995): y wins with 0.999 over b's 0.998.
    assert rows.input[:, 0].tolist() == [2, 1, 4, 1.5]
    assert [made.how for made in rows.provenance] == ["copied", "copied", "mapped", "fallback"]
    assert [made.sources for made in rows.provenance] == [(1,), (0,), (3,), (0, 1)]
    assert rows.stats["unseen"] == 1 and rows.stats["pivots"] == 2


def test_a_token_without_vector_and_pieces_gets_the_mean() -> None:
    rows = methods.apply("tokalign", small(VECTORS), {"pivots": 2})
    assert rows.input[3].tolist() == [2.5, 2.5] and rows.provenance[3].sources == ()


def test_published_fallback_is_a_random_row() -> None:
    drawn = set()
    for seed in range(12):
        task = replace(small(VECTORS), seed=seed)
        task.__dict__["pieces"] = {}
        rows = methods.apply("tokalign", task, {"pivots": 2, "compatibility": "tokalign"})
        assert rows.provenance[3].how == "random" and rows.input[3, 0] == rows.provenance[3].sources[0] + 1
        drawn.add(rows.provenance[3].sources)
    assert len(drawn) > 2


def test_ties_go_to_the_first() -> None:
    source = np.array([[0.0, 1.0], [1.0, 0.0], [2.0, 0.0]])
    assert most_similar(source[1:2], source, (np.array([0]), np.array([1]))).tolist() == [1]


def test_a_token_near_to_every_pivot_wins_by_dot_product_only() -> None:
    # Both spaces are one; pivots e1 and (e1 + e2)/sqrt 2, the query e2, candidates e2 itself and a hub between the pivots.
    rows = np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0], [0.9, 0.4]])
    pivots = (np.array([0, 1]), np.array([0, 1]))
    assert most_similar(rows[:3], rows, pivots)[2] == 2
    assert most_similar(rows[:3], rows, pivots, cosine=False)[2] == 1


def test_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    target, source = rng.normal(size=(50, 6)), rng.normal(size=(40, 5))
    pivots = (np.arange(10), np.arange(10))
    whole = most_similar(target, source, pivots)
    monkeypatch.setattr("tokgraft.methods.tokalign.BLOCK", 100)
    assert most_similar(target, source, pivots).tolist() == whole.tolist()


def test_too_few_pivots_are_refused_and_fewer_than_asked_are_told(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(DataError, match="2 tokens have the same text and a vector in both vocabularies, and at least 10"):
        methods.apply("tokalign", small(VECTORS), {})
    source, target = toys.tokenizer("byte_level"), toys.tokenizer("sp_bpe", 600, "both")
    rows = methods.apply("tokalign", toytasks.task("tokalign", source, target), {"pivots": 100_000})
    assert f"{rows.stats['pivots']} of 100000 pivots" in caplog.text


def test_vectors_of_another_base_are_refused() -> None:
    source, target = toys.tokenizer("byte_level"), toys.tokenizer("sp_bpe", 600, "both")
    task = toytasks.task("tokalign", source, target)
    other = Vocabulary.from_tokenizer(toys.tokenizer("byte_level", 700))
    with pytest.raises(ConfigError, match="token_cooccurrence was made for a base model with another tokenizer"):
        methods.apply("tokalign", replace(task, source=other, E=task.E[:700].copy(), U=task.E[:700].copy()), {})
