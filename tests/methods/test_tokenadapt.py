"""`tokenadapt`: exact neighbours, the variants, what is done without vectors, foreign resources."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import toys
import toytasks
from tokgraft import methods
from tokgraft.errors import ConfigError, UnavailableError
from tokgraft.methods import Transplant
from tokgraft.methods.tokenadapt import TokenAdapt, local_weights


def task(vectors: float | None = None) -> Transplant:
    made = toytasks.task("tokenadapt", toys.tokenizer("byte_level"), toys.tokenizer("sp_bpe", 600, "both"))
    if vectors is None:
        return made
    index, table = made.resources["sentence_embedder"]
    return replace(made, resources={"sentence_embedder": (index, np.full_like(table, vectors))})


def test_local_weights_by_hand() -> None:
    """Similarities 1 and 0, lengths 1 and 3 of 4: z = (.731 + .25)/2, (.269 + .75)/2 with the inner softmax, (1 + .25)/2, (0 + .75)/2 without."""
    for variant, z in (("tokenadapt", [0.4905, 0.5095]), ("aloobun", [0.625, 0.375])):
        found = local_weights(np.array([1.0, 0.0]), [1, 3], 4, TokenAdapt(variant=variant, temperature=0.5))  # type: ignore[arg-type]
        expected = np.exp(np.array(z) / 0.50001)
        assert np.allclose(found, expected / expected.sum(), atol=1e-4)


def test_without_vectors_the_pieces_decide() -> None:
    blind = task(0.0)
    local = methods.apply("tokenadapt", blind, {"mode": "local"})
    assert np.array_equal(local.input, methods.apply("mean", blind, {}).input)
    assert local.stats["by_pieces"] > 100 and local.stats["local"] == 0
    with pytest.raises(UnavailableError, match="fewer than neighbours"):
        methods.apply("tokenadapt", blind, {})


def test_a_threshold_that_nothing_reaches_leaves_the_local_part() -> None:
    made = task()
    index, table = made.resources["sentence_embedder"]
    given = np.random.default_rng(0).normal(size=(len(table), 30)).astype(np.float32)
    given /= 2 * np.linalg.norm(given, axis=1, keepdims=True)
    made = replace(made, resources={"sentence_embedder": (index, given)})
    local, hybrid = (methods.apply("tokenadapt", made, options) for options in ({"mode": "local"}, {"threshold": 0.9}))
    assert np.array_equal(local.input, hybrid.input)
    assert hybrid.stats["hybrid"] == 0 and hybrid.stats["local"] > 100
    only = methods.apply("tokenadapt", made, {"mode": "global", "threshold": 0.9})
    assert np.array_equal(only.input, methods.apply("mean", made, {}).input), "no neighbour: the mean over pieces"


def test_bad_input_is_explained() -> None:
    made = task()
    index, vectors = made.resources["sentence_embedder"]
    fewer = dict(list(index.items())[:50])
    with pytest.raises(ConfigError, match="other tokenizers"):
        methods.apply("tokenadapt", replace(made, resources={"sentence_embedder": (fewer, vectors)}), {})
    for params in ({"temperature": 0}, {"neighbours": 0}, {"share": 1.5}, {"variant": "third"}, {"threshold": 2}):
        with pytest.raises(ConfigError, match="tokenadapt"):
            methods.parse("tokenadapt", params)
