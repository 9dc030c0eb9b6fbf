"""Continued BPE beside the package bpe-continue: the same tokens in the same order on a byte-level base."""

from __future__ import annotations

from pathlib import Path

import pytest

import toys
from tokgraft.token_strings import vocabulary_of
from tokgraft.tokenizers.base import load_base
from tokgraft.tokenizers.growing import Growth, grow
from toycorpora import invented

LINES = [*invented(800), *toys.GERMAN.splitlines() * 3, *toys.GREEK.splitlines() * 3]


def test_the_tokens_are_those_of_bpe_continue(tmp_path: Path) -> None:
    package = pytest.importorskip("bpe_continue")
    toys.tokenizer("byte_level").save_pretrained(tmp_path)
    base = load_base(tmp_path)
    before = vocabulary_of(base.spec)
    spec, new = grow(base.spec, base.kind, LINES, Growth(300))
    size = len(before)
    theirs = package.continue_training(
        str(tmp_path / "tokenizer.json"), texts=LINES, vocab_size=size + 300, min_frequency=2, show_progress=False
    )
    found = [token for token, number in sorted(theirs.get_vocab().items(), key=lambda item: item[1]) if number >= size]
    assert len(new) == 300 and new == found
    assert [spec["model"]["vocab"][token] for token in new] == list(range(size, size + 300))
