"""Canonical tokens and their overlap over every kind of tokenizer."""

from __future__ import annotations

import copy
import json
import random

import pytest
from transformers import PreTrainedTokenizerFast

import toys
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
from tokgraft.errors import TokenizerError
from tokgraft.overlap import overlap, shared_sources
from tokgraft.segmenter import Segmenter
from tokgraft.token_strings import TO_BYTE, TO_CHARACTER
from tokgraft.vocab import Token, Vocabulary

LINES = ["Über 12,5 % der Größe ändern sich.", "  zwei Leerzeichen", "x = {1: 'a'}", "Ο πίνακας δείχνει", "日本 ☃ 👍"]


def text_of(vocabulary: Vocabulary, ids: list[int]) -> bytes:
    return b"".join(vocabulary[number].text for number in ids)


def plain(tokens: list[tuple[str, str]], scheme: str = "plain") -> Vocabulary:
    """A vocabulary of (text, kind)."""
    return Vocabulary(tuple(Token(text.encode(), kind, (), text) for text, kind in tokens), scheme)  # type: ignore[arg-type]


def test_byte_alphabet_is_the_one_of_the_tokenizers_library() -> None:
    assert sorted(TO_BYTE) == sorted(pre_tokenizers.ByteLevel.alphabet())
    assert len(TO_CHARACTER) == 256
    assert TO_CHARACTER[0x20] == "Ġ" and TO_CHARACTER[0x0A] == "Ċ" and TO_CHARACTER[0xC3] == "Ã"


@pytest.mark.parametrize("kind", ["byte_level", "sp_bpe", "sp_bpe_metaspace"])
def test_tokens_of_a_text_join_to_its_bytes(kind: str) -> None:
    tokenizer = toys.tokenizer(kind, 800, "both")
    vocabulary = Vocabulary.from_tokenizer(tokenizer)
    for line in LINES:
        joined = text_of(vocabulary, tokenizer.encode(line, add_special_tokens=False))
        assert joined in (line.encode(), b" " + line.encode()), "SentencePiece puts a space in front"


def test_unigram_and_wordpiece_tokens() -> None:
    unigram = Vocabulary.from_tokenizer(toys.tokenizer("unigram"))
    tokenizer = toys.tokenizer("wordpiece")
    wordpiece = Vocabulary.from_tokenizer(tokenizer)
    assert any(unigram[number].text == b" the" for number in unigram.text_ids)
    assert wordpiece[tokenizer.get_vocab()["the"]].text == b" the"
    assert wordpiece[tokenizer.get_vocab()["##th"]].text == b"th"
    assert unigram.roles == {"bos": 0, "eos": 2, "pad": 1, "unk": 3, "mask": 4, "cls": 0, "sep": 2}
    assert unigram[0].roles == ("bos", "cls") and unigram[0].kind == "special"


def test_kinds_and_holes() -> None:
    tokenizer = toys.tokenizer("sp_bpe")
    vocabulary = Vocabulary.from_tokenizer(tokenizer)
    newline = tokenizer.get_vocab()["<0x0A>"]
    assert vocabulary[newline].text == b"\n" and vocabulary[newline].kind == "byte"
    assert sum(vocabulary[number].kind == "byte" for number in vocabulary.text_ids) == 256
    spec = json.loads(tokenizer.backend_tokenizer.to_str())
    last = max(spec["model"]["vocab"], key=spec["model"]["vocab"].get)
    spec["model"]["vocab"][last] += 5
    holed = Vocabulary.from_tokenizer(PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(json.dumps(spec)), unk_token="<unk>"))
    assert len(holed) == len(vocabulary) + 5
    assert [number for number in range(len(holed)) if holed.tokens[number] is None] == list(range(len(vocabulary) - 1, len(holed) - 1))
    with pytest.raises(KeyError):
        holed[len(holed) - 2]


def test_added_tokens_are_literal_text() -> None:
    base = toys.tokenizer("byte_level")
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(base.backend_tokenizer.to_str()), eos_token="<|end|>")
    tokenizer.add_tokens(["größer als", "    "])
    vocabulary = Vocabulary.from_tokenizer(tokenizer)
    added = [vocabulary[number] for number in vocabulary.ids[-2:]]
    assert [(token.text, token.kind) for token in added] == [("größer als".encode(), "normal"), (b"    ", "normal")]
    segmenter = Segmenter(tokenizer, vocabulary)
    assert segmenter.pieces("größer als".encode()) == [len(base)], "the source writes it as its one added token"


