"""`focus` beside the reference package deepfocus on the same token vectors."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from transformers import PreTrainedTokenizerFast

import toys
from tokenizers import Tokenizer
from tokgraft import methods
from tokgraft.methods import Floats, Rows, Transplant
from tokgraft.segmenter import Segmenter
from tokgraft.vocab import Vocabulary

focus = pytest.importorskip("deepfocus.focus")

PAIRS = [
    ("sp_bpe", "sp_bpe_metaspace"),
    ("byte_level", "byte_level"),
    ("byte_level", "sp_bpe"),
    ("sp_bpe", "byte_level"),
    ("wordpiece", "byte_level"),
]


def vectors(vocabulary: Vocabulary) -> Floats:
    """Vectors of which every fifth is missing, as for tokens that are rare in the text."""
    rng = np.random.default_rng(5)
    found = rng.normal(size=(len(vocabulary), 12)).astype(np.float32)
    found[rng.random(len(found)) < 0.2] = 0
    return found


def both(
    monkeypatch: pytest.MonkeyPatch, source: PreTrainedTokenizerFast, target: PreTrainedTokenizerFast, options: dict[str, Any]
) -> tuple[Transplant, Floats, Rows, Rows]:
    """The task, the reference's table, ours in the mode that follows it, and ours."""
    old, new = Vocabulary.from_tokenizer(source), Vocabulary.from_tokenizer(target)
    E = np.random.default_rng(1).normal(0.1, 0.5, (len(old), 20)).astype(np.float32)
    X = vectors(new)
    by_name = {surface: X[number] for surface, number in target.get_vocab().items()}
    monkeypatch.setattr(focus, "load_target_token_embedding", lambda **_: by_name)
    theirs = focus.FOCUS(
        target_tokenizer=target, source_tokenizer=source, source_embeddings=torch.from_numpy(E), fasttext_model_path="given",
        verbosity="silent", **options,
    ).numpy()  # fmt: skip
    task = Transplant(old, new, E, E, segmenter=Segmenter(source, old), resources={"token_vectors": X})
    ours = methods.apply("focus", task, {"compatibility": "deepfocus", **options})
    return task, theirs, ours, methods.apply("focus", task, options)


def differs(a: Floats, b: Floats) -> Any:
    """Largest difference of each row, relative to the row's largest value."""
    return np.abs(a - b).max(axis=1) / np.abs(b).max(axis=1)


@pytest.mark.parametrize(
    "options", [{}, {"match_symbols": True}, {"fuzzy_match_all": True}, {"exact_match_all": False, "match_symbols": True}], ids=str
)
@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_same_rows_in_compatibility_mode(monkeypatch: pytest.MonkeyPatch, source: str, target: str, options: dict[str, Any]) -> None:
    old, new = toys.tokenizer(source, 1200), toys.tokenizer(target, 1200, "both")
    _, theirs, ours, _ = both(monkeypatch, old, new, options)
    # The package lets a stand-in (a padding token that has the end token's row) be predicted like the token itself; no method here does.
    kept = [number for number, made in enumerate(ours.provenance) if made.how not in ("random", "stand_in")]
    mixed = [number for number in kept if ours.provenance[number].how == "combined"]
    assert len(mixed) > 80
    assert len(kept) - len(mixed) > 20
    assert differs(ours.input[kept], theirs[kept]).max() <= 1e-4


@pytest.mark.parametrize("kind", ["byte_level", "sp_bpe"])
def test_identity_that_the_reference_misses(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    tokenizer = toys.tokenizer(kind, 1200, "both")
    grown = PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(tokenizer.backend_tokenizer.to_str()))
    grown.add_tokens(["Zwölfeck", "Zehneck"])  # the reference fails where nothing is new
    task, theirs, follows, ours = both(monkeypatch, tokenizer, grown, {})
    size = len(tokenizer)
    wrong = set(np.flatnonzero(differs(theirs[:size], task.E) > 1e-6).tolist())
    assert np.array_equal(ours.input[:size], task.E)
    assert set(np.flatnonzero(differs(follows.input[:size], task.E) > 1e-6).tolist()) == wrong
    # Wrong rows are exactly tokens that share their decoded, left-stripped text with another one.
    assert wrong <= {number for number in task.target.text_ids if not printable(task.target[number].text)}
    assert len(wrong) >= 128 if kind == "byte_level" else not wrong  # byte tokens of SentencePiece keep their string in the reference


def printable(text: bytes) -> bool:
    """Whether the text is UTF-8, and is still itself when leading spaces beyond the first are stripped."""
    try:
        decoded = text.decode()
    except UnicodeDecodeError:
        return False
    return decoded.removeprefix(" ") == decoded.lstrip() != ""


def test_every_difference_between_the_modes_has_a_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replaying deepfocus's own overlap through the corrected mode leaves no other difference."""
    old, new = toys.tokenizer("byte_level", 1200), toys.tokenizer("byte_level", 1200, "both")
    task, theirs, follows, ours = both(monkeypatch, old, new, {})
    where = {number: made.sources[0] for number, made in enumerate(follows.provenance) if made.how in ("copied", "role")}
    other = {number for number, match in task.overlap.items() if where.get(number) != match.source} | (set(where) - set(task.overlap))
    assert other
    for number in other:
        token = task.target[number]
        assert token.kind == "special" or not printable(token.text), token
    same = {key: task.overlap[key] for key in task.overlap if key not in other}
    copied = sorted(same)
    assert np.array_equal(ours.input[copied], theirs[copied])
    mixed = [n for n, made in enumerate(ours.provenance) if made.how == "combined" and follows.provenance[n].how == "combined"]
    # The anchors differ by the wrong copies only: with those vectors removed the mixtures are the same.
    X = task.resources["token_vectors"].copy()
    X[sorted(other)] = 0
    blind = replace(task, resources={"token_vectors": X})
    first, second = (methods.apply("focus", blind, {"compatibility": mode}) for mode in ("none", "deepfocus"))
    assert np.allclose(first.input[mixed], second.input[mixed], rtol=1e-6, atol=1e-7)
