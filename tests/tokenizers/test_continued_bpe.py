from __future__ import annotations

import itertools
import random
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from tokenizers import models
from tokgraft.tokenizers.continued import Learned, Merges, continue_merges, settle

LETTERS = "abc"
WORDS = st.dictionaries(st.text(LETTERS, min_size=1, max_size=8), st.integers(1, 9), min_size=1, max_size=12)


def random_base(seed: int, size: int) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """A vocabulary over LETTERS with `size` random merges, some of them second routes to the same token."""
    draw = random.Random(seed)
    vocabulary = {letter: index for index, letter in enumerate(LETTERS)}
    merges: list[tuple[str, str]] = []
    for _ in range(size):
        pair = (draw.choice(list(vocabulary)), draw.choice(list(vocabulary)))
        if pair not in merges and len("".join(pair)) <= 5:
            merges.append(pair)
            vocabulary.setdefault("".join(pair), len(vocabulary))
    return vocabulary, merges


def table(vocabulary: dict[str, int], merges: list[tuple[str, str]]) -> Merges:
    return {(vocabulary[a], vocabulary[b]): (rank, vocabulary[a + b]) for rank, (a, b) in enumerate(merges)}


def library(vocabulary: dict[str, int], merges: list[tuple[str, str]], word: str) -> list[int]:
    return [token.id for token in models.BPE(vocab=vocabulary, merges=merges).tokenize(word)]


def learn(
    words: dict[str, int], seed: int, size: int, new_tokens: int, min_frequency: int = 1
) -> tuple[Learned, dict[str, int], list[tuple[str, str]]]:
    vocabulary, merges = random_base(seed, size)
    segmented: Counter[tuple[int, ...]] = Counter()
    for word, count in words.items():
        segmented[tuple(library(vocabulary, merges, word))] += count
    learned = continue_merges(
        segmented,
        vocabulary,
        table(vocabulary, merges),
        new_tokens,
        len(vocabulary),
        allowed=lambda token: True,
        min_frequency=min_frequency,
    )
    return learned, vocabulary, merges


@given(st.integers(0, 10_000), st.text(LETTERS, min_size=1, max_size=12))
@settings(max_examples=200, deadline=None)
def test_settle_is_what_the_library_does(seed: int, word: str) -> None:
    vocabulary, merges = random_base(seed, 12)
    assert settle([vocabulary[letter] for letter in word], table(vocabulary, merges)) == library(vocabulary, merges, word)


@given(WORDS, st.integers(0, 10_000))
@settings(max_examples=150, deadline=None)
def test_every_step_takes_the_most_frequent_pair(words: dict[str, int], seed: int) -> None:
    """Against the plain way: after every merge segment all words anew with the library and count all pairs."""
    learned, vocabulary, merges = learn(words, seed, size=6, new_tokens=6)
    known, rules = dict(vocabulary), list(merges)
    strings = {index: token for token, index in known.items()}
    for left, right in learned.merges:
        counts: Counter[tuple[int, int]] = Counter()
        for word, count in words.items():
            for pair in itertools.pairwise(library(known, rules, word)):
                counts[pair] += count
        best = min(counts, key=lambda pair: (-counts[pair], pair))
        assert (left, right) == (strings[best[0]], strings[best[1]])
        rules.append((left, right))
        if left + right not in known:
            known[left + right] = len(known)
            strings[len(known) - 1] = left + right
    assert learned.tokens == [token for token in known if token not in vocabulary]


@given(WORDS, st.integers(0, 10_000), st.text(LETTERS, min_size=1, max_size=14))
@settings(max_examples=150, deadline=None)
def test_any_text_is_only_coarsened_and_every_new_token_is_reachable(words: dict[str, int], seed: int, text: str) -> None:
    learned, vocabulary, merges = learn(words, seed, size=8, new_tokens=8)
    known = vocabulary | {token: len(vocabulary) + place for place, token in enumerate(learned.tokens)}
    strings = {index: token for token, index in known.items()}
    new = library(known, [*merges, *learned.merges], text)

    def cuts(ids: list[int]) -> set[int]:
        return set(itertools.accumulate(len(strings[index]) for index in ids))

    assert cuts(new) <= cuts(library(vocabulary, merges, text))
    for token in learned.tokens:
        assert library(known, [*merges, *learned.merges], token) == [known[token]]


def test_a_second_route_to_an_old_token_costs_no_id_and_wakes_old_merges() -> None:
    """`abc` is made of a+bc; where ab stands first, ab+c is a second route to it, after which the old abc+d fits again."""
    vocabulary = {token: index for index, token in enumerate(["a", "b", "c", "d", "ab", "bc", "abc", "abcd"])}
    merges = [("a", "b"), ("b", "c"), ("a", "bc"), ("abc", "d")]
    words = {tuple(library(vocabulary, merges, "abcd")): 5, tuple(library(vocabulary, merges, "abca")): 1}
    learned = continue_merges(words, vocabulary, table(vocabulary, merges), 1, 8, allowed=lambda token: True, min_frequency=1)
    assert learned.merges == [("ab", "c"), ("abc", "a")]
    assert learned.tokens == ["abca"]
    assert library({**vocabulary, "abca": 8}, [*merges, *learned.merges], "abcd") == [vocabulary["abcd"]]


def test_barred_ids_rare_pairs_and_forbidden_strings_stay_apart() -> None:
    vocabulary = {"a": 0, "b": 1, "c": 2, "<0xC3>": 3}
    words = {(0, 3, 1): 9, (0, 1): 5, (1, 2): 4, (2, 2): 1}

    def learned(**more: object) -> list[str]:
        settings = {"allowed": lambda token: True, "barred": frozenset({3}), "min_frequency": 2, **more}
        return continue_merges(words, vocabulary, {}, 10, 4, **settings).tokens  # type: ignore[arg-type]

    assert learned() == ["ab", "bc"]
    assert learned(allowed=lambda token: token != "ab") == ["bc"]
    assert learned(min_frequency=5) == ["ab"]


def test_the_order_of_words_does_not_matter() -> None:
    draw = random.Random(0)
    words = {tuple(draw.randrange(3) for _ in range(draw.randint(1, 9))): draw.randint(1, 3) for _ in range(300)}
    items = list(words.items())
    vocabulary = {"a": 0, "b": 1, "c": 2}
    results = []
    for _ in range(3):
        draw.shuffle(items)
        results.append(continue_merges(dict(items), vocabulary, {}, 40, 3, allowed=lambda token: True))
    assert results[0] == results[1] == results[2]
    assert len(results[0].tokens) == 40
