"""The refiners of the head: what they promise about the model's predictions, and bad input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

import toys
import toytasks
from tokgraft import methods, resources
from tokgraft.errors import ArtifactError, ConfigError, DataError, ModelError
from tokgraft.methods import Rows, Transplant
from tokgraft.rows.head import direction, head, loss, match, mean_prediction, sample, unigram


def task(chain: str, *, tied: bool = False, bias: bool = False) -> Transplant:
    return toytasks.task(chain, toys.tokenizer("byte_level"), toys.tokenizer("sp_bpe", 600, "both"), tied=tied, bias=bias)


def predicted(given: Transplant, rows: Rows, count: int) -> npt.NDArray[np.float64]:
    """Mean prediction of the rows' head over the first `count` train states, by an independent float64 computation; ids as columns."""
    documents, size = [], 0
    for document in given.resources["target_text"]["train"]:
        if size >= count:
            break
        documents.append(document)
        size += len(document) - 1
    assert given.states is not None
    states = given.states(rows, documents).astype(np.float64)
    table = rows.input if rows.output is None else rows.output
    logits = states @ table.astype(np.float64).T + (0 if rows.bias is None else rows.bias.astype(np.float64))
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (odds / odds.sum(axis=1, keepdims=True)).mean(axis=0)


def wanted(given: Transplant, smoothing: float = 0.5) -> npt.NDArray[np.float64]:
    counts = given.resources["target_text"]["counts"] + smoothing
    return counts / counts.sum()


@pytest.mark.parametrize("bias", [False, True])
def test_the_mean_prediction_becomes_the_unigram_distribution(bias: bool) -> None:
    given = task("mean+prior", bias=bias)
    before = methods.apply("mean", given, {})
    after = methods.apply("mean+prior", given, {"prior": {"rounds": 40, "states": 500}})
    goal = wanted(given)
    assert np.abs(predicted(given, before, 500) - goal).sum() / 2 > 0.3
    # A folded bias is not the same in every state (of this random model least of all), and the fixed point gets there slower.
    within = 1e-4 if bias else 5e-3
    assert np.abs(predicted(given, after, 500) - goal).sum() / 2 < within
    assert after.stats["prior"]["distance"] < within < after.stats["prior"]["distance_before"]
    if bias:
        assert after.output is not None and before.output is not None and np.array_equal(after.output, before.output)
    else:
        assert after.bias is None and after.stats["prior"]["farthest"] > 1


def test_two_tokens_by_hand() -> None:
    """Head rows 0, states 1: the prediction is (1/2, 1/2); the bias log(0.8 / 0.5), log(0.2 / 0.5) makes it (0.8, 0.2)."""
    from tokgraft.rows.head import Head

    start = Head(torch.zeros(2, 1), None, torch.zeros(2, dtype=torch.bool))
    found = match(torch.ones(5, 1), start, torch.tensor([0.8, 0.2], dtype=torch.float64), torch.ones(1), rounds=1, step=1.0)
    assert found.shift.tolist() == pytest.approx([np.log(1.6), np.log(0.4)])
    assert found.before == pytest.approx(0.3) and found.after == pytest.approx(0, abs=1e-6)
    assert found.head.rows[:, 0].tolist() == pytest.approx(found.shift.tolist())


def test_fixed_rows_keep_their_share() -> None:
    from tokgraft.rows.head import Head

    generator = torch.Generator().manual_seed(0)
    states = torch.randn(300, 6, generator=generator)
    start = Head(torch.randn(5, 6, generator=generator), torch.zeros(5), torch.tensor([True, False, False, False, False]))
    goal = torch.tensor([0.1, 0.2, 0.3, 0.35, 0.05], dtype=torch.float64)
    found = match(states, start, goal, None, rounds=30, step=0.7)
    mean = mean_prediction(states, found.head)
    assert found.shift[0] == 0 and (found.head.bias is not None and found.head.bias[0] == 0)
    assert torch.allclose(mean[1:] / mean[1:].sum(), goal[1:] / goal[1:].sum(), atol=1e-6)


