"""Tokenizers of Gemma 3, Qwen 3, Llama 2 and Llama 3 as published: canonical bytes, cuts, added tokens, and what a new vocabulary keeps."""

from __future__ import annotations

from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import published
from tokgraft.models.tokenizer_io import load_tokenizer, save_tokenizer
from tokgraft.overlap import overlap, shared_sources
from tokgraft.segmenter import Segmenter
from tokgraft.tokenizers.base import load_base
from tokgraft.tokenizers.templates import written
from tokgraft.vocab import Vocabulary

pytestmark = [pytest.mark.slow, pytest.mark.network]
NAMES = ("gemma3", "qwen3", "llama2", "llama3")
TEXTS = ["Größe ändern: 12,5 % <think>", "  x = {1: 'a'}\n\n", "日本 ☃ 👍", "<s> </s> <pad> <bos>"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("published")


@cache
def tokenizer(name: str, place: Path) -> tuple[Any, Vocabulary]:
    found = load_tokenizer(published.folder(name, place / name))
    return found, Vocabulary.from_tokenizer(found)


@pytest.mark.parametrize("name", NAMES)
def test_pieces_write_exactly_the_bytes_and_no_special_token(name: str, place: Path) -> None:
    found, vocabulary = tokenizer(name, place)
    cut = Segmenter(found, vocabulary)
    for text in [*(text.encode() for text in TEXTS), b"\xff\xfea"]:
        ids = cut.pieces(text)
        assert b"".join(vocabulary[number].text for number in ids) == text
        assert not set(ids) & set(vocabulary.special_ids)
    some = vocabulary.text_ids[:: len(vocabulary) // 500]
    assert cut.pieces_many([vocabulary[number].text for number in some]) == [cut.pieces(vocabulary[number].text) for number in some]


def test_a_vocabulary_is_its_own_overlap(place: Path) -> None:
    _, vocabulary = tokenizer("qwen3", place)
    matches = overlap(vocabulary, vocabulary)
    assert {number: match.source for number, match in matches.items()} == {number: number for number in vocabulary.ids}
    assert not shared_sources(matches, vocabulary, vocabulary)


def test_one_end_of_text_ends_the_text_of_a_target_with_several_special_tokens(place: Path) -> None:
    (qwen, source), (llama, target) = tokenizer("qwen3", place), tokenizer("llama2", place)
    matches = overlap(source, target)
    begin, end = llama.bos_token_id, llama.eos_token_id
    assert source[matches[end].source].surface == qwen.eos_token
    assert shared_sources(matches, source, target)[begin] == end


def test_the_tokens_of_qwens_chat_template_are_kept(place: Path) -> None:
    tokenizer("qwen3", place)
    kept = {token.content for token in written(load_base(place / "qwen3"))}
    assert kept == {"<think>", "</think>", "<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>"}


@pytest.mark.parametrize("name", ["gemma3", "llama2"])
def test_a_foreign_tokenizer_of_a_qwen2_model_is_what_autotokenizer_gives(name: str, place: Path, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    (tmp_path / "config.json").write_text('{"model_type": "qwen2"}')
    found, _ = tokenizer(name, place)
    save_tokenizer(found, tmp_path)
    auto = AutoTokenizer.from_pretrained(tmp_path)
    for text in TEXTS:
        assert auto(text)["input_ids"] == found(text)["input_ids"]
        assert auto.decode(found(text)["input_ids"]) == found.decode(found(text)["input_ids"])


def test_punctuation_and_chinese_characters_of_bert(place: Path) -> None:
    from tokgraft.resources.sentence_embedder import SentenceEmbedder, encoder_folder

    with ExitStack() as stack:
        bert = load_tokenizer(encoder_folder(SentenceEmbedder(), stack))
    vocabulary = Vocabulary.from_tokenizer(bert)
    qwen, other = tokenizer("qwen3", place)
    pieces = {".": ".", ",": ",", " .": ".", "(": "(", "的": "的", "er": "##er", " der": "der"}
    found, cut = overlap(vocabulary, other), Segmenter(bert, vocabulary)
    for text, piece in pieces.items():
        (number,) = qwen.encode(text)
        assert vocabulary[found[number].source].surface == piece
        assert [vocabulary[part].surface for part in cut.pieces(text.encode())] == [piece]
    back = overlap(other, vocabulary)
    ids = bert.get_vocab()
    assert {piece: other[back[ids[piece]].source].shown for piece in (".", "(", "的", "##er", "der")} == {
        ".": ".", "(": "(", "的": "的", "##er": "er", "der": " der",
    }  # fmt: skip
    assert all(number == match.source for number, match in overlap(vocabulary, vocabulary).items())