def test_independent_of_the_order_of_get_vocab(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = toys.tokenizer("unigram")
    first = Vocabulary.from_tokenizer(tokenizer)
    entries = list(tokenizer.get_vocab().items())
    random.Random(3).shuffle(entries)
    monkeypatch.setattr(tokenizer, "get_vocab", lambda: dict(entries))
    assert Vocabulary.from_tokenizer(tokenizer) == first
    assert Vocabulary.from_tokenizer(tokenizer).fingerprint == first.fingerprint


def test_unusable_tokenizers_are_named() -> None:
    with pytest.raises(TokenizerError, match="no fast form"):
        Vocabulary.from_tokenizer(object())
    suffixed = Tokenizer(models.BPE(vocab={"a</w>": 0}, merges=[], end_of_word_suffix="</w>"))
    with pytest.raises(TokenizerError, match="end of a word"):
        Vocabulary.from_tokenizer(PreTrainedTokenizerFast(tokenizer_object=suffixed))


# --- overlap ---------------------------------------------------------------------------------------------------------


def test_overlap_prefers_kind_then_string_then_lowest_id() -> None:
    source = plain([("A", "byte"), ("A", "normal"), ("A", "normal"), ("B", "byte"), ("B", "byte")])
    found = overlap(source, plain([("A", "normal"), ("A", "byte"), ("B", "normal"), ("C", "normal")]))
    assert {number: (match.source, match.level) for number, match in found.items()} == {0: (1, "exact"), 1: (0, "exact"), 2: (3, "bytes")}


def test_special_tokens_never_meet_text() -> None:
    special = Vocabulary((Token(b"</s>", "special", ("eos",), "</s>"), Token(b"<x>", "special", (), "<x>")), "plain")
    text = plain([("</s>", "normal"), ("<x>", "normal")])
    assert overlap(special, text) == {} == overlap(text, special)


def test_specials_by_role_string_and_substitute() -> None:
    def special(*entries: tuple[str, tuple[str, ...]]) -> Vocabulary:
        return Vocabulary(tuple(Token(name.encode(), "special", roles, name) for name, roles in entries), "plain")

    source = special(("<|im_start|>", ("bos",)), ("<|im_end|>", ("eos",)), ("<|endoftext|>", ("unk",)), ("<tool>", ()))
    target = special(
        ("<s>", ("bos", "cls")), ("<tool>", ()), ("<pad>", ("pad",)), ("<sep>", ("sep",)), ("<new>", ()), ("<|endoftext|>", ("eos", "unk"))
    )
    found = {number: (match.source, match.level) for number, match in overlap(source, target).items()}
    assert found == {0: (0, "role"), 1: (3, "string"), 2: (1, "substitute"), 3: (1, "substitute"), 5: (2, "role")}


@pytest.mark.parametrize(("ours", "theirs"), [(True, False), (False, True), (False, False)])
def test_added_tokens_match_by_string_whatever_the_special_flag(ours: bool, theirs: bool) -> None:
    names = ["<think>", "</think>", "<tool_call>", "<｜größe｜>"]

    def with_added(kind: str, special: bool) -> Vocabulary:
        tokenizer = copy.deepcopy(toys.tokenizer(kind))
        tokenizer.add_tokens([AddedToken(name, special=special, normalized=False) for name in names])
        return Vocabulary.from_tokenizer(tokenizer)

    source, target = with_added("byte_level", ours), with_added("sp_bpe", theirs)
    found = overlap(source, target)
    for name in names:
        (number,) = (number for number in target.ids if target[number].surface == name)
        assert source[found[number].source].surface == name
        assert found[number].level == ("exact" if ours == theirs else "string")


def test_a_learned_string_is_no_added_token() -> None:
    learned = plain([("<s>", "normal"), ("<think>", "normal")])
    added = Vocabulary((Token(b"<s>", "special", ("bos",), "<s>", True), Token(b"<think>", "special", (), "<think>", True)), "plain")
    assert overlap(learned, added) == {} == overlap(added, learned)


def test_one_source_token_of_several_stays_what_it_was() -> None:
    def specials(*entries: tuple[str, tuple[str, ...]]) -> Vocabulary:
        return Vocabulary(tuple(Token(name.encode(), "special", roles, name) for name, roles in entries), "plain")

    gpt2 = specials(("<|endoftext|>", ("bos", "eos", "unk")))
    llama = specials(("<s>", ("bos",)), ("</s>", ("eos",)), ("<pad>", ("pad",)), ("<unk>", ("unk",)))
    assert shared_sources(overlap(gpt2, llama), gpt2, llama) == {0: 1, 2: 1, 3: 1}, "the end of a text stays one"
    begins = specials(("<s>", ("bos", "cls")), ("</s>", ("eos",)))
    bert = specials(("[CLS]", ("cls",)), ("<s>", ("bos",)), ("</s>", ("eos",)))
    assert shared_sources(overlap(begins, bert), begins, bert) == {0: 1}, "else the one with the same string"
    assert shared_sources(overlap(begins, begins), begins, begins) == {}


# --- WordPiece: what the pre-tokenizer makes a word of its own -----------------------------------------------------------


def word_piece(*surfaces: str) -> PreTrainedTokenizerFast:
    """A tokenizer as BERT has it, with these pieces."""
    vocab = {surface: number for number, surface in enumerate(["[UNK]", *surfaces])}
    backend = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    backend.normalizer, backend.pre_tokenizer = normalizers.BertNormalizer(lowercase=False), pre_tokenizers.BertPreTokenizer()
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="[UNK]")


