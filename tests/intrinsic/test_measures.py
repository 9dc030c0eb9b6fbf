"""Metrics counted by hand."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_matrix

import toys
from tokgraft.errors import DataError
from tokgraft.intrinsic.classes import script_of
from tokgraft.intrinsic.counts import Text, count, frequencies
from tokgraft.intrinsic.inputs import SentencePairs
from tokgraft.intrinsic.measures import (
    _shares_of_entropy,
    distribution,
    isolated,
    lengths,
    percentile_frequency,
    ratio,
    renyi_entropy,
    retention,
    shared_with,
    unigram,
    usage,
    word_measures,
)
from tokgraft.intrinsic.parallel import declaration, premiums
from tokgraft.tokenizers.metrics import measure
from toysubjects import of


def test_lengths_and_words_by_hand(subject: Any) -> None:
    toy = subject("cat", "s a")
    text = Text.read(["cats are", "cat"], "space")
    counts = count(toy.tokenizer, text)
    # cat|s a|r|e and cat: "s a" touches both words
    assert (counts.tokens.tolist(), counts.bytes.tolist(), counts.words.tolist()) == ([4, 1], [8, 3], [2, 1])
    assert (counts.word_tokens.tolist(), counts.continued.tolist(), counts.chunks.tolist()) == ([5, 1], [2, 0], [2, 1])
    found = lengths(counts, count(subject(name="bytes").tokenizer, text))
    assert found["bytes_per_token"]["value"] == pytest.approx(11 / 5)
    assert found["normalised_sequence_length"]["value"] == pytest.approx(5 / 11, abs=1e-6)
    assert found["tokens_per_chunk"]["value"] == pytest.approx(5 / 3, abs=1e-6)
    words = word_measures(counts)
    assert words["fertility"]["value"] == 2 and words["continued_words"]["value"] == pytest.approx(2 / 3, abs=1e-6)
    low, high = words["fertility"]["interval"]
    assert 0 <= low < 2 < high  # a text of two pages says little


@pytest.mark.parametrize("kind", toys.KINDS)
@pytest.mark.parametrize("words", ["space", "none"])
def test_counts_are_those_of_the_tokenizer_stage(kind: str, words: str) -> None:
    tokenizer = toys.tokenizer(kind).backend_tokenizer
    pages = [*toys.english()[:60], toys.GERMAN, toys.GREEK, "日本語 ไทย", "."]
    old, new = measure(tokenizer, pages, words), count(tokenizer, Text.read(pages, words))
    assert new.tokens.tolist() == old.tokens and new.bytes.tolist() == old.bytes
    assert (new.words.sum(), new.word_tokens.sum(), new.continued.sum()) == (old.words, old.word_tokens, old.continued)
    assert (new.frequencies > 0).sum() == old.used and new.frequencies.sum() == sum(old.tokens)


def test_pages_and_batches_do_not_mix(subject: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    toy, text = subject("die", " die"), Text.read([toys.GERMAN, "die", "x" * 50, toys.GREEK], "space")
    whole = count(toy.tokenizer, text)
    monkeypatch.setattr("tokgraft.intrinsic.counts.BATCH_BYTES", 10)
    parts = count(toy.tokenizer, text)
    assert np.array_equal(whole.tokens, parts.tokens) and np.array_equal(whole.word_tokens, parts.word_tokens)
    assert np.array_equal(whole.by_page.toarray(), parts.by_page.toarray())


def test_an_interval_holds_the_truth_as_often_as_it_says_on_few_pages() -> None:
    """A bootstrap's percentiles hold it in 83 to 88 % of cases here."""
    rng, hits = np.random.default_rng(0), 0
    for _ in range(400):
        bottom = np.round(500 * np.exp(rng.normal(0, 0.6, 10))).astype(int)
        top = bottom * (0.3 + 0.05 * (rng.gamma(2, 1, 10) - 2))
        low, high = ratio(top, bottom)["interval"]
        hits += low <= 0.3 <= high
    assert hits / 400 >= 0.93


