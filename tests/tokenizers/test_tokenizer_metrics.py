from __future__ import annotations

import json

import pytest

import toys
from tokenizers import Tokenizer, models, pre_tokenizers
from tokgraft.tokenizers.metrics import identical_share, measure, premium, word_spans


def letters_and(*words: str) -> Tokenizer:
    """Every character is a token, and so are the given words (by merges from the left)."""
    vocabulary = {chr(code): place for place, code in enumerate(range(32, 127))}
    merges = []
    for word in words:
        for end in range(2, len(word) + 1):
            if word[:end] not in vocabulary:
                vocabulary[word[:end]] = len(vocabulary)
                merges.append((word[: end - 1], word[end - 1]))
    return Tokenizer(models.BPE(vocab=vocabulary, merges=merges))


def test_words_follow_unicode_boundaries() -> None:
    text = "Don't stop: 3.14 o'clock — größer!"
    assert [text[start:end] for start, end in word_spans(text, "space")] == ["Don't", "stop", "3.14", "o'clock", "größer"]
    assert word_spans("", "space") == [] and word_spans(" … ", "space") == []


def test_characters_stand_for_words_without_spaces() -> None:
    text = "ภาษา 日本。"
    assert [text[start:end] for start, end in word_spans(text, "none")] == ["ภ", "า", "ษ", "า", "日", "本"]


def test_counts_by_hand() -> None:
    tokenizer = letters_and("cat", "s a")
    measured = measure(tokenizer, ["cats are", "cat"], "space")
    # cat|s a|r|e and cat: "s a" touches both words, so cats has 2 tokens and are has 3
    assert (sum(measured.tokens), sum(measured.bytes), measured.words, measured.word_tokens, measured.continued) == (5, 11, 3, 6, 2)
    ratios = measured.ratios(tokenizer.get_vocab_size())
    assert ratios["bytes_per_token"] == pytest.approx(11 / 5)
    assert ratios["fertility"] == pytest.approx(2)
    assert ratios["continued_words"] == pytest.approx(2 / 3, abs=1e-6)
    low, high = ratios["bytes_per_token_interval"]
    assert low < 2 and high > 3  # two pages, of 2 and 3 bytes per token, say little


def test_ratios_are_of_sums_not_means_of_ratios() -> None:
    tokenizer = letters_and("abcd")
    assert measure(tokenizer, ["abcd" * 9, "b"], "space").ratios(1)["bytes_per_token"] == pytest.approx(37 / 10)


def test_bytes_of_one_character_all_touch_its_word() -> None:
    tokenizer = Tokenizer(
        models.BPE(vocab={symbol: place for place, symbol in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}, merges=[])
    )
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    assert measure(tokenizer, ["né ü"], "space").word_tokens == 3 + 2


@pytest.mark.parametrize("kind", toys.KINDS)
def test_the_premium_of_english_against_itself_is_one(kind: str) -> None:
    lines = toys.english()[:50]
    found = premium(toys.tokenizer(kind).backend_tokenizer, [(line, line) for line in lines])
    assert found is not None and found["premium"] == found["byte_premium"] == found["premium_per_byte_premium"] == 1.0


def test_the_premium_divides_target_by_english() -> None:
    found = premium(letters_and("the cat"), [("the cat", "die katze"), ("the cat", "ab")])
    assert found is not None
    assert (found["tokens_english"], found["tokens_target"], found["premium"]) == (2, 11, 5.5)
    assert found["byte_premium"] == pytest.approx(11 / 14, abs=1e-6)
    assert found["premium_per_byte_premium"] == pytest.approx(7, abs=1e-4)
    assert premium(letters_and(), []) is None


def test_identical_share_counts_texts() -> None:
    assert (
        identical_share(letters_and(), letters_and("cat"), ["cat", "dog", "ca", "t"]) == 0.75 - 0.25
    )  # "ca" is a token on the way to "cat"
    assert identical_share(letters_and(), letters_and(), ["cat"]) == 1.0


def test_as_many_tokens_are_not_the_same_tokens() -> None:
    assert identical_share(letters_and("ab"), letters_and("bc"), ["abc", "abd", "d"]) == round(1 / 3, 6)


def test_identical_share_compares_tokens_and_not_ids() -> None:
    before = letters_and("cat")
    spec = json.loads(before.to_str())
    order = sorted(spec["model"]["vocab"], key=spec["model"]["vocab"].get)
    spec["model"]["vocab"] = {token: place for place, token in enumerate(reversed(order))}
    assert identical_share(before, Tokenizer.from_str(json.dumps(spec)), ["cat", "dog"]) == 1.0
