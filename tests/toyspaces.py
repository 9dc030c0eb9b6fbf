"""Word vectors and vocabularies made by hand, for the tests of methods that bring two languages into one space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tokgraft.methods import Floats, Transplant
from tokgraft.segmenter import Segmenter
from tokgraft.vocab import Token, Vocabulary


@dataclass
class Words:
    """Word vectors whose `vectors_of` looks texts up; unknown texts are zero."""

    words: tuple[str, ...]
    vectors: Floats
    others: Mapping[str, Floats] = field(default_factory=dict)
    counts: Any = None

    def __post_init__(self) -> None:
        self.index = {word: number for number, word in enumerate(self.words)}
        if self.counts is None:
            self.counts = np.arange(len(self.words), 0, -1)

    def vectors_of(self, texts: Sequence[str]) -> Floats:
        zero = np.zeros(self.vectors.shape[1], dtype=np.float32)
        rows = [self.vectors[self.index[text]] if text in self.index else self.others.get(text, zero) for text in texts]
        return np.array(rows, dtype=np.float32).reshape(len(texts), -1)


@dataclass
class Both:
    """What the resource `word_vectors` gives."""

    target: Words
    english: Words


def vocabulary(*texts: str | bytes) -> Vocabulary:
    """`<s>` (bos), then one token for each text."""
    coded = [text if isinstance(text, bytes) else text.encode() for text in texts]
    tokens = [Token(text, "normal", (), text.decode("utf-8", "backslashreplace")) for text in coded]
    return Vocabulary((Token(b"<s>", "special", ("bos",), "<s>"), *tokens), "byte_level")


def rotation(dim: int, seed: int = 3) -> Any:
    """A random orthogonal matrix."""
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(dim, dim)))[0]


def resources(english: Mapping[str, Any], target: Mapping[str, Any], dim: int, seed: int = 3) -> dict[str, Any]:
    """Resources in which texts have the given vectors: those of English are turned away by a rotation that a dictionary gives back.

    The dictionary's words `e0`, `t0`, ... are in no vocabulary of the tests.
    """
    turn = rotation(dim, seed)
    common = np.random.default_rng(seed + 1).normal(size=(3 * dim, dim))
    away = {text: (np.asarray(vector) @ turn.T).astype(np.float32) for text, vector in english.items()}
    given = {text: np.asarray(vector, dtype=np.float32) for text, vector in target.items()}
    ours = Words(tuple(f"t{number}" for number in range(3 * dim)), common.astype(np.float32), given)
    theirs = Words(tuple(f"e{number}" for number in range(3 * dim)), (common @ turn.T).astype(np.float32), away)
    return {"word_vectors": Both(ours, theirs), "dictionary": tuple((f"e{n}", f"t{n}", 1.0) for n in range(3 * dim))}


def task(source: Vocabulary, target: Vocabulary, loaded: Mapping[str, Any], E: Floats | None = None, **more: Any) -> Transplant:
    """A tied transplant whose table is the identity unless one is given: rows then show their weights."""
    table = np.eye(len(source), dtype=np.float32) if E is None else E
    return Transplant(source, target, table, table, resources=loaded, **more)


def between(source: Any, target: Any, loaded: Mapping[str, Any], width: int = 20) -> Transplant:
    """A tied transplant between two tokenizers, with a random table."""
    old, new = Vocabulary.from_tokenizer(source), Vocabulary.from_tokenizer(target)
    E = np.random.default_rng(1).normal(0.1, 0.5, (len(old), width)).astype(np.float32)
    return Transplant(
        old, new, E, E, segmenter=Segmenter(source, old), resources=loaded, load_target_segmenter=lambda: Segmenter(target, new)
    )