PIECES = ("##.", ".", "##!", "!", "##你", "你", "er", "##er", "a", "##a", "7", "##7")
PLACED = {".": ".", " .": ".", "!": "!", "你": "你", " 你": "你", "er": "##er", " er": "er", "7": "##7", " 7": "7"}


def test_text_meets_the_word_piece_that_its_place_can_have() -> None:
    tokenizer = word_piece(*PIECES)
    source, target = Vocabulary.from_tokenizer(tokenizer), plain([(text, "normal") for text in PLACED])
    found = overlap(source, target)
    assert {text: source[found[number].source].surface for number, text in enumerate(PLACED)} == PLACED
    cut = Segmenter(tokenizer, source)
    assert {text: [source[number].surface for number in cut.pieces(text.encode())] for text in PLACED} == {
        text: [piece] for text, piece in PLACED.items()
    }
    assert [source[number].surface for number in cut.pieces("era.你!".encode())] == ["##er", "##a", ".", "你", "!"]


def test_a_word_piece_target_meets_the_text_of_its_place() -> None:
    target = Vocabulary.from_tokenizer(word_piece(*PIECES))
    texts = [" .", ".", " er", "er", "你", " 你", "7", " 7", " !"]
    source = plain([(text, "normal") for text in texts])
    found = {target[number].surface: texts[match.source] for number, match in overlap(source, target).items()}
    assert found == {
        ".": ".", "##.": ".", "er": " er", "##er": "er", "你": "你", "##你": "你", "7": " 7", "##7": "7", "!": " !",
    }  # fmt: skip


def test_inside_a_byte_level_word_the_marked_piece_is_meant() -> None:
    surfaces = ["[UNK]", "er", "##er", ".", "##.", "Ġer"]
    backend = Tokenizer(models.WordPiece({surface: number for number, surface in enumerate(surfaces)}, unk_token="[UNK]"))
    backend.pre_tokenizer, backend.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    source = Vocabulary.from_tokenizer(PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="[UNK]"))
    found = overlap(source, plain([("er", "normal"), (".", "normal"), (" er", "normal")]))
    assert [source[match.source].surface for match in found.values()] == ["##er", ".", "Ġer"]
    assert {number: match.source for number, match in overlap(source, source).items()} == {number: number for number in source.ids}


def test_overlap_of_a_tokenizer_with_itself_is_the_identity() -> None:
    for kind in toys.KINDS:
        vocabulary = Vocabulary.from_tokenizer(toys.tokenizer(kind))
        found = overlap(vocabulary, vocabulary)
        assert {number: match.source for number, match in found.items()} == {number: number for number in vocabulary.ids}
