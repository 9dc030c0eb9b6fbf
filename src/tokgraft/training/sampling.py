"""Segmentations drawn at random for training: every way to write a word in the vocabulary's tokens, weighed by a unigram model of the text.

After subword regularisation (Kudo 2018, arXiv:1804.10959) and task-adaptive tokenization (Liu et al., EMNLP 2023), which draws from a model
fitted on the task's own text over a vocabulary merged with the task's tokens; here over the tokens of any BPE or Unigram tokenizer. Drawn from
all segmentations by forward filtering and backward sampling, not from a list of the best ones.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tokgraft.config.recipe import Sampling
from tokgraft.errors import ConfigError
from tokgraft.logs import log
from tokgraft.token_strings import BYTE_TOKEN, Layout
from tokgraft.tokenizers.growing import cutter

KINDS = 10_000  # most frequent words that the model is fitted on
ROUNDS = 3  # of expectation and maximisation
SMOOTHING = 0.1  # added to each token's expected count
KEPT = 200_000  # words whose lattice is remembered
NEVER = -math.inf

# Ends of a word's pieces: for each place the pieces that end there, (start, token id, log-probability).
Lattice = list[list[tuple[int, int, float]]]


class Sampler:
    """Encodes texts by drawn segmentations.

    Args:
        tokenizer: Fast Hugging Face tokenizer.
        texts: What the unigram model is fitted on.
        settings: How to draw.
        seed: Seed of the draws.

    Raises:
        ConfigError: The tokenizer is neither BPE nor Unigram.
    """

    def __init__(self, tokenizer: Any, texts: Sequence[str], settings: Sampling, seed: int) -> None:
        layout = Layout.read(tokenizer)
        if layout.model["type"] not in ("BPE", "Unigram") or layout.model.get("continuing_subword_prefix"):
            raise ConfigError(
                f"sampling draws from tokens that can be joined in any way, which those of a {layout.model['type']} tokenizer cannot",
                "leave `sampling` out of the recipe, or use a BPE or Unigram tokenizer",
            )
        self.settings = settings
        self._model = tokenizer.backend_tokenizer.model
        self._cut = cutter(tokenizer.backend_tokenizer, layout)
        special = {token["content"] for token in layout.added if token["special"]}
        unknown = layout.model.get("unk_token")
        self.ids = {
            token: number
            for token, number in tokenizer.backend_tokenizer.get_vocab(with_added_tokens=False).items()
            if token not in special and token != unknown and not (layout.byte_fallback and BYTE_TOKEN.match(token))
        }
        self.longest = max(map(len, self.ids), default=1)
        self._random = random.Random(seed)
        self._known: dict[str, tuple[list[list[tuple[int, int]]], list[list[float]]] | None] = {}
        words = Counter(word for text in texts for word in self._cut(text))
        self.logs = self._fit(dict(sorted(words.items(), key=lambda item: (-item[1], item[0]))[:KINDS]))

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, without special tokens."""
        return [[number for word in self._cut(text) for number in self._word(word)] for text in texts]

    def _word(self, word: str) -> list[int]:
        if self.settings.share < 1 and self._random.random() >= self.settings.share:
            return self._plain(word)
        if word not in self._known:
            if len(self._known) >= KEPT:
                self._known.clear()
            self._known[word] = self._ways(word)
        ways = self._known[word]
        if ways is None:
            return self._plain(word)
        pieces, chances = ways
        found, end = [], len(word)
        while end:
            (choice,) = self._random.choices(pieces[end], cum_weights=chances[end])
            end = choice[0]
            found.append(choice[1])
        return found[::-1]

    def _plain(self, word: str) -> list[int]:
        return [token.id for token in self._model.tokenize(word)]

    def _ways(self, word: str) -> tuple[list[list[tuple[int, int]]], list[list[float]]] | None:
        """For each end the pieces and their cumulated chances; None where the tokens cannot write the word."""
        lattice = self._lattice(word, self.logs, self.settings.alpha)
        forward = _forward(lattice)
        if forward[-1] == NEVER:
            return None
        pieces: list[list[tuple[int, int]]] = []
        chances: list[list[float]] = []
        for end, edges in enumerate(lattice):
            reached = [(start, number, forward[start] + score) for start, number, score in edges if forward[start] > NEVER]
            pieces.append([(start, number) for start, number, _ in reached])
            total, cumulated = 0.0, []
            for _, _, score in reached:
                total += math.exp(score - forward[end])
                cumulated.append(total)
            chances.append(cumulated)
        return pieces, chances

    def _lattice(self, word: str, logs: Mapping[int, float], power: float = 1.0) -> Lattice:
        found: Lattice = [[] for _ in range(len(word) + 1)]
        for start in range(len(word)):
            for end in range(start + 1, min(len(word), start + self.longest) + 1):
                number = self.ids.get(word[start:end])
                if number is not None and number in logs:
                    found[end].append((start, number, power * logs[number]))
        return found

    def _fit(self, words: Mapping[str, int]) -> dict[int, float]:
        """Log-probabilities of all tokens, by expectation and maximisation over every segmentation of every word."""
        counts: Counter[int] = Counter()
        for word, count in words.items():
            for number in self._plain(word):
                counts[number] += count
        tokens = set(self.ids.values())
        logs = _logs({number: counts[number] + 1.0 for number in tokens})
        for number in range(ROUNDS):
            expected = dict.fromkeys(tokens, SMOOTHING)
            bits = 0.0
            for word, count in words.items():
                lattice = self._lattice(word, logs)
                forward, backward = _forward(lattice), _backward(lattice)
                if forward[-1] == NEVER:
                    continue
                bits -= count * forward[-1]
                for end, edges in enumerate(lattice):
                    for start, token, score in edges:
                        if forward[start] > NEVER and backward[end] > NEVER:
                            expected[token] += count * math.exp(forward[start] + score + backward[end] - forward[-1])
            logs = _logs(expected)
            log.info("sampling: round %d of the unigram model, %.4f nats per word", number + 1, bits / max(sum(words.values()), 1))
        return logs


def _logs(counts: Mapping[int, float]) -> dict[int, float]:
    total = math.log(sum(counts.values()))
    return {number: math.log(count) - total for number, count in counts.items()}


def _add(values: Iterator[float]) -> float:
    """log(sum(exp(values))); minus infinity for none."""
    found = list(values)
    top = max(found, default=NEVER)
    return NEVER if top == NEVER else top + math.log(sum(math.exp(value - top) for value in found))


def _forward(lattice: Lattice) -> list[float]:
    """Logarithm of the weight of all ways to write what stands before each place."""
    found = [0.0] + [NEVER] * (len(lattice) - 1)
    for end in range(1, len(lattice)):
        found[end] = _add(found[start] + score for start, _, score in lattice[end])
    return found


def _backward(lattice: Lattice) -> list[float]:
    """Logarithm of the weight of all ways to write what stands behind each place."""
    after: list[list[float]] = [[] for _ in lattice]
    found = [NEVER] * len(lattice)
    found[-1] = 0.0
    for end in range(len(lattice) - 1, -1, -1):
        if end < len(lattice) - 1:
            found[end] = _add(iter(after[end]))
        for start, _, score in lattice[end]:
            after[start].append(score + found[end])
    return found
