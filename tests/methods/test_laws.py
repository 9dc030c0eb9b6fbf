"""Laws that every registered method obeys; a new method is tested here without a change of this file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from transformers import PreTrainedTokenizerFast

import toys
import toytasks
from tokenizers import Tokenizer
from tokgraft import methods
from tokgraft.methods import METHODS
from tokgraft.overlap import overlap, shared_sources
from tokgraft.token_strings import TO_BYTE
from tokgraft.vocab import Token, Vocabulary

NAMES = METHODS.names()
CHANGING = [name for name in NAMES if not METHODS.get(name).keeps_tokenizer]
COPYING = [name for name in NAMES if METHODS.get(name).copies_overlap]
CASES = [  # source, target, tied, bias: every kind on both sides; a causal decoder tied and untied, an encoder with a bias on its head
    ("byte_level", "sp_bpe", True, False),
    ("byte_level", "byte_level", False, False),
    ("sp_bpe", "byte_level", False, False),
    ("sp_bpe_metaspace", "wordpiece", True, False),
    ("unigram", "byte_level", True, True),
    ("wordpiece", "unigram", True, True),
]


def supported(name: str, tied: bool) -> None:
    entry = METHODS.get(name)
    if not (entry.tied if tied else entry.untied):
        pytest.skip(f"{name} does not treat such a model")


def fits(name: str, kind: str) -> None:
    if METHODS.get(name).bpe_target and kind in ("unigram", "wordpiece"):
        pytest.skip(f"{name} wants a BPE tokenizer")


def pair(name: str, source: str, target: str) -> tuple[PreTrainedTokenizerFast, PreTrainedTokenizerFast]:
    old = toys.tokenizer(source)
    return old, old if METHODS.get(name).keeps_tokenizer else toys.tokenizer(target, 600, "both")


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}-{case[1]}-{'tied' if case[2] else 'untied'}")
@pytest.mark.parametrize("name", NAMES)
def test_shape_dtype_finite_and_specials(name: str, case: tuple[str, str, bool, bool]) -> None:
    source, target, tied, bias = case
    supported(name, tied)
    fits(name, target)
    task = toytasks.task(name, *pair(name, source, target), tied=tied, bias=bias)
    before = (task.E.copy(), task.U.copy())
    rows = methods.apply(name, task, {})  # checks shapes, dtype, finiteness and the tie
    assert (rows.output is None) == tied
    assert np.array_equal(task.E, before[0]) and np.array_equal(task.U, before[1]), "inputs are read-only"
    least = 0.5 * len(rows.input)
    if METHODS.get(name).shares_rows:
        least = min(least, len({way.sources for way in rows.provenance if len(way.sources) == 1}))
    assert len({row.tobytes() for row in rows.input}) >= least, "most rows differ from each other"
    standing_in = shared_sources(task.overlap, task.source, task.target)  # see test_stand_ins.py
    for number, match in task.overlap.items():
        if task.target[number].kind == "special" and number not in standing_in:
            assert np.array_equal(rows.input[number], task.E[match.source])
            assert rows.output is None or np.array_equal(rows.output[number], task.U[match.source])
            assert rows.provenance[number].how == "role"
            if task.bias is not None and rows.bias is not None:
                assert rows.bias[number] == task.bias[match.source]


@pytest.mark.parametrize("kind", toys.KINDS)
@pytest.mark.parametrize("name", COPYING)
def test_identity(name: str, kind: str) -> None:
    tied = METHODS.get(name).tied
    fits(name, kind)
    tokenizer = toys.tokenizer(kind)
    task = toytasks.task(name, tokenizer, tokenizer, tied=tied, bias=True)
    rows = methods.apply(name, task, {})
    assert np.array_equal(rows.input, task.E)
    assert rows.output is None or np.array_equal(rows.output, task.U)
    assert task.bias is not None and np.array_equal(np.asarray(rows.bias), task.bias)


@pytest.mark.parametrize("kind", ["byte_level", "sp_bpe", "wordpiece"])
@pytest.mark.parametrize("name", CHANGING)
def test_permutation_of_ids_permutes_rows(name: str, kind: str) -> None:
    supported(name, True)
    fits(name, kind)
    source, target = toys.tokenizer("byte_level"), toys.tokenizer(kind, 600, "both")
    shuffled, order = toys.permuted(target)
    straight = methods.apply(name, toytasks.task(name, source, target, bias=True), {})
    crooked = methods.apply(name, toytasks.task(name, source, shuffled, bias=True), {})
    # Vectors of tokens are sums over text: their last bits may depend on the order of ids.
    assert np.allclose(crooked.input, straight.input[order], rtol=1e-4, atol=1e-5)
    assert [row.how for row in crooked.provenance] == [straight.provenance[old].how for old in order]


def in_sentencepiece_writing(tokenizer: PreTrainedTokenizerFast) -> PreTrainedTokenizerFast:
    """The same vocabulary with ▁ for the space and <0xHH> for bytes that are no characters."""
    vocab: dict[str, int] = {}
    for surface, number in tokenizer.get_vocab().items():
        if number in tokenizer.all_special_ids or surface == "<|tool|>":
            vocab[surface] = number
            continue
        text = bytes(TO_BYTE[character] for character in surface)
        try:
            vocab[text.decode().replace(" ", "▁")] = number
        except UnicodeDecodeError:
            vocab[f"<0x{text[0]:02X}>" if len(text) == 1 else f"⟨part{number}⟩"] = number
    spec = json.loads(tokenizer.backend_tokenizer.to_str())
    spec["model"] |= {"vocab": vocab, "merges": [], "byte_fallback": True}
    spec["pre_tokenizer"] = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": True}
    spec["decoder"] = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": True}
    names = {"bos_token": "<|begin|>", "eos_token": "<|end|>", "pad_token": "<|pad|>"}
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(json.dumps(spec)), **names)


@pytest.mark.parametrize("name", [name for name in COPYING if name in CHANGING])
def test_marker_of_the_space_does_not_matter(name: str) -> None:
    source = toys.tokenizer("byte_level", 800, "both")
    target = in_sentencepiece_writing(source)
    task = toytasks.task(name, source, target, tied=METHODS.get(name).tied)
    whole = [n for n in task.target.ids if "part" not in task.target[n].surface]
    assert len(whole) > 700
    assert set(whole) <= set(task.overlap)
    rows = methods.apply(name, task, {})
    assert np.array_equal(rows.input[whole], task.E[whole])


@pytest.mark.parametrize("name", CHANGING)
def test_specials_are_known_by_role_and_not_by_string(name: str) -> None:
    supported(name, True)
    source, target = toys.tokenizer("byte_level"), toys.tokenizer("sp_bpe", 600, "both")
    task = toytasks.task(name, source, target)
    rows = methods.apply(name, task, {})
    for role in ("bos", "eos"):
        assert task.source[task.source.roles[role]].text != task.target[task.target.roles[role]].text
        assert np.array_equal(rows.input[task.target.roles[role]], task.E[task.source.roles[role]])


@pytest.mark.parametrize("name", NAMES)
def test_output_rows_come_from_the_output_table_only(name: str) -> None:
    supported(name, False)
    tokenizers = pair(name, "byte_level", "sp_bpe")
    task = toytasks.task(name, *tokenizers, tied=False)
    other = toytasks.task(name, *tokenizers, tied=False, U=2 * task.U + 1)
    first, second = methods.apply(name, task, {}), methods.apply(name, other, {})
    assert np.array_equal(first.input, second.input)
    assert first.output is not None and second.output is not None
    assert (np.abs(first.output - second.output).max(axis=1) > 0).all()


@pytest.mark.parametrize("name", [name for name in NAMES if METHODS.get(name).convex])
def test_rows_are_convex_combinations(name: str) -> None:
    supported(name, True)
    source, target = pair(name, "byte_level", "sp_bpe")
    size = len(source)
    rows = methods.apply(name, toytasks.task(name, source, target, E=np.eye(size, dtype=np.float32)), {})
    made = [number for number, way in enumerate(rows.provenance) if way.how != "random"]
    assert len(made) > 20
    assert np.allclose(rows.input[made].sum(axis=1), 1, atol=1e-5)
    assert rows.input[made].min() >= 0


@pytest.mark.parametrize("name", NAMES)
def test_ids_without_a_token_do_not_count(name: str) -> None:
    supported(name, True)
    source, target = pair(name, "byte_level", "sp_bpe")
    results = []
    for value in (0.0, 1e6):
        task = toytasks.task(name, source, target)
        holes = Vocabulary((*task.source.tokens, None, None, Token(b"<|far|>", "special", (), "<|far|>")), task.source.scheme)
        padding = np.full((3, task.E.shape[1]), value, dtype=np.float32)
        padding[2] = 0.5
        E = np.concatenate([task.E, padding])
        grown = holes if METHODS.get(name).keeps_tokenizer else task.target
        rows = methods.apply(name, replace(task, source=holes, target=grown, E=E, U=E), {})
        results.append(rows.input[list(grown.ids)])
    assert np.array_equal(*results)


@pytest.mark.parametrize("name", NAMES)
def test_seed_decides_and_order_of_vocabulary_does_not(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    supported(name, True)
    source, target = pair(name, "byte_level", "sp_bpe")
    first = methods.apply(name, toytasks.task(name, source, target), {})
    again = methods.apply(name, toytasks.task(name, source, target), {})
    assert toytasks.digest(first) == toytasks.digest(again)
    if any(way.how == "random" for way in first.provenance):
        assert toytasks.digest(first) != toytasks.digest(methods.apply(name, toytasks.task(name, source, target, seed=1), {}))
    for tokenizer in {id(source): source, id(target): target}.values():
        entries = sorted(tokenizer.get_vocab().items(), key=lambda item: hash(item[0][::-1]))
        monkeypatch.setattr(tokenizer, "get_vocab", lambda entries=entries: dict(entries))
    assert toytasks.digest(first) == toytasks.digest(methods.apply(name, toytasks.task(name, source, target), {}))


def test_hash_seed_does_not_matter() -> None:
    script = "import json, toytasks; print('RESULT' + json.dumps(toytasks.all_digests()))"
    running = []
    for seed in ("1", "77"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).parents[1])}
        running.append(subprocess.Popen([sys.executable, "-c", script], env=environment, stdout=subprocess.PIPE, text=True))
    found = [json.loads(process.communicate()[0].split("RESULT")[1]) for process in running]
    assert found[0] == found[1]
    assert len(found[0]) >= 5


def test_overlap_of_different_texts_is_neither_empty_nor_whole() -> None:
    source, target = (Vocabulary.from_tokenizer(tokenizer) for tokenizer in pair("mean", "byte_level", "sp_bpe"))
    assert 0.2 < len(overlap(source, target)) / len(target.ids) < 0.95
