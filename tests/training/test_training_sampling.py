"""Segmentations drawn at random."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import toys
from tokenizers import Tokenizer, decoders, models
from tokgraft.config.recipe import Sampling, TrainingRecipe, TrainingStage
from tokgraft.errors import ConfigError
from tokgraft.training.data_source import pack
from tokgraft.training.sampling import Sampler
from tokgraft.training.token_store import TokenStore
from toycorpora import invented

LINES = [*invented(60), *toys.english()[:60]]


def wrapped(model: Any) -> Any:
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(model)
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


def letters() -> Any:
    vocabulary = {"a": 0, "b": 1, "ab": 2, "ba": 3, "aba": 4}
    return wrapped(models.BPE(vocabulary, [("a", "b"), ("b", "a"), ("ab", "a")]))


def ways(word: str, vocabulary: dict[str, int]) -> list[tuple[int, ...]]:
    if not word:
        return [()]
    heads = (word[:end] for end in range(1, len(word) + 1))
    return [(vocabulary[head], *rest) for head in heads if head in vocabulary for rest in ways(word[len(head) :], vocabulary)]


@pytest.mark.parametrize("alpha", [0.3, 1.0, 3.0])
def test_every_segmentation_is_drawn_as_often_as_its_probability_says(alpha: float) -> None:
    sampler = Sampler(letters(), ["abab", "ababa", "b"], Sampling(alpha=alpha), seed=3)
    assert sum(map(math.exp, sampler.logs.values())) == pytest.approx(1)
    every = ways("ababa", sampler.ids)
    weights = [math.exp(alpha * sum(sampler.logs[number] for number in way)) for way in every]
    drawn = Counter(tuple(ids) for ids in sampler.encode(["ababa"] * 20_000))
    assert set(drawn) <= set(every) and len(every) == 12
    for way, weight in zip(every, weights, strict=True):
        share = weight / sum(weights)
        assert drawn[way] / 20_000 == pytest.approx(share, abs=4.5 * math.sqrt(share * (1 - share) / 20_000) + 1e-9)


def test_the_model_becomes_more_likely_with_every_round(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        Sampler(toys.tokenizer("byte_level"), LINES, Sampling(), 0)
    costs = [float(record.args[1]) for record in caplog.records if "unigram model" in record.msg]  # type: ignore[index]
    assert len(costs) == 3 and costs[0] > costs[1] > costs[2]


@pytest.mark.parametrize("kind", [kind for kind in toys.KINDS if "wordpiece" not in kind])
def test_what_is_drawn_reads_the_same(kind: str) -> None:
    tokenizer = toys.tokenizer(kind)
    texts = [*LINES[:30], "ab  c\n\nd\te", "漢字 and 🙂, x1234"]
    plain = tokenizer(texts, add_special_tokens=False)["input_ids"]
    drawn = Sampler(tokenizer, LINES, Sampling(alpha=0.3), 0).encode(texts)
    assert [tokenizer.decode(ids) for ids in drawn] == [tokenizer.decode(ids) for ids in plain]
    assert sum(map(len, drawn)) > sum(map(len, plain))
    few = Sampler(tokenizer, LINES, Sampling(alpha=0.3, share=0.2), 0).encode(texts)
    assert sum(map(len, plain)) < sum(map(len, few)) < sum(map(len, drawn))


def test_tokens_that_cannot_be_joined_are_refused() -> None:
    with pytest.raises(ConfigError, match="WordPiece tokenizer cannot"):
        Sampler(toys.tokenizer("wordpiece"), LINES, Sampling(), 0)


def test_the_same_seed_packs_the_same_tokens_and_replay_is_left_alone(tmp_path: Path) -> None:
    tokenizer = toys.tokenizer("byte_level")
    recipe = TrainingRecipe(stages=[TrainingStage(name="all", train=["all"], bytes=1000, lr=1e-3)], sequence_length=32, batch_size=2)
    store = TokenStore(tokenizer, tmp_path)

    def packed(seed: int) -> list[int]:
        draw = Sampler(tokenizer, LINES, Sampling(alpha=0.5), seed).encode
        documents = [*((line, False) for line in LINES[:20]), *((line, True) for line in LINES[60:80])]
        return pack("all", documents, store, recipe, draw).tokens.tolist()

    assert packed(1) == packed(1) != packed(2)
    replayed = [number for line in LINES[60:80] for number in (*tokenizer(line, add_special_tokens=False)["input_ids"], -1)]
    tail = packed(1)[-len(replayed) :]
    plain = pack("all", [(line, True) for line in LINES[60:80]], store, recipe).tokens.tolist()
    assert tail[5:] == plain[-len(tail) + 5 :]


def test_a_recipe_without_it_is_what_it_was() -> None:
    stages = [{"name": "all", "train": ["all"], "bytes": 1000, "lr": 1e-3}]
    assert "sampling" not in TrainingRecipe.parse({"stages": stages}, "test").canonical()
    assert TrainingRecipe.parse({"stages": stages, "sampling": {"alpha": 0.2}}, "test").canonical()["sampling"]["alpha"] == 0.2
