"""`merge_tree`: the tree's weights, several rules for one token, tokens without rules, tokenizers without merges."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import toys
import toytasks
from tokgraft import methods, resources
from tokgraft.errors import ArtifactError, TokenizerError
from tokgraft.methods import Transplant
from tokgraft.vocab import Token, Vocabulary


def vocabulary(*texts: str) -> Vocabulary:
    return Vocabulary(tuple(Token(text.encode(), "normal", (), text) for text in texts), "plain")


class Letters:
    """Cuts into single letters of a vocabulary."""

    def __init__(self, source: Vocabulary) -> None:
        self.ids = {source[number].text: number for number in source.ids}

    def pieces_many(self, texts: list[bytes]) -> list[list[int]]:
        return [[self.ids[bytes([byte])] for byte in text if bytes([byte]) in self.ids] for text in texts]


def small(merges: list[list[int]]) -> methods.Rows:
    source, target = vocabulary("a", "b", "c", "cd"), vocabulary("a", "b", "c", "ab", "abc", "abcd", "d", "dd", "ef", "cd")
    E = np.eye(4, dtype=np.float32)
    found = {"merges": np.array(merges, dtype=np.int32).reshape(-1, 3)}
    return methods.apply("merge_tree", Transplant(source, target, E, E, segmenter=Letters(source), resources=found), {})  # type: ignore[arg-type]


def test_a_tree_by_hand() -> None:
    """((a, b), c): a quarter, a quarter, a half; two rules for abcd: (abc, d) cannot be used, as d is unknown, (ab, cd) can."""
    rows = small([[0, 1, 3], [3, 2, 4], [4, 6, 5], [3, 9, 5], [6, 6, 7]])
    assert np.allclose(rows.input[4], [0.25, 0.25, 0.5, 0])
    assert np.allclose(rows.input[5], [0.25, 0.25, 0, 0.5])
    assert rows.provenance[4].sources == (2, 0, 1), "the heaviest first"
    assert rows.provenance[7].how == rows.provenance[8].how == "fallback", "no rule and no pieces"
    assert rows.stats == {"by_merges": 3, "by_pieces": 0, "leaves_per_token": round((2 + 3 + 3) / 3, 4)}


def test_rules_are_averaged() -> None:
    rows = small([[0, 1, 3], [3, 9, 5], [2, 9, 5]])
    assert np.allclose(rows.input[5], [0.125, 0.125, 0.25, 0.5])


def test_without_rules_the_pieces_decide() -> None:
    rows = small([])
    assert np.allclose(rows.input[4], [1 / 3, 1 / 3, 1 / 3, 0])
    assert rows.stats["by_merges"] == 0 and rows.stats["by_pieces"] == 3


@pytest.mark.parametrize("kind", ["byte_level", "sp_bpe"])
def test_against_a_naive_recursion(kind: str) -> None:
    target = toys.tokenizer(kind, 1200, "both")
    task = toytasks.task("merge_tree", toys.tokenizer("byte_level"), target, tied=False)
    rows = methods.apply("merge_tree", task, {})
    rules = task.resources["merges"].tolist()

    def row(number: int, table: methods.Floats) -> np.ndarray | None:
        if number in task.overlap:
            return table[task.overlap[number].source].astype(float)
        halves = [(row(left, table), row(right, table)) for left, right, made in rules if made == number]
        if not halves:
            return table[list(task.pieces[number])].astype(float).mean(axis=0) if task.pieces[number] else None
        whole = [(left + right) / 2 for left, right in halves if left is not None and right is not None]
        return np.mean(whole, axis=0) if whole else None

    some = [number for number in task.target.text_ids if number not in task.overlap][::7]
    assert len(some) > 30
    for number in some:
        for found, table in ((rows.input, task.E), (rows.output, task.U)):
            expected = row(number, table)
            assert found is not None and expected is not None and np.allclose(found[number], expected, atol=1e-6)


@pytest.mark.parametrize("kind", ["unigram", "wordpiece"])
def test_other_tokenizers_have_no_merges(tmp_path: Path, kind: str) -> None:
    toys.tokenizer(kind).save_pretrained(tmp_path / "tokenizer")
    with pytest.raises(TokenizerError, match="no merge rules"):
        resources.make("merges", resources.Inputs(tokenizer=tmp_path / "tokenizer"), {}, tmp_path / "out")


def test_merges_of_a_larger_vocabulary_are_refused() -> None:
    target = toys.tokenizer("byte_level", 1200, "both")
    folder = toytasks.made({"merges"}, target)["merges"]
    merges = resources.load("merges", folder, len(target), Vocabulary.from_tokenizer(target).fingerprint)
    vocab = target.get_vocab()
    pairs = {(target.convert_ids_to_tokens(left) + target.convert_ids_to_tokens(right), made) for left, right, made in merges.tolist()}
    assert len(merges) > 900 and all(vocab[joined] == made for joined, made in pairs)
    with pytest.raises(ArtifactError, match="do not fit"):
        resources.RESOURCES.get("merges").load(folder, 100)


def test_ids_are_permuted_with_the_tokenizer() -> None:
    source, target = toys.tokenizer("byte_level"), toys.tokenizer("byte_level", 1200, "both")
    shuffled, order = toys.permuted(target)
    straight = methods.apply("merge_tree", toytasks.task("merge_tree", source, target), {})
    task = toytasks.task("merge_tree", source, shuffled)
    assert np.array_equal(methods.apply("merge_tree", replace(task, seed=3), {}).input, straight.input[order])
