"""`cw2v` applies the weights that were learnt, to each table its own, and refuses those of another base."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import toys
import toytasks
from tokgraft import methods
from tokgraft.errors import ConfigError
from tokgraft.numerics.hull import Factors
from tokgraft.vocab import Vocabulary


def test_rows_are_the_learnt_mixtures_of_each_table() -> None:
    source, target = toys.tokenizer("byte_level"), toys.tokenizer("sp_bpe", 600, "both")
    task = toytasks.task("cw2v", source, target, tied=False, bias=True)
    found = dict(task.resources["token_word2vec"])
    rng = np.random.default_rng(0)
    found["output"] = Factors(
        *(rng.normal(size=part.shape).astype(np.float32) for part in (found["input"].left, found["input"].right)), found["input"].sizes
    )
    rows = methods.apply("cw2v", replace(task, resources={"token_word2vec": found}), {})
    assert rows.output is not None and rows.bias is not None and task.bias is not None
    for side, table, made in (
        ("input", task.E, rows.input),
        ("output", task.U, rows.output),
        ("output", task.bias[:, None], rows.bias[:, None]),
    ):
        logits = (found[side].left.astype(float) @ found[side].right.astype(float).T)[:, found["groups"]]
        weights = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        assert np.allclose(made[found["ids"]], weights @ table[found["source_ids"]], atol=1e-5)
    hows = {rows.provenance[number].how for number in found["ids"]}
    assert hows == {"trained", "fallback"}
    assert rows.stats["unseen"] == sum(rows.provenance[number].how == "fallback" for number in found["ids"]) > 0


def test_weights_of_another_base_are_refused() -> None:
    task = toytasks.task("cw2v", toys.tokenizer("byte_level"), toys.tokenizer("sp_bpe", 600, "both"))
    other = Vocabulary.from_tokenizer(toys.tokenizer("byte_level", 700))
    with pytest.raises(ConfigError, match="token_word2vec was made for a base model with another tokenizer"):
        methods.apply("cw2v", replace(task, source=other, E=task.E[:700].copy(), U=task.E[:700].copy()), {})
