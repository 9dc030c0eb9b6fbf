"""Tokenizer metrics beside the public packages that compute the same: tokenization-scorer, tokscope, toklens, Morfessor, spylls."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

import toys
from tokgraft.intrinsic import lexicon
from tokgraft.intrinsic.counts import Text, count
from tokgraft.intrinsic.inputs import SentencePairs
from tokgraft.intrinsic.measures import distribution, isolated, lengths, percentile_frequency
from tokgraft.intrinsic.parallel import premiums
from toysubjects import of

GERMAN, ENGLISH = toys.GERMAN.splitlines(), toys.TRANSLATED.splitlines()


@pytest.mark.parametrize("alpha", [0.5, 2.5, 3.0])  # for 1 the package reads its input twice and answers 0
@pytest.mark.parametrize("kind", ["byte_level", "sp_bpe", "unigram"])
def test_renyi_efficiency_is_that_of_tokenization_scorer(kind: str, alpha: float) -> None:
    scorer = pytest.importorskip("tokenization_scorer")
    subject, pages = of(toys.tokenizer(kind)), [*toys.english()[:200], *GERMAN]
    counts = count(subject.tokenizer, Text.read(pages, "space"))
    ours = distribution(counts, subject.size, alpha)
    # Ids, since the package splits at spaces, which tokens may hold.
    text = "\n".join(" ".join(map(str, item.ids)) for item in subject.tokenizer.encode_batch(pages, add_special_tokens=False))
    theirs = scorer.score(text, metric="renyi", power=alpha, vocab=subject.size)
    assert ours["renyi_efficiency"]["value"] == pytest.approx(theirs, abs=1e-6)
    assert ours["renyi_efficiency_of_observed"] == pytest.approx(scorer.score(text, metric="renyi", power=alpha), abs=1e-6)
    assert ours["shannon_efficiency"]["value"] == pytest.approx(scorer.score(text, metric="shannon", vocab=subject.size), abs=1e-6)
    assert percentile_frequency(counts.frequencies) == pytest.approx(scorer.score(text, metric="percentile_freq"), abs=1e-9)


@pytest.mark.parametrize("kind", toys.KINDS)
def test_fertility_and_premium_are_those_of_tokscope(kind: str, tmp_path: Path) -> None:
    tokscope = pytest.importorskip("tokscope")
    subject = of(toys.tokenizer(kind))
    tokenizer = toys.tokenizer(kind)

    class Adapter:
        name, vocab_size = "ours", len(tokenizer)

        def tokenize(self, text: str) -> tuple[list[str], int]:
            return tokenizer.tokenize(text), 0

    german, english = "\n".join(GERMAN), "\n".join(ENGLISH)
    theirs = tokscope.analyze(german, Adapter(), english)
    found = lengths(count(subject.tokenizer, Text.read([german], "space")), 100)
    assert found["tokens_per_chunk"]["value"] == pytest.approx(theirs.fertility, abs=1e-6)
    assert found["bytes_per_token"]["value"] == pytest.approx(theirs.bytes_per_token, abs=1e-6)
    assert found["characters_per_token"]["value"] == pytest.approx(theirs.chars_per_token, abs=1e-6)
    premium = premiums(subject, SentencePairs(("p",), (english,), (german,)), 100)
    assert premium is not None and premium["premium"]["value"] == pytest.approx(theirs.premium, abs=1e-6)


@pytest.mark.parametrize("kind", toys.KINDS)
def test_isolated_fertility_and_parity_are_those_of_toklens(kind: str) -> None:
    metrics = pytest.importorskip("toklens.metrics")
    subject, german, english = of(toys.tokenizer(kind)), "\n".join(GERMAN), "\n".join(ENGLISH)
    words = Counter(german.split())
    assert isolated(subject, words, "")["fertility_isolated"] == pytest.approx(
        metrics.compute_fertility(subject.tokenizer, german), abs=1e-6
    )
    premium = premiums(subject, SentencePairs(("p",), (english,), (german,)), 100)
    assert premium is not None and premium["premium"]["value"] == pytest.approx(
        metrics.compute_parity(subject.tokenizer, german, english), abs=1e-6
    )


def test_morfessor_segments_words() -> None:
    pytest.importorskip("morfessor")
    stems, endings = ("raamat", "laev", "küsimus", "täht", "aken", "mägi", "sõnum"), ("", "le", "ga", "dest", "line")
    words = Counter({stem + ending: 3 for stem in stems for ending in endings})
    found = lexicon.morfessor(words)
    assert all("".join(parts) == word for word, parts in found.items()) and found == lexicon.morfessor(words)
    assert sum(found[stem + "dest"] == (stem, "dest") for stem in stems) >= 4


def test_a_hunspell_dictionary_is_read(tmp_path: Path) -> None:
    pytest.importorskip("spylls")
    (tmp_path / "de.aff").write_text("SET UTF-8\nSFX N Y 1\nSFX N 0 n .\n")
    (tmp_path / "de.dic").write_text("2\nTabelle/N\nzeigt\n")
    is_word = lexicon.read_words(tmp_path / "de.dic", "deu")
    assert is_word("tabelle") and is_word("tabellen") and is_word("zeigt") and not is_word("tabell")
