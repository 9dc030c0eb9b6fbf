"""`align` and its counted tuples: a naive count of the same text, a hand-computed mixture, foreign resources."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import toys
import toytasks
from tokgraft import methods, resources
from tokgraft.errors import ArtifactError, ConfigError, DataError
from tokgraft.methods.align import weights
from tokgraft.overlap import overlap
from tokgraft.vocab import Vocabulary


def naive(corpus: Path, target: object, source: object) -> Counter[tuple[int, tuple[int, ...]]]:
    """Pairs of spans compared one with all others, through the public calls of transformers."""
    new, old = Vocabulary.from_tokenizer(target), Vocabulary.from_tokenizer(source)
    shared = overlap(old, new)
    found: Counter[tuple[int, tuple[int, ...]]] = Counter()
    for line in (corpus / "train.jsonl").read_text(encoding="utf-8").splitlines():
        text = "\n".join(paragraph["text"] for paragraph in json.loads(line)["paragraphs"])
        ours, theirs = (
            tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)  # type: ignore[operator]
            for tokenizer in (target, source)
        )
        for number, (a, b) in zip(ours["input_ids"], ours["offset_mapping"]):
            if number in shared or new[number].kind == "special" or a == b:
                continue
            inside = tuple(
                piece
                for piece, (c, d) in zip(theirs["input_ids"], theirs["offset_mapping"])
                if d > c and old[piece].kind != "special" and ((a <= c and d <= b) or (c <= a and b <= d))
            )
            if inside:
                found[number, inside] += 1
    return found


@pytest.mark.parametrize(("old", "new"), [("byte_level", "sp_bpe"), ("wordpiece", "byte_level"), ("unigram", "sp_bpe_metaspace")])
def test_counts_are_those_of_a_naive_comparison(tmp_path: Path, old: str, new: str) -> None:
    corpus = toytasks.write_corpus(tmp_path / "corpus", (*toys.german()[:20], *toys.english()[:40]))
    source, target = toys.tokenizer(old), toys.tokenizer(new, 600, "both")
    target.save_pretrained(tmp_path / "tokenizer")
    inputs = resources.Inputs(corpus, None, tmp_path / "tokenizer", toytasks.base_of(source))
    resources.make("token_spans", inputs, {}, tmp_path / "spans")
    spans = resources.load("token_spans", tmp_path / "spans", len(target), Vocabulary.from_tokenizer(target).fingerprint)
    found = {
        (token, tuple(spans.pieces[spans.starts[place] : spans.starts[place + 1]].tolist())): count
        for place, (token, count) in enumerate(zip(spans.tokens.tolist(), spans.counts.tolist()))
    }
    assert found == dict(naive(corpus, target, source))
    assert len(found) > 40


def test_mixture_by_hand() -> None:
    """(1, 2) twice and (3,) once: a third each; with the pieces (4,) counted as often as the most frequent: (1, 2) 2, (3) 1, (4) 2."""
    found = weights({(1, 2): 2, (3,): 1}, ())
    assert found == {1: 1, 2: 1, 3: 1}
    found = weights({(1, 2): 2, (3,): 1}, (4,))
    assert found == {1: 1, 2: 1, 3: 1, 4: 2}
    found = weights({(1, 2): 2, (3,): 1}, (3,))
    assert found == {1: 1, 2: 1, 3: 3}


def test_rows_are_means_over_ways() -> None:
    task = toytasks.task("align", toys.tokenizer("byte_level"), toys.tokenizer("sp_bpe", 600, "both"), tied=False)
    rows = methods.apply("align", task, {})
    spans = task.resources["token_spans"]
    checked = 0
    for number in sorted(set(spans.tokens.tolist())):
        places = np.flatnonzero(spans.tokens == number)
        total = spans.counts[places].sum()
        for found, table in ((rows.input, task.E), (rows.output, task.U)):
            ways = [table[spans.pieces[spans.starts[place] : spans.starts[place + 1]]].astype(float).mean(axis=0) for place in places]
            assert found is not None
            assert np.allclose(found[number], sum(spans.counts[place] / total * way for place, way in zip(places, ways)), atol=1e-6)
        checked += 1
    assert checked > 100 and rows.stats["aligned"] == checked
    rare = methods.apply("align", task, {"min_count": 10**9})
    plain = methods.apply("mean", task, {})
    assert rare.stats["aligned"] == 0 and np.array_equal(rare.input, plain.input)


def test_bad_input_is_explained(tmp_path: Path) -> None:
    source, target = toys.tokenizer("byte_level"), toys.tokenizer("sp_bpe", 600, "both")
    task = toytasks.task("align", source, target)
    foreign = replace(task, source=Vocabulary.from_tokenizer(toys.tokenizer("unigram")))
    with pytest.raises(ConfigError, match="another base"):
        methods.apply("align", foreign, {})
    folder = toytasks.made({"token_spans"}, target, source)["token_spans"]
    with pytest.raises(ArtifactError, match="do not fit"):
        resources.RESOURCES.get("token_spans").load(folder, 3)
    target.save_pretrained(tmp_path / "tokenizer")
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "train.jsonl").write_text("")
    with pytest.raises(DataError, match="holds no text"):
        resources.make(
            "token_spans",
            resources.Inputs(tmp_path / "corpus", None, tmp_path / "tokenizer", toytasks.base_of(source)),
            {},
            tmp_path / "out",
        )
    with pytest.raises(ConfigError, match="min_count"):
        methods.parse("align", {"min_count": 0})


def test_the_limit_is_kept(tmp_path: Path) -> None:
    source, target = toys.tokenizer("byte_level"), toys.tokenizer("sp_bpe", 600, "both")
    target.save_pretrained(tmp_path / "tokenizer")
    facts = []
    corpus = toytasks.write_corpus(tmp_path / "corpus", toys.english()[:100])
    for limit in (100, 10**6):
        inputs = resources.Inputs(corpus, None, tmp_path / "tokenizer", toytasks.base_of(source))
        resources.make("token_spans", inputs, {"max_bytes": limit}, tmp_path / str(limit))
        facts.append(json.loads((tmp_path / str(limit) / "resource.json").read_text())["occurrences"])
    assert 0 < facts[0] < facts[1] / 5