@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.5, math.inf])
def test_the_interval_of_an_entropy_is_that_of_leaving_pages_out(alpha: float) -> None:
    rng, pages = np.random.default_rng(1), 40
    usual = rng.dirichlet(np.full(30, 0.5), pages) * 0.5 + rng.dirichlet(np.full(30, 0.3)) * 0.5
    table = csr_matrix(np.array([rng.multinomial(int(rng.integers(200, 900)), row) for row in usual]).astype(float))
    table = table[:, np.flatnonzero(np.asarray(table.sum(axis=0)).ravel())]
    counts = table.toarray()
    whole, tokens = renyi_entropy(counts.sum(0), alpha), counts.sum(1)
    shares = _shares_of_entropy(table, tokens, whole, alpha)
    assert shares.sum() / tokens.sum() == pytest.approx(whole)
    out = np.array([renyi_entropy(np.delete(counts, page, axis=0).sum(0), alpha) for page in range(pages)])
    ours = (shares.sum() - shares) / (tokens.sum() - tokens)
    assert ours.std() == pytest.approx(out.std(), rel=0.1) and np.corrcoef(ours, out)[0, 1] > 0.99


def test_an_interval_needs_two_pages() -> None:
    assert ratio(np.array([4]), np.array([2])) == {"value": 2.0, "interval": []}
    assert ratio(np.array([0]), np.array([0])) == {"value": None, "interval": []}


def test_isolated_words_and_retention(subject: Any) -> None:
    toy = subject(" cat", "dog")
    words = Counter({"cat": 3, "dog": 1})
    assert isolated(toy, words) == {"fertility_isolated": pytest.approx((3 * 1 + 1 * 2) / 4), "continued_types": 0.5}
    assert isolated(toy, words, "") == {"fertility_isolated": pytest.approx((3 * 3 + 1 * 1) / 4), "continued_types": 0.5}
    found = retention(toy, words, 10)
    assert (found["words"], found["after_space"], found["after_space_weighted"]) == (2, 0.5, 0.75)
    assert (found["bare"], found["bare_weighted"], found["both"]) == (0.5, 0.25, 0.0)
    assert retention(toy, words, 1)["words"] == 1
    assert isolated(toy, {}) == {"fertility_isolated": None, "continued_types": None} and retention(toy, Counter(), 5) == {"words": 0}


@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.0, 2.5, 3.0, math.inf])
def test_entropy_of_equal_tokens_is_the_logarithm_of_their_number(alpha: float) -> None:
    assert renyi_entropy([7] * 8, alpha) == pytest.approx(3)
    assert renyi_entropy([7, 0], alpha) == 0 and renyi_entropy([0, 0], alpha) == 0


def test_entropies_by_hand() -> None:
    # shares 1/2, 1/4, 1/4
    assert renyi_entropy([2, 1, 1], 1) == pytest.approx(1.5)
    assert renyi_entropy([2, 1, 1], 2) == pytest.approx(-math.log2(3 / 8))
    assert renyi_entropy([2, 1, 1], math.inf) == pytest.approx(1)
    assert percentile_frequency([5, 4, 3, 2, 1], 0.2, 0.6) == pytest.approx((4 + 3) / 15)


def test_efficiency_is_over_the_whole_vocabulary(subject: Any) -> None:
    toy = subject()
    counts = count(toy.tokenizer, Text.read(["ab", "abab"], "space"))
    found = distribution(counts, 256, 2.5)
    assert found["observed_types"] == 2 and found["shannon_entropy"] == found["renyi_entropy"] == 1
    assert found["renyi_efficiency"]["value"] == pytest.approx(1 / 8) and found["renyi_efficiency_of_observed"] == 1
    assert found["bits"] == 6 * 8
    with pytest.raises(DataError, match="no distribution"):
        distribution(counts, 1, 2.5)


