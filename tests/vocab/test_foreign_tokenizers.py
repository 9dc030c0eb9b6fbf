"""Tokenizers from elsewhere: ids that no table can follow, and damaged files, are one TokenizerError before any work."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import foreign
import toys
from tokgraft.errors import TokenizerError
from tokgraft.models.io import load_tokenizer
from tokgraft.token_strings import check_ids
from tokgraft.tokenizers.base import load_base
from tokgraft.vocab import Vocabulary

KINDS = ["sp_bpe", "unigram", "wordpiece"]


def read(folder: Path) -> Vocabulary:
    """The tokenizer by both readers."""
    load_base(folder)
    return Vocabulary.from_tokenizer(load_tokenizer(folder))


@pytest.fixture(params=KINDS)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    toys.tokenizer(request.param).save_pretrained(tmp_path)
    return tmp_path


@pytest.fixture
def byte_level(tmp_path: Path) -> Path:
    toys.tokenizer("byte_level").save_pretrained(tmp_path)
    return tmp_path


def changed(folder: Path, change: Any) -> None:
    spec = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    change(spec)
    (folder / "tokenizer.json").write_text(json.dumps(spec), encoding="utf-8")


@pytest.mark.parametrize("number", [10**9, 2**32 - 1, 500_000])
def test_an_id_far_beyond_the_number_of_tokens_is_refused_before_memory_is_taken(byte_level: Path, number: int) -> None:
    def change(spec: dict[str, Any]) -> None:
        last = max(spec["model"]["vocab"], key=spec["model"]["vocab"].get)
        spec["model"]["vocab"][last] = number

    changed(byte_level, change)
    with foreign.little_memory():
        for load in (load_base, load_tokenizer):
            with pytest.raises(TokenizerError, match=f"ids from 0 to {number}"):
                load(byte_level)


def test_two_tokens_with_one_id_are_refused(byte_level: Path) -> None:
    def change(spec: dict[str, Any]) -> None:
        ids = spec["model"]["vocab"]
        first, second, *_ = sorted(ids, key=ids.get, reverse=True)
        ids[first] = ids[second]

    changed(byte_level, change)
    for load in (load_base, load_tokenizer):
        with pytest.raises(TokenizerError, match=r"gives the id \d+ to '.*' and to '"):
            load(byte_level)


@pytest.mark.parametrize("ids", [{}, {"a": -1}, {"a": 0, "b": 0}, {"a": 10**9}])
def test_ids_that_no_table_can_follow(ids: dict[str, int]) -> None:
    with pytest.raises(TokenizerError, match="the file"):
        check_ids(ids, "the file")


def test_gaps_are_possible() -> None:
    check_ids({"a": 0, "b": 60_000}, "the file")
    check_ids({str(number): number + 250_000 for number in range(250_000)}, "the file")


def test_a_misdescribed_tokenizer_is_read_or_refused(folder: Path) -> None:
    content = (folder / "tokenizer.json").read_bytes()
    taken = 0
    for damaged in [*foreign.misdescribed(json.loads(content), 40), *foreign.damaged(content, 18)]:
        (folder / "tokenizer.json").write_bytes(damaged)
        taken += foreign.survives(lambda: read(folder))
    assert taken < 58


@pytest.mark.parametrize("name", ["tokenizer_config.json", "special_tokens_map.json", "generation_config.json", "config.json"])
def test_a_misdescribed_companion_is_read_or_refused(byte_level: Path, name: str) -> None:
    ids = {"bos_token_id": 0, "eos_token_id": [1, 2], "pad_token_id": 3}
    roles = {"bos_token": "<s>", "eos_token": {"content": "</s>", "lstrip": False}, "extra_special_tokens": ["<x>"], "model_max_length": 10}
    for content in [*foreign.misdescribed({**ids, **roles}, 30), b"null", b"[]", b"\xff", b"[" * 100_000]:
        (byte_level / name).write_bytes(content)
        foreign.survives(lambda: read(byte_level))
