"""Pieces of bytes over every kind of tokenizer."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

import toys
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from tokgraft.segmenter import Segmenter, utf8_runs
from tokgraft.vocab import Vocabulary

SEGMENTERS = {kind: Segmenter(toys.tokenizer(kind)) for kind in toys.KINDS}


def text_of(vocabulary: Vocabulary, ids: list[int]) -> bytes:
    return b"".join(vocabulary[number].text for number in ids)


@pytest.mark.parametrize("kind", ["byte_level", "sp_bpe", "sp_bpe_metaspace"])
@settings(max_examples=60, deadline=None)
@given(text=st.binary(min_size=1, max_size=12) | st.text(min_size=1, max_size=8).map(str.encode))
def test_pieces_write_exactly_the_bytes(kind: str, text: bytes) -> None:
    segmenter = SEGMENTERS[kind]
    if "▁".encode() in text:
        return  # SentencePiece cannot tell it from a space
    ids = segmenter.pieces(text)
    assert text_of(segmenter.vocabulary, ids) == text
    assert not set(ids) & set(segmenter.vocabulary.special_ids)


@pytest.mark.parametrize("kind", toys.KINDS)
def test_own_tokens_are_their_own_pieces(kind: str) -> None:
    segmenter = SEGMENTERS[kind]
    vocabulary = segmenter.vocabulary
    normal = [number for number in vocabulary.text_ids if vocabulary[number].kind == "normal"]
    pieces = segmenter.pieces_many([vocabulary[number].text for number in normal])
    same = sum(ids == [number] for number, ids in zip(normal, pieces))
    assert same > 0.95 * len(normal), "some are reached from within longer words only"
    assert all(pieces)


@pytest.mark.parametrize("kind", toys.KINDS)
def test_leading_space_is_kept_and_none_is_added(kind: str) -> None:
    segmenter = SEGMENTERS[kind]
    vocabulary = segmenter.vocabulary
    assert text_of(vocabulary, segmenter.pieces(b" there")) == b" there"
    assert text_of(vocabulary, segmenter.pieces(b"there")) == b"there"


@pytest.mark.parametrize("kind", toys.KINDS)
def test_text_that_looks_special_is_text(kind: str) -> None:
    segmenter = SEGMENTERS[kind]
    vocabulary = segmenter.vocabulary
    for number in vocabulary.special_ids:
        ids = segmenter.pieces(vocabulary[number].text)
        assert ids and not set(ids) & set(vocabulary.special_ids)


def _lacking(unknown: str | None, normalizer: normalizers.Normalizer | None) -> Segmenter:
    """A byte-level tokenizer without x, y and the bytes of most other characters."""
    vocab = {token: number for number, token in enumerate(["<unk>", *"abcdeÃ¼Ġ", "ab", "Ġa", "cd", "abcd"])}
    backend = Tokenizer(models.BPE(vocab, [("a", "b"), ("Ġ", "a"), ("c", "d"), ("ab", "cd")], unk_token=unknown))
    if normalizer is not None:
        backend.normalizer = normalizer
    backend.pre_tokenizer, backend.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    return Segmenter(PreTrainedTokenizerFast(tokenizer_object=backend, **({"unk_token": unknown} if unknown else {})))


@pytest.mark.parametrize("unknown", [None, "<unk>"])
@pytest.mark.parametrize("normalizer", [None, normalizers.Replace("ab", "a"), normalizers.Replace("d", "abcd"), normalizers.NFC()])
@settings(max_examples=30, deadline=None)
@given(texts=st.lists(st.text("abcdexü ", min_size=1, max_size=6), min_size=1, max_size=1200))
def test_many_texts_are_cut_like_each_alone(unknown: str | None, normalizer: normalizers.Normalizer | None, texts: list[str]) -> None:
    segmenter = _lacking(unknown, normalizer)
    alone = [segmenter.pieces(text.encode()) for text in texts]
    assert segmenter.pieces_many([text.encode() for text in texts]) == alone
    if normalizer is None:
        kept = ["".join(character for character in text if character != "x") for text in texts]
        assert [text_of(segmenter.vocabulary, ids).decode() for ids in alone] == kept


def test_many_texts_of_another_model_are_cut_like_each_alone() -> None:
    segmenter = SEGMENTERS["byte_level"]
    texts = [line for text in ("english", "german") for line in getattr(toys, text)()][:3000]
    library = [item.ids for item in segmenter._tokenizer.encode_batch_fast(texts, add_special_tokens=False)]
    assert segmenter.pieces_many([text.encode() for text in texts]) == library


@pytest.mark.parametrize("kind", ["unigram", "wordpiece"])
def test_unknown_characters_are_left_out(kind: str) -> None:
    segmenter = SEGMENTERS[kind]
    assert segmenter.pieces("☃".encode()) == [] == segmenter.pieces(b"\xff")
    assert segmenter.pieces("a☃".encode()) == segmenter.pieces(b"a") != []


def test_precompiled_layouts_with_spaces_split_off_keep_the_space() -> None:
    vocab = [("<unk>", 0.0), ("▁", -2.0), ("▁der", -3.0), ("der", -3.5), ("d", -6.0), ("e", -6.0), ("r", -6.0)]
    backend = Tokenizer(models.Unigram(vocab, 0))
    backend.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Strip(), normalizers.Prepend("▁")])
    backend.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    backend.decoder = decoders.Metaspace()
    segmenter = Segmenter(PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>"))
    assert [segmenter.pieces(text) for text in (b" der", b"der", b" der der", b" ")] == [[2], [3], [2, 2], [1]]


def test_utf8_runs() -> None:
    assert utf8_runs("aü".encode() + b"\xc3" + b"b\xff\xfe") == [
        (True, "aü".encode()),
        (False, b"\xc3"),
        (True, b"b"),
        (False, b"\xff"),
        (False, b"\xfe"),
    ]
    assert utf8_runs(b"") == []