@pytest.mark.parametrize("kind", ["byte_level", "unigram"])
def test_a_unigram_model_pays_for_each_token_what_its_frequency_says(kind: str) -> None:
    subject = of(toys.tokenizer(kind))
    train, test = (Text.read(lines, "space") for lines in (toys.english()[:200], toys.english()[200:240]))
    known = frequencies(subject.tokenizer, train)
    assert known.sum() == count(subject.tokenizer, train).tokens.sum()
    found = unigram(count(subject.tokenizer, test), known, subject.size)
    ids = [number for page in test.pages for number in subject.tokenizer.encode(page, add_special_tokens=False).ids]
    bits = -sum(math.log2((known[number] + 0.5) / (known.sum() + 0.5 * subject.size)) for number in ids)
    assert found["value"] == pytest.approx(bits / test.bytes, abs=1e-6)
    assert found["interval"][0] < found["value"] < found["interval"][1]
    own = unigram(count(subject.tokenizer, train), known, subject.size)
    assert own["value"] < found["value"]  # what was counted is known better


def test_use_of_the_vocabulary(subject: Any) -> None:
    toy, base = subject("cat", "né", name="new"), subject("ca", name="base")
    counts = count(toy.tokenizer, Text.read(["cat né ü"], "space"))  # cat| |n é| |ü as two bytes
    found = usage(counts, toy, base)
    assert counts.tokens.tolist() == [6]
    assert (found["used"], found["used_once"], found["used_share"]) == (5, 4, pytest.approx(5 / toy.size, abs=1e-6))
    assert found["single_bytes"]["value"] == pytest.approx(2 / 6, abs=1e-6)
    assert found["new_tokens"]["value"] == pytest.approx(2 / 6, abs=1e-6) and found["unknown"]["value"] == 0


def test_overlap_is_of_bytes_not_of_strings() -> None:
    """`Ġder` and `▁der` are the same five bytes."""
    one, other = of(toys.tokenizer("byte_level")), of(toys.tokenizer("sp_bpe_metaspace"))
    counts = count(one.tokenizer, Text.read(toys.english()[:20], "space"))
    found = shared_with(one, other, counts, script_of)
    assert found["shared"] > 100 and found["shared"] > len(set(one.ids) & set(other.ids))
    assert 0 < found["jaccard"] < found["share_of_ours"] <= 1 and found["share_of_text"] > found["jaccard"]
    same = shared_with(one, one, counts, script_of)
    assert same["jaccard"] == same["share_of_base"] == same["share_of_text"] == 1
    assert sum(entry["tokens"] for entry in found["by_script"].values()) == len({one.vocabulary[i].text for i in one.vocabulary.text_ids})


@pytest.mark.parametrize("kind", toys.KINDS)
def test_the_premium_of_english_against_itself_is_one(kind: str) -> None:
    lines = tuple(toys.english()[:40])
    found = premiums(of(toys.tokenizer(kind)), SentencePairs(tuple(str(i // 4) for i in range(40)), lines, lines))
    assert found is not None and found["premium"] == found["byte_premium"] == {"value": 1.0, "interval": [1.0, 1.0]}
    assert found["premium_per_byte_premium"] == 1 and found["by_paragraph"]["quartiles"] == [1, 1, 1]


def test_the_premium_is_a_ratio_of_sums(subject: Any) -> None:
    pairs = SentencePairs(("a", "b"), ("the cat", "the cat"), ("die katze", "ab"))
    found = premiums(subject("the cat"), pairs)
    assert found is not None
    assert (found["tokens_english"], found["tokens_target"], found["premium"]["value"]) == (2, 11, 5.5)
    assert found["byte_premium"]["value"] == pytest.approx(11 / 14, abs=1e-6)
    assert found["premium_per_byte_premium"] == pytest.approx(7, abs=1e-4)
    assert found["by_paragraph"]["mean"] == 5.5 and found["premium"]["interval"][0] < 5.5 < found["premium"]["interval"][1]
    assert premiums(subject(), SentencePairs((), (), ())) is None


def test_the_declaration_needs_no_alignment(subject: Any) -> None:
    found = declaration(subject("ab"), "xxx", ["ab", "ab ü"], ["abab"])
    assert (found["tokens_target"], found["tokens_english"], found["premium"]) == (5, 2, 2.5)
    assert found["byte_premium"] == 7 / 4 and found["bytes_per_token"] == 7 / 5
