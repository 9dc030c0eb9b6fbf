"""Units learned by reading."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tokgraft.config.tokenizer import TokenizerRecipe
from tokgraft.errors import ConfigError, TokenizerError
from tokgraft.tokenizers import lexicon, texts
from tokgraft.tokenizers.audit import CHALLENGES, missing_bytes, reachability, round_trip
from tokgraft.tokenizers.base import to_tokenizer
from tokgraft.tokenizers.trainers import TRAINERS

RECIPE = TokenizerRecipe(trainer="less_is_better", vocab_size=640)


def test_a_unit_is_worth_the_tokens_it_saves() -> None:
    text = "abcde"
    reader = lexicon.LexiconReader(["ab", "abc", "cde"])
    reading = reader.read(text)
    assert [matches[-1] for matches in reading] == [3, 4, 5]  # abc d e
    assert dict(reader.gains(text, reading)) == {"abc": 2 - 3}  # ab cde is shorter: abc does harm here
    helpful = lexicon.LexiconReader(["abcde", "ab"])
    assert dict(helpful.gains(text, helpful.read(text))) == {"abcde": 3}  # ab c d e


def test_what_does_not_pay_is_forgotten() -> None:
    batches = [{"abab": 5, "xy": 5}] * 3 + [{"abab": 5}] * 60
    assert lexicon.learn(batches[:3], 8, 8, 2) == ["ab", "xy", "abab", "ba"]
    assert lexicon.learn(batches, 8, 8, 2) == ["abab"]  # ab led to abab and saves nothing since; xy is seen no more
    assert lexicon.learn(batches[:3], 1, 8, 2) == ["ab"]
    assert lexicon.learn([{"ab": 1}], 8, 8, 2) == []


def test_the_gates_hold_and_units_span_words(english: Path) -> None:
    lines = texts.paragraphs(english, "train")[:200]
    files = TRAINERS.get("less_is_better").train(lines, RECIPE, None)
    spec = json.loads(files["tokenizer.json"])
    tokenizer = to_tokenizer(spec)
    assert tokenizer.get_vocab_size() == 640
    assert round_trip(tokenizer, [*CHALLENGES, *texts.paragraphs(english, "test")]).failed == []
    assert reachability(spec).unreachable == [] and missing_bytes(spec) == []
    assert [token for token in tokenizer.get_vocab() if "Ġ" in token[1:-1] and token.strip("Ġ")]
    assert sum(len(tokenizer.encode(line).ids) for line in lines) < 0.5 * sum(len(line.encode()) for line in lines)
    assert TRAINERS.get("less_is_better").train(lines, RECIPE, None) == files


def test_too_little_text_and_foreign_options_are_refused() -> None:
    trainer = TRAINERS.get("less_is_better")
    with pytest.raises(TokenizerError, match="supports 260 tokens"):
        trainer.train(["a"], RECIPE, None)
    with pytest.raises(ConfigError, match="no spaces"):
        trainer.check(RECIPE.model_copy(update={"spaces": "alone"}), None)