def test_folding_equals_the_explicit_bias_within_the_stated_error() -> None:
    """Logits differ by b_t (v'h - 1): at most the largest bias times the largest deviation, and its mean square is what stats tell."""
    given = task("mean+prior")
    rows = methods.apply("mean", given, {})
    text = sample(given, rows, "train", 500)
    for ridge in (0.0, 0.01, 0.3):
        along = direction(text.states, ridge)
        start, goal = head(given, rows, tied=False), unigram(given, 0.5)
        found = match(text.states, start, goal, along, rounds=4, step=0.7)
        off = text.states @ along - 1
        difference = text.states @ found.head.rows.T - (text.states @ start.rows.T + found.shift.float())
        assert float((difference - off[:, None] * found.shift.float()).abs().max()) < 1e-3
        assert float(difference.abs().max()) <= float(off.abs().max() * found.shift.abs().max()) * 1.001 + 1e-4
        told = methods.apply("mean+prior", given, {"prior": {"ridge": ridge, "states": 500}}).stats["prior"]["folding_error"]
        assert told == pytest.approx(float(off.square().mean().sqrt()), rel=1e-3)


def test_the_direction_is_the_least_squares_one() -> None:
    states = torch.randn(400, 7, generator=torch.Generator().manual_seed(1)) + torch.arange(7)
    expected = np.linalg.lstsq(states.double().numpy(), np.ones(400), rcond=None)[0]
    assert np.allclose(direction(states, 0.0).numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("chain", ["mean+readout", "mean+prior+readout"])
def test_the_readout_lowers_the_loss_on_dev_text_and_tells_by_how_much(chain: str) -> None:
    given = task(chain)
    before, after = methods.apply("mean", given, {}), methods.apply(chain, given, {})
    losses = [loss(sample(given, rows, "dev", 4096), head(given, rows, tied=False)) for rows in (before, after)]
    assert losses[1] < losses[0] - 0.5
    told = after.stats["readout"]
    assert told["dev"] == pytest.approx(losses[1], abs=1e-3) and told["dev"] <= told["dev_before"]


def test_the_map_is_one_matrix() -> None:
    """Rows change as U (I + W) + b v': U' - U lies in the span of the columns of U and a rank-one matrix along v."""
    given = task("none+readout")
    source = toys.tokenizer("byte_level")
    given = toytasks.task("none+readout", source, source, tied=False)
    rows = methods.apply("none+readout", given, {"readout": {"bias_states": 300}})
    assert rows.output is not None and rows.stats["readout"]["steps"] >= 1
    change = (rows.output - given.U).astype(np.float64)[list(given.target.ids)]
    base = given.U.astype(np.float64)[list(given.target.ids)]
    residual = change - base @ np.linalg.lstsq(base, change, rcond=None)[0]
    assert np.linalg.matrix_rank(residual, tol=1e-3 * np.linalg.norm(change)) <= 1


def test_gradient_of_the_map() -> None:
    """Against finite differences of the loss."""
    from tokgraft.methods.readout import _gradient, _mapped
    from tokgraft.rows.head import Head, Sample

    generator = torch.Generator().manual_seed(2)
    text = Sample(torch.randn(40, 4, generator=generator), torch.randint(0, 9, (40,), generator=generator))
    start = Head(torch.randn(9, 4, generator=generator), torch.randn(9, generator=generator), torch.zeros(9, dtype=torch.bool))
    weights = 0.1 * torch.randn(4, 4, generator=generator, dtype=torch.float64)
    found, mean = _gradient(start, _mapped(start, weights), text)
    assert float(mean.sum()) == pytest.approx(1)
    for place in ((0, 0), (1, 3), (3, 2)):
        step = torch.zeros(4, 4, dtype=torch.float64)
        step[place] = 1e-2
        slope = (loss(text, _mapped(start, weights + step)) - loss(text, _mapped(start, weights - step))) / 2e-2
        assert float(found[place]) == pytest.approx(slope, abs=2e-3)


def test_a_tied_table_moves_only_as_far_as_it_helps() -> None:
    given = task("mean+prior+readout", tied=True)
    before = methods.apply("mean", given, {})
    for chain, params in (("mean+prior", {}), ("mean+readout", {"readout": {"untie": False}})):
        after = methods.apply(chain, given, params)
        assert after.output is None
        losses = [loss(sample(given, rows, "dev", 4096), head(given, rows, tied=True)) for rows in (before, after)]
        share = after.stats[chain.split("+")[1]]["share"]
        assert losses[1] < losses[0] if share else np.array_equal(before.input, after.input)


def test_bad_input_is_explained(tmp_path: Path) -> None:
    given = task("mean+prior+readout")
    text = given.resources["target_text"]
    short = replace(given, resources={"target_text": {**text, "counts": text["counts"][:-1]}})
    strange = replace(given, resources={"target_text": {**text, "train": [np.array([0, 5, len(given.target) - 1, 3], dtype=np.int32)]}})
    holes = replace(strange, target=replace(given.target, tokens=(*given.target.tokens[:-1], None)))
    for name in ("prior", "readout"):
        with pytest.raises(ConfigError, match="make it for this tokenizer"):
            methods.apply(f"mean+{name}", short, {})
        with pytest.raises(ConfigError, match="no tokens of the target"):
            methods.apply(f"mean+{name}", holes, {})
        with pytest.raises(ConfigError, match=r"rounds|ridges"):
            methods.parse(f"mean+{name}", {name: {"rounds": 0} if name == "prior" else {"ridges": []}})

    def broken(rows: Rows, documents: Sequence[Any]) -> methods.Floats:
        raise ModelError("the model gives NaN")

    with pytest.raises(ModelError, match="NaN"):
        methods.apply("mean+readout", replace(given, states=broken), {})


def test_the_resource_says_what_is_wrong(tmp_path: Path) -> None:
    tokenizer = toys.tokenizer("sp_bpe", 600, "both")
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    toytasks.write_corpus(tmp_path / "corpus", toys.german()[:2])
    with pytest.raises(DataError, match="does not exist"):
        resources.make("target_text", resources.Inputs(tmp_path / "corpus", tokenizer=tmp_path / "tokenizer"), {}, tmp_path / "x")
    (tmp_path / "corpus" / "dev.jsonl").write_bytes((tmp_path / "corpus" / "train.jsonl").read_bytes())
    with pytest.raises(DataError, match="too few to fit"):
        resources.make("target_text", resources.Inputs(tmp_path / "corpus", tokenizer=tmp_path / "tokenizer"), {}, tmp_path / "x")
    with pytest.raises(ConfigError, match="did you mean length"):
        resources.validate("target_text", {"lenght": 5})
    given = task("mean+prior")
    folder = toytasks.made({"target_text"}, tokenizer)["target_text"]
    with pytest.raises(ConfigError, match="another tokenizer"):
        resources.load("target_text", folder, len(given.source), given.source.fingerprint)


def test_the_resource_holds_what_the_corpus_says(tmp_path: Path) -> None:
    import json
    import shutil

    tokenizer = toys.tokenizer("sp_bpe", 600, "both")
    folder = toytasks.made({"target_text"}, tokenizer)["target_text"]
    corpus = Path(toytasks.PLACE.name) / "german"
    lines = (corpus / "train.jsonl").read_text(encoding="utf-8").splitlines()
    texts = ["\n".join(paragraph["text"] for paragraph in json.loads(line)["paragraphs"]) for line in lines]
    found = resources.load("target_text", folder, len(tokenizer), task("mean").target.fingerprint)
    counts = np.zeros(len(tokenizer), dtype=int)
    encoded = [[*tokenizer.encode(text, add_special_tokens=False), tokenizer.eos_token_id] for text in texts]
    for ids in encoded:
        np.add.at(counts, ids, 1)
    assert np.array_equal(found["counts"], counts)
    first = {tuple(ids[:64]) for ids in encoded}
    assert sum(len(document) - 1 for document in found["train"]) == 2000
    assert all(document[0] == tokenizer.bos_token_id and 1 < len(document) <= 65 for document in found["train"])
    assert tuple(found["train"][0][1:].tolist()) in first
    damaged = tmp_path / "damaged"
    shutil.copytree(folder, damaged)
    np.save(damaged / "train.npy", np.full(len(np.load(damaged / "train.npy")), 9999, dtype=np.int32))
    with pytest.raises(ArtifactError, match="make the resource again"):
        resources.RESOURCES.get("target_text").load(damaged, len(tokenizer))
