"""`wechsel` beside the packages wechsel and langsfer, on real tables, tokenizers, word vectors and a dictionary."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import pytest

import real
from tokgraft import methods
from tokgraft.numerics.nearest import nearest
from tokgraft.numerics.similarity import unit_rows

pytestmark = pytest.mark.slow

wechsel = pytest.importorskip("wechsel")
high_level = pytest.importorskip("langsfer.high_level")


class Model:
    """Word vectors of ours behind the interfaces that the references ask for; texts are looked up once."""

    def __init__(self, words: Any) -> None:
        self.words = words
        self.embeddings_matrix = words.vectors
        self.get_word_vector = lru_cache(maxsize=None)(self._vector)

    def has_subword_info(self) -> bool:
        return True

    def get_dimension(self) -> int:
        return int(self.words.vectors.shape[1])

    def get_words_and_freqs(self) -> Any:
        return self.words.words, self.words.counts

    def _vector(self, word: str) -> Any:
        return self.words.vectors_of([word])[0].astype(np.float64)

    def get_word_id(self, word: str) -> int:
        return int(self.words.index.get(word, -1))


class Tokens(Model):
    """The same behind langsfer's interface, which asks by vocabulary string: these are decoded here, as they would have to be."""

    def __init__(self, words: Any, tokenizer: Any) -> None:
        super().__init__(words)
        self.text = {name: tokenizer.decode(number).strip() for name, number in tokenizer.get_vocab().items()}

    def get_vector_for_token(self, token: str) -> Any:
        return self.get_word_vector(self.text.get(token, token))

    def get_id_for_token(self, token: str) -> int:
        return int(self.words.index[token])


def loaded() -> dict[str, Any]:
    return {name: real.resource(name, real.SIZES[0]) for name in ("word_vectors", "dictionary")}


@lru_cache
def reference(size: int) -> tuple[Any, Any]:
    """The reference's token vectors, in one space."""
    both, pairs = loaded()["word_vectors"], [(english, word) for english, word, _ in loaded()["dictionary"]]
    english, german = Model(both.english), Model(both.target)
    rotation = wechsel.WECHSEL._compute_align_matrix_from_dictionary(None, english, german, pairs)
    make = wechsel.get_subword_embeddings_in_word_embedding_space
    return make(real.source(), english, verbose=False)[0] @ rotation, make(real.target(size), german, verbose=False)[0]


@pytest.mark.parametrize("size", real.SIZES)
def test_wechsel(size: int) -> None:
    """Its rows in the mode that reads texts as it does, from the rotation to the rows; by default other ones beside them.

    Where the tenth and the eleventh neighbour are equally near (" der", "der"), its choice is left to a partial sort: their weights are
    compared. Special tokens are copied here. Both tables stand side by side in one call, since the weights are the same.
    """
    first, second = reference(size)
    both = np.hstack(real.tables())
    theirs, unknown, sources = wechsel.create_target_embeddings(first, second, real.source(), real.target(size), both, verbose=False)
    for tied in (True, False):
        task = real.task(size, tied, **loaded())
        follows = methods.apply("wechsel", task, {"compatibility": "wechsel", "copy_unknown": False})
        mixed = np.array([number for number in task.target.text_ids if follows.provenance[number].how == "combined"])
        _, cosines = nearest(second[mixed], first[first.any(axis=1)], 11)
        certain = mixed[cosines[:, 9] - cosines[:, 10] > 1e-7]
        for name, found, columns in (("input", follows.input, slice(None, 576)), ("head", follows.output, slice(576, None))):
            if found is not None:
                what = f"wechsel, wechsel 0.0.4, {size:,}, {'tied' if tied else 'untied'}, {name}"
                real.compare(what, found[certain], theirs[certain, columns])
    assert len(certain) > size / 3
    names = real.target(size).convert_ids_to_tokens(mixed.tolist())
    assert np.abs(np.array([sources[text][2] for text in names]) - cosines[:, :10]).max() < 1e-6, "neighbours as near"
    missed = {n for n in task.target.text_ids if real.target(size).convert_ids_to_tokens(n) in set(unknown)}
    assert missed == {n for n in task.target.text_ids if follows.provenance[n].how == "random"}
    ours = methods.apply("wechsel", task, {})
    copied = [n for n in task.target.text_ids if ours.provenance[n].how == "copied"]
    assert len(copied) > 100
    texts = {n: task.target[n].text.decode("utf-8", "replace").strip() for n in copied}
    assert sum("�" in text or not text for text in texts.values()) > 100, "parts of characters, white space"
    assert all(np.array_equal(ours.input[n], task.E[task.overlap[n].source]) for n in copied)
    assert (real.differences(ours.input[copied], theirs[copied, :576]) > 0.1).all()
    moved = (real.differences(ours.input[certain], theirs[certain, :576]) > real.LIMIT).sum()
    real.tell(f"    corrected: {len(copied)} tokens without a vector are copied, {moved} mixtures lose wrong neighbours")


def test_langsfer() -> None:
    """langsfer asks for vectors of vocabulary strings ("Ġder"); given those of their texts its rows are the same.

    64 columns: it multiplies a dense matrix of weights over the whole source vocabulary.
    """
    size = real.SIZES[0]
    task = real.narrow(real.task(size, **loaded()), 64)
    both = loaded()["word_vectors"]
    pairs: dict[str, list[str]] = {}
    for english, word, _ in loaded()["dictionary"]:
        pairs.setdefault(english, []).append(word)
    sides = Tokens(both.target, real.target(size)), Tokens(both.english, real.source())
    made = high_level.wechsel(real.source(), task.E.astype(float), real.target(size), *sides, bilingual_dictionary=pairs, batch_size=512)
    theirs = made.initialize(seed=0)
    ours = methods.apply("wechsel", task, {"compatibility": "wechsel", "copy_unknown": False})
    first, second = reference(size)
    mixed = np.array([number for number in task.target.text_ids if ours.provenance[number].how == "combined"])
    cosines = -np.partition(-(unit_rows(second[mixed]) @ unit_rows(first).T), [9, 10], axis=1)
    certain = mixed[cosines[:, 9] - cosines[:, 10] > 1e-7]  # it takes both of two that are equally near
    real.compare(f"wechsel, langsfer 0.1.0 with decoded texts, {size:,}, 64 columns", ours.input[certain], theirs[certain])
