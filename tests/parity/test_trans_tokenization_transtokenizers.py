"""`trans_tokenization` beside the reference package trans-tokenizers on the same counts of word pairs."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

import toys
from tokgraft import methods
from tokgraft.methods import Floats, Transplant
from tokgraft.resources.token_alignment import Ids, token_counts
from tokgraft.segmenter import Segmenter
from tokgraft.vocab import Vocabulary

reference = pytest.importorskip("transtokenizers.transtokenizers")

DELIMITER = "—"


def word_pairs(source: Vocabulary, target: Vocabulary) -> dict[tuple[Ids, Ids], int]:
    """Random words of one to four tokens that are linked 10 to 400 times; two thirds of the target's tokens occur in none."""
    rng = np.random.default_rng(7)
    found: Counter[tuple[Ids, Ids]] = Counter()
    usable = [
        [
            number
            for number in vocabulary.text_ids
            if DELIMITER not in vocabulary[number].surface and vocabulary[number].surface.isprintable()
        ]
        for vocabulary in (target, source)
    ]
    usable[0] = usable[0][::3]
    for _ in range(300):
        new, old = (tuple(int(number) for number in rng.choice(ids, rng.integers(1, 5))) for ids in usable)
        found[new, old] = int(rng.integers(10, 400))
    return dict(found)


def both(
    place: Path, monkeypatch: pytest.MonkeyPatch, source: PreTrainedTokenizerFast, target: PreTrainedTokenizerFast
) -> tuple[Transplant, Floats, Floats]:
    """The task, and the weights of every target token over source tokens, theirs and ours."""
    old, new = Vocabulary.from_tokenizer(source), Vocabulary.from_tokenizer(target)
    pairs = word_pairs(old, new)
    lines = [
        f"{DELIMITER.join(old[n].surface for n in right)}\t{DELIMITER.join(new[n].surface for n in left)}\t-1.0\t{count}\n"
        for (left, right), count in pairs.items()
    ]
    (place / "pairs.tsv").write_text("".join(lines), encoding="utf-8")
    source.save_pretrained(place / "source")
    target.save_pretrained(place / "target")
    in_order = PreTrainedTokenizerFast.get_vocab
    # What the package gives depends on the order of this dictionary, which is another one in each process.
    monkeypatch.setattr(PreTrainedTokenizerFast, "get_vocab", lambda self: dict(sorted(in_order(self).items(), key=lambda item: item[1])))
    counts, _ = reference.map_tokens(str(place / "pairs.tsv"), str(place / "source"), str(place / "target"))
    theirs = np.zeros((len(new), len(old)), dtype=np.float32)
    known = source.get_vocab()
    for number, (_, mixture) in enumerate(reference.smooth_mapping(str(place / "target"), counts)):
        for name, weight in mixture:
            theirs[number, known.get(name, 0)] += weight
    found = token_counts(pairs, "published")
    resource = {**dict(zip(("target", "source", "count"), found)), "source_vocabulary": old.text_fingerprint}
    E = np.eye(len(old), dtype=np.float32)
    task = Transplant(old, new, E, E, segmenter=Segmenter(source, old), resources={"token_alignment": resource})
    return task, theirs, methods.apply("trans_tokenization", task, {"compatibility": "trans-tokenizers"}).input


def texts_only(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    return list(Vocabulary.from_tokenizer(tokenizer).text_ids)


def test_same_weights_in_compatibility_mode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = toys.tokenizer("byte_level", 1200), toys.tokenizer("byte_level", 1000, "both")
    task, theirs, ours = both(tmp_path, monkeypatch, source, target)
    rows = texts_only(target)
    counted = set(np.unique(task.resources["token_alignment"]["target"]).tolist())
    smoothed = [number for number in rows if number not in counted and number not in task.overlap]
    assert len(counted) > 200 and len(smoothed) > 50
    assert np.abs(ours[rows] - theirs[rows]).max() < 1e-6
    for number, match in task.overlap.items():
        if task.target[number].kind == "special":
            assert ours[number, match.source] == 1 == theirs[number, match.source]


def test_only_smoothed_tokens_and_numbers_differ_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = toys.tokenizer("byte_level", 1200), toys.tokenizer("byte_level", 1000, "both")
    task, theirs, _ = both(tmp_path, monkeypatch, source, target)
    ours = methods.apply("trans_tokenization", task, {}).input
    counted = set(np.unique(task.resources["token_alignment"]["target"]).tolist())
    rows = [n for n in texts_only(target) if (n in counted or n in task.overlap) and not task.target[n].text.strip().isdigit()]
    assert np.abs(ours[rows] - theirs[rows]).max() < 1e-6
    others = [n for n in texts_only(target) if n not in counted and n not in task.overlap]
    assert np.abs(ours[others] - theirs[others]).max() > 0.1
