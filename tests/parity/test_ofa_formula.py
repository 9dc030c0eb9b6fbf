"""`ofa` beside a plain rendition of its formula: words one after the other, in float64, through the public calls of transformers."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from scipy.linalg import orthogonal_procrustes

import toys
import toyspaces
from tokgraft import methods


def plain(tokenizer: Any, words: list[str], vectors: Any) -> Any:
    """Mean vector of the words, in four forms, that each token is a piece of."""
    lists: list[list[int]] = [[] for _ in range(len(tokenizer))]
    for number, word in enumerate(words):
        for form in (word, " " + word, word.capitalize(), " " + word.capitalize()):
            for token in set(tokenizer.encode(form, add_special_tokens=False)):
                lists[token].append(number)
    return np.array([vectors[found].mean(axis=0) if found else np.zeros(vectors.shape[1]) for found in lists])


@pytest.mark.parametrize("rank", [None, 7])
def test_same_rows(rank: int | None) -> None:
    old, new = toys.tokenizer("byte_level"), toys.tokenizer("byte_level", 700, "german")
    rng = np.random.default_rng(0)
    words = [sorted(set(re.findall(r"\w+", text))) for text in (toys.GERMAN, toys.TRANSLATED)]
    sides = [toyspaces.Words(tuple(found), rng.normal(size=(len(found), 8)).astype(np.float32)) for found in words]
    entries = [(one.lower(), two, 1.0) for one, two in zip(words[1], words[0])]
    task = toyspaces.between(old, new, {"word_vectors": toyspaces.Both(*sides), "dictionary": entries})
    ours = methods.apply("ofa", task, {"fuzzy": False, "rank": rank})

    pairs = []
    for one, two, _ in entries:
        for a in (one, one.lower(), one.title()):
            for b in (two, two.lower(), two.title()):
                if a in words[1] and b in words[0]:
                    pairs.append((words[1].index(a), words[0].index(b)))
    left, right = (np.array(column) for column in zip(*pairs))
    german, english = (side.vectors.astype(np.float64) for side in sides)
    english = english @ orthogonal_procrustes(english[left], german[right])[0]
    pool, vectors = words[0] + words[1], np.concatenate([german, english])
    first, second = plain(old, pool, vectors), plain(new, pool, vectors)
    u, s, v = np.linalg.svd(task.E.astype(np.float64), full_matrices=False)
    table = (u[:, :rank] * s[:rank]) @ v[:rank]

    mixed = 0
    for number, way in enumerate(ours.provenance):
        if way.how != "combined":
            assert way.how != "random" or not second[number].any() or task.target[number].kind == "special"
            continue
        norms = np.linalg.norm(first, axis=1)
        cosines = np.where(norms > 0, first @ second[number] / np.maximum(norms, 1e-30) / np.linalg.norm(second[number]), -2)
        best = np.argsort(-cosines, kind="stable")[:11]
        if cosines[best[9]] - cosines[best[10]] < 1e-6:
            continue  # which of two equally near tokens is the tenth is a matter of order
        weights = np.exp(cosines[best[:10]] / 0.1)
        expected = (weights / weights.sum()) @ table[best[:10]]
        assert np.abs(ours.input[number] - expected).max() < 1e-5 * max(1, np.abs(expected).max())
        mixed += 1
    assert mixed > 50
