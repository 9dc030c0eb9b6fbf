"""`hidden_state`: the states of a plain forward pass, a map that can be found, tied rules, bad bases."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import toys
import toytasks
from tokgraft import methods
from tokgraft.errors import ConfigError, DataError, ModelError
from tokgraft.methods.hidden_state import HiddenState, StateReader, example_words, split, spread
from tokgraft.numerics.ridge import fit
from tokgraft.vocab import Vocabulary


def task(tied: bool = True, source: str = "byte_level") -> methods.Transplant:
    return toytasks.task("hidden_state", toys.tokenizer(source), toys.tokenizer("sp_bpe", 600, "both"), tied=tied)


def test_states_are_those_of_a_plain_forward_pass() -> None:
    made = task()
    assert made.load_model is not None and made.segmenter is not None
    reader = StateReader(made, HiddenState(depth=0.5, context="\n"))
    assert reader.prefix is not None, "what stands before the pieces is read once"
    assert reader.layer == 1 and reader.before == (made.source.roles["bos"], *made.segmenter.pieces(b"\n"))
    sequences = [(300, 301), (77,), (300,), (12, 13, 14), (300, 301)]
    early, late = reader.stacked(sequences)
    model = made.load_model()
    for place, ids in enumerate(sequences):
        with torch.no_grad():
            states = model(input_ids=torch.tensor([[*reader.before, *ids]]), output_hidden_states=True).hidden_states
        assert np.allclose(early[place], states[1][0, -1], atol=1e-5)
        assert np.allclose(late[place], states[-1][0, -1], atol=1e-5)


def test_a_masked_model_reads_up_to_the_separator() -> None:
    made = task(source="wordpiece")
    size = len(made.source)
    reader = StateReader(replace(made, load_model=lambda: toys.encoder(size)), HiddenState(context=""))
    assert reader.before == (made.source.roles["cls"],) and reader.after == (made.source.roles["sep"],)
    early, _ = reader.stacked([(50, 51)])
    model = toys.encoder(size)
    with torch.no_grad():
        states = model(input_ids=torch.tensor([[*reader.before, 50, 51, *reader.after]]), output_hidden_states=True).hidden_states
    assert np.allclose(early[0], states[reader.layer][0, 2], atol=1e-5)


def test_a_map_that_is_there_is_found() -> None:
    rng = np.random.default_rng(0)
    states, matrix = rng.normal(3, 2, (400, 6)), rng.normal(size=(6, 5))
    rows = (states @ matrix + 1 + 0.01 * rng.normal(size=(400, 5))).astype(np.float32)
    affine, (cosine, other) = fit([states.astype(np.float32)], rows, rng.normal(size=(40, 6)).astype(np.float32))
    assert np.allclose(affine(states), rows, atol=0.1) and cosine > 0.99 and abs(other) < 0.4
    assert affine.penalty <= 0.01
    noise, (cosine,) = fit([states.astype(np.float32)], rng.normal(2, 1, rows.shape).astype(np.float32))
    assert noise.penalty >= 1 or abs(cosine) < 0.3
    centred = (states - states.mean(axis=0)) / states.std(axis=0)
    goal = rows.astype(float) - rows.mean(axis=0)
    naive = np.linalg.solve(centred.T @ centred / 400 + affine.penalty * np.eye(6), centred.T @ goal / 400)
    assert np.allclose(affine.matrix, naive, atol=1e-5)


def test_tied_rows_follow_the_rule() -> None:
    made = task()
    rows = {rule: methods.apply("hidden_state", made, {"tied": rule}).input for rule in ("input", "output", "mean")}
    assert np.allclose(rows["mean"], (rows["input"] + rows["output"]) / 2, atol=1e-5)
    assert np.abs(rows["input"] - rows["output"]).max() > 1e-4
    stats = methods.apply("hidden_state", made, {"examples": "split"}).stats
    assert set(stats["heldout_cosine_input"]) == set(stats["heldout_cosine_output"]) == {"words", "split"}


def test_rows_that_are_states_are_found_again() -> None:
    """Where input rows are a linear function of states, a token of several pieces gets the same function of its own state."""
    made = task(tied=False)
    size, width = made.E.shape
    states, _ = StateReader(made, HiddenState()).stacked([(number,) for number in range(size)])
    matrix = np.random.default_rng(1).normal(size=(width, width)).astype(np.float32)
    given = replace(made, E=(states @ matrix).astype(np.float32))
    rows = methods.apply("hidden_state", given, {"examples": "words"})
    mapped = [number for number, way in enumerate(rows.provenance) if way.how == "mapped"]
    expected = StateReader(given, HiddenState()).stacked([given.pieces[number] for number in mapped])[0] @ matrix
    assert len(mapped) > 100 and rows.stats["heldout_cosine_input"]["words"] > 0.99
    assert np.abs(rows.input[mapped] - expected).max() < 0.05 * np.abs(expected).max()


def test_examples_are_words_as_one_piece_and_split() -> None:
    made = task(tied=False)
    stats = {kind: methods.apply("hidden_state", made, {"examples": kind, "words": 40}).stats for kind in ("both", "words", "split")}
    assert all(set(found["heldout_cosine_input"]) == {"words", "split"} and found["examples"] == 40 for found in stats.values())
    assert len({json.dumps(found, sort_keys=True) for found in stats.values()}) == 3
    assert spread(range(10, 20), 4) == [10, 13, 16, 19] and spread([3, 5], 4) == [3, 5]


def test_both_kinds_of_examples_make_one_map() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(300, 4)).astype(np.float32)
    kinds = [np.hstack([rows, rng.normal(size=rows.shape)]).astype(np.float32) * scale for scale in (1, 3)]
    affine, cosines = fit(kinds, rows)
    x, y = np.concatenate(kinds).astype(float), np.concatenate([rows, rows]).astype(float)
    x, y = (x - x.mean(axis=0)) / x.std(axis=0), y - y.mean(axis=0)
    assert np.allclose(affine.matrix, np.linalg.solve(x.T @ x / 600 + affine.penalty * np.eye(8), x.T @ y / 600), atol=1e-5)
    assert len(cosines) == 2 and min(cosines) > 0.9, "each kind is told, on rows that were kept back"


def test_words_are_split_by_the_longest_tokens() -> None:
    index = {b" t": 1, b"h": 2, b"e": 3, b" the": 4, b"he": 5, b" th": 6}
    assert split(b" the", index) == (6, 3)
    assert split(b"xhe", index) == ()
    assert all(b" " not in task().source[number].text[1:] for number in example_words(task())[:50])


def test_bad_bases_are_explained() -> None:
    made = task()
    few = Vocabulary(tuple(token if token and len(token.text) < 3 else None for token in made.source.tokens), made.source.scheme)
    with pytest.raises(DataError, match="words that are one piece"):
        methods.apply("hidden_state", replace(made, source=few), {})

    def broken() -> Any:
        model = toys.decoder(len(made.source), True)
        with torch.no_grad():
            model.model.norm.weight[0] = float("nan")
        return model

    with pytest.raises(ModelError, match="not finite"):
        methods.apply("hidden_state", replace(made, load_model=broken), {})
    for params in ({"depth": 0}, {"words": 3}, {"tied": "none"}):
        with pytest.raises(ConfigError, match="hidden_state"):
            methods.parse("hidden_state", params)
