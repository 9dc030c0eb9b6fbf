"""Invented cases of any size: two byte-level BPE tokenizers, random tables, and random contents for everything that a method requires.

Tokenizers and vocabularies are real ones, so that segmentation and overlap do real work; a share of the tokens is common to both.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerFast

from tokenizers import Tokenizer
from tokgraft import methods
from tokgraft.methods import Floats, Transplant
from tokgraft.numerics.hull import Factors
from tokgraft.overlap import overlap
from tokgraft.resources.token_spans import Spans
from tokgraft.resources.word_vectors import Both, Words
from tokgraft.rows.donor import Donor
from tokgraft.segmenter import Segmenter
from tokgraft.token_strings import TO_CHARACTER
from tokgraft.vocab import Vocabulary

SHARED = 0.3  # of the merges
LONGEST = 12  # bytes of a token
DIM = 100  # of vectors of words and tokens, as by default
ENCODER = 384  # width of the sentence encoder
GROUPS, RANK = 1024, 64  # of token_word2vec, as by default
BUCKETS = 200_000  # of the n-grams, as by default
STATES = 4000  # predicted tokens of the train text
SPECIALS = ["<|begin|>", "<|end|>", "<|pad|>"]
SPACE = TO_CHARACTER[0x20]


def tokenizers(size: int) -> tuple[PreTrainedTokenizerFast, PreTrainedTokenizerFast]:
    """Two tokenizers of `size` tokens whose first merges are the same."""
    shared = list(_merges(round(SHARED * size), [], 0))
    left = size - len(SPECIALS) - 256
    return _tokenizer(list(_merges(left, shared, 1))), _tokenizer(list(_merges(left, shared, 2)))


def _merges(count: int, first: list[tuple[str, str]], seed: int) -> Iterator[tuple[str, str]]:
    """`first`, then merges of random tokens that are there already, `count` in all."""
    rng = np.random.default_rng(seed)
    letters = [chr(number) for number in range(ord("a"), ord("z") + 1)]
    tokens = [*letters, *letters, SPACE, *("".join(merge) for merge in first)]
    known = set(tokens)
    yield from first
    made = len(first)
    while made < count:
        for one, two in rng.random((1024, 2)):
            # The first half of the draws goes to early, that is short tokens.
            left, right = tokens[int(one * one * len(tokens))], tokens[int(two * two * len(tokens))]
            whole = left + right
            if len(whole) <= LONGEST and SPACE not in right and whole not in known and made < count:
                known.add(whole)
                tokens.append(whole)
                made += 1
                yield left, right


def _tokenizer(merges: list[tuple[str, str]]) -> PreTrainedTokenizerFast:
    surfaces = [*SPECIALS, *TO_CHARACTER.values(), *(left + right for left, right in merges)]
    spec = {
        "version": "1.0", "truncation": None, "padding": None, "normalizer": None, "post_processor": None,
        "added_tokens": [
            {"id": number, "content": name, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
            for number, name in enumerate(SPECIALS)
        ],
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {
            "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
            "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
            "vocab": {surface: number for number, surface in enumerate(surfaces)}, "merges": [list(merge) for merge in merges],
        },
    }  # fmt: skip
    backend = Tokenizer.from_str(json.dumps(spec))
    return PreTrainedTokenizerFast(tokenizer_object=backend, bos_token=SPECIALS[0], eos_token=SPECIALS[1], pad_token=SPECIALS[2])


def normal(rows: int, width: int, seed: int) -> Floats:
    """Rows that share a direction, as those of real tables do."""
    rng = np.random.default_rng(seed)
    table: Floats = rng.standard_normal((rows, width), dtype=np.float32)
    table += 0.3 * rng.standard_normal(width, dtype=np.float32)
    table *= 0.05
    return table


@dataclass(frozen=True)
class Invented:
    """A source and a target of `size` tokens and `width` dimensions, and what methods require of them."""

    size: int
    width: int

    @cached_property
    def pair(self) -> tuple[PreTrainedTokenizerFast, PreTrainedTokenizerFast]:
        """Source and target tokenizer."""
        return tokenizers(self.size)

    @cached_property
    def source(self) -> Vocabulary:
        """Vocabulary of the base."""
        return Vocabulary.from_tokenizer(self.pair[0])

    @cached_property
    def target(self) -> Vocabulary:
        """The new vocabulary."""
        return Vocabulary.from_tokenizer(self.pair[1])

    @cached_property
    def fresh(self) -> list[int]:
        """Target ids that the source lacks."""
        shared = overlap(self.source, self.target)
        return [number for number in self.target.text_ids if number not in shared]

    def task(self, chain: str, *, tied: bool = True) -> Transplant:
        """The transplant, with what the chain requires."""
        E = normal(self.size, self.width, 0)
        first = methods.METHODS.get(chain.split("+")[0])
        target, new = (self.source, self.pair[0]) if first.keeps_tokenizer else (self.target, self.pair[1])
        loaded = {name: getattr(self, name)() for name in sorted(methods.parse(chain).requires)}
        more: dict[str, Any] = {}
        if methods.parse(chain).runs_model:
            from tokgraft.models.states import BodyStates

            more = {"load_model": lambda: self.model(E), "states": BodyStates(lambda: self.model(E))}
        return Transplant(
            self.source, target, E, E if tied else normal(self.size, self.width, 1), segmenter=Segmenter(self.pair[0], self.source),
            resources=loaded, load_target_segmenter=lambda: Segmenter(new, target), **more,
        )  # fmt: skip

    def model(self, E: Floats) -> Any:
        """A tied Llama of one layer with the table E."""
        import torch
        from transformers import LlamaConfig, LlamaForCausalLM

        torch.manual_seed(0)
        config = LlamaConfig(
            vocab_size=8, hidden_size=self.width, intermediate_size=2 * self.width, num_hidden_layers=1, num_attention_heads=8,
            max_position_embeddings=256, tie_word_embeddings=True,
        )  # fmt: skip
        model = LlamaForCausalLM(config).eval()
        model.set_input_embeddings(torch.nn.Embedding.from_pretrained(torch.from_numpy(E.copy()), freeze=False))
        model.config.vocab_size = len(E)
        model.tie_weights()
        return model

    def donor(self) -> Donor:
        """A donor as wide as the base."""
        table = normal(self.size, self.width, 2)
        return Donor(table, table)

    def merges(self) -> Any:
        """(left, right, made) of the target's merges."""
        vocab = self.pair[1].get_vocab()
        pairs = json.loads(self.pair[1].backend_tokenizer.to_str())["model"]["merges"]
        return np.array([(vocab[left], vocab[right], vocab[left + right]) for left, right in pairs], dtype=np.int32)

    def sentence_embedder(self) -> tuple[dict[str, int], Floats]:
        """A unit vector for the text of every token."""
        texts = sorted({vocabulary[n].shown for vocabulary in (self.source, self.target) for n in vocabulary.text_ids})
        vectors = normal(len(texts), ENCODER, 3)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return {text: number for number, text in enumerate(texts)}, vectors

    def target_text(self) -> dict[str, Any]:
        """Counts by a power law, and documents drawn by them."""
        rng = np.random.default_rng(4)
        order = np.array(self.target.text_ids)
        share = 1 / np.arange(1, len(order) + 1)
        share /= share.sum()
        counts = np.zeros(self.size, dtype=np.int64)
        counts[order] = rng.multinomial(50 * self.size, share)
        found: dict[str, Any] = {"counts": counts}
        for name, states in (("train", STATES), ("dev", STATES // 4)):
            ids = rng.choice(order, size=(states // 99, 100), p=share).astype(np.int32)
            ids[:, 0] = self.target.roles["bos"]
            found[name] = list(ids)
        return found

    def token_alignment(self) -> dict[str, Any]:
        """Ten source tokens for each of two thirds of the target tokens."""
        rng = np.random.default_rng(5)
        known = np.array(self.target.text_ids)[: 2 * self.size // 3]
        source = rng.choice(np.array(self.source.text_ids), size=(len(known), 10)).astype(np.int32)
        return {
            "target": np.repeat(known, 10).astype(np.int32), "source": source.ravel(), "count": rng.integers(1, 99, source.size) * 1.0,
            "source_vocabulary": self.source.text_fingerprint,
        }  # fmt: skip

    def token_cooccurrence(self) -> dict[str, Any]:
        """A vector for every token of both sides."""
        found: dict[str, Any] = {"source_vocabulary": self.source.text_fingerprint}
        for seed, side in ((6, "source"), (7, "target")):
            ids = np.array(getattr(self, side).text_ids, dtype=np.int32)
            found[side] = (ids, normal(len(ids), DIM, seed))
        return found

    def token_spans(self) -> Spans:
        """Three ways of three source tokens for each new token."""
        rng = np.random.default_rng(8)
        tokens = np.repeat(np.array(self.fresh, dtype=np.int64), 3)
        pieces = rng.choice(np.array(self.source.text_ids), size=3 * len(tokens))
        return Spans(self.source.text_fingerprint, tokens, rng.integers(1, 99, len(tokens)), 3 * np.arange(len(tokens) + 1), pieces)

    def token_vectors(self) -> Floats:
        """A vector for nineteen tokens of twenty."""
        table = normal(self.size, DIM, 9)
        table[::20] = 0
        return table

    def token_word2vec(self) -> dict[str, Any]:
        """Factors of the weights of the new tokens on groups of source tokens."""
        ids, source = np.array(self.fresh), np.array(self.source.text_ids)
        count = min(GROUPS, len(source) // 4)
        groups = np.random.default_rng(10).permutation(np.arange(len(source)) % count)
        factors = Factors(20 * normal(len(ids), RANK, 11), 20 * normal(count, RANK, 12), np.bincount(groups))
        return {
            "ids": ids, "seen": np.ones(len(ids), dtype=bool), "source_ids": source, "groups": groups, "input": factors,
            "source_vocabulary": self.source.text_fingerprint,
        }  # fmt: skip

    def word_vectors(self) -> Both:
        """Word vectors of both languages."""
        return self._words

    @cached_property
    def _words(self) -> Both:
        """As many words as tokens in each language, made of two or three tokens, and vectors for all n-grams."""
        sides = []
        for seed, vocabulary in ((13, self.target), (14, self.source)):
            rng = np.random.default_rng(seed)
            texts = np.array([vocabulary[number].shown.strip() for number in vocabulary.text_ids], dtype=object)
            words = dict.fromkeys("".join(row) for row in rng.choice(texts[256:], size=(self.size, 2)))
            n = len(words)
            ngrams = normal(BUCKETS, DIM, seed + 2)
            counts = np.sort(rng.integers(1, 9999, n))[::-1]
            sides.append(Words(tuple(words), counts, normal(n, DIM, seed + 4), np.arange(BUCKETS), ngrams, (3, 6), BUCKETS))
        return Both(*sides)

    def dictionary(self) -> tuple[tuple[str, str, float], ...]:
        """Pairs of words of both languages, one for eight tokens."""
        both = self._words
        return tuple((english, word, 1.0) for english, word in list(zip(both.english.words, both.target.words))[: self.size // 8])
