"""`adaptivocab`: rare tokens of the base give their place to n-grams of its tokens, which may span words (after Nakash et al. 2025,
arXiv:2503.19693).

An n-gram's worth is what it saves, frequency times (n - 1); the best are taken in rounds and counted anew on what is then left. The
published tokenizer replaces n-grams in the base's output by longest match, which no `tokenizer.json` can say and which would need a wrapper.
Here merges lead to every n-gram instead, behind all old ones and joined from the left: the result is a plain file. The price: the beginnings
of an n-gram of three or more tokens are tokens as well, and count.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from tokgraft.config.tokenizer import TokenizerRecipe
from tokgraft.errors import TokenizerError
from tokgraft.token_strings import Layout
from tokgraft.tokenizers.base import Base, to_tokenizer
from tokgraft.tokenizers.continued import Merges, settle
from tokgraft.tokenizers.fresh import refuse
from tokgraft.tokenizers.growing import barred, cutter, merge_pairs, segmented
from tokgraft.tokenizers.phrases import MARKED, with_phrases
from tokgraft.tokenizers.pruning import without
from tokgraft.tokenizers.trainers import TRAINERS, Files, Trainer, extend, prune, swap

LONGEST = 4  # tokens in an n-gram
ROUNDS = 8
Ngram = tuple[int, ...]


def check(recipe: TokenizerRecipe, base: Base | None) -> None:
    """It needs new_tokens and a BPE base whose pre-tokenizer can be made to keep phrases."""
    swap.check(recipe, base)
    refuse(recipe, ("character_coverage",))
    assert base is not None
    if base.kind.model["type"] != "BPE" or with_phrases(base.spec, base.kind) is None:
        raise TokenizerError(
            f"the pre-tokenizer of {base.folder} cuts words in a way that cannot be joined into phrases", "use trainer swap or extend"
        )


def train(texts: Sequence[str], recipe: TokenizerRecipe, base: Base | None, english: Sequence[str] = ()) -> Files:
    """Swap n-grams in.

    Raises:
        TokenizerError: Not so many tokens can go, or the texts do not support so many n-grams.
    """
    assert base is not None and recipe.new_tokens is not None
    free = sorted(prune.chosen(base, recipe, [*texts, *english]))
    phrased = with_phrases(without(base.spec, free), base.kind)
    assert phrased is not None
    words = _phrases(texts, phrased, base.kind)
    found = _Found(phrased, base.kind, recipe)
    found.learn({word: count for word, count in words.items() if len(word) > 1}, free)
    extend.enough(len(found.products), recipe)
    vocabulary = {**phrased["model"]["vocab"], **{token: index for index, token in found.products.items()}}
    model = {
        **phrased["model"],
        "vocab": dict(sorted(vocabulary.items(), key=lambda item: item[1])),
        "merges": [*merge_pairs(phrased), *found.merges],
    }
    return extend.files_of({**phrased, "model": model}, base)


def _phrases(texts: Sequence[str], spec: dict[str, Any], kind: Layout) -> dict[Ngram, int]:
    cut = cutter(to_tokenizer(spec), kind, MARKED)
    words: Counter[str] = Counter()
    for text in texts:
        words.update(cut(text))
    return segmented(words, to_tokenizer(spec, merges_only=True))


class _Found:
    """The n-grams taken so far: their merges, and the ids of what the merges make."""

    def __init__(self, spec: dict[str, Any], kind: Layout, recipe: TokenizerRecipe) -> None:
        vocabulary: dict[str, int] = spec["model"]["vocab"]
        self.strings = {index: token for token, index in vocabulary.items()}
        self.known = set(vocabulary)
        self.barred = barred(spec, kind)
        self.recipe = recipe
        self.table: Merges = {}
        self.merges: list[list[str]] = []
        self.products: dict[int, str] = {}

    def learn(self, words: dict[Ngram, int], free: Sequence[int]) -> None:
        """Take n-grams until the free ids are used up or nothing is frequent enough."""
        ids = iter(free)
        left = len(free)
        while left:
            taken = 0
            quota = max(1, left // 2 if len(self.merges) < len(free) * (1 - 0.5**ROUNDS) else left)
            for ngram in self._best(words, quota):
                cost = self._join(ngram, ids, left - taken)
                taken += cost
                if taken >= min(quota, left):
                    break
            if not taken:
                return
            left -= taken
            joined: Counter[Ngram] = Counter()
            for word, count in words.items():
                joined[tuple(settle(word, self.table))] += count
            words = {word: count for word, count in joined.items() if len(word) > 1}

    def _best(self, words: dict[Ngram, int], most: int) -> Iterator[Ngram]:
        """N-grams by what they save, best first; none that overlaps with one before it."""
        counts: Counter[Ngram] = Counter()
        for word, count in words.items():
            for length in range(2, LONGEST + 1):
                for start in range(len(word) - length + 1):
                    counts[word[start : start + length]] += count
        frequent = [(-count * (len(ngram) - 1), ngram) for ngram, count in counts.items() if count >= self.recipe.min_frequency]
        used: set[tuple[int, int]] = set()
        for _, ngram in sorted(frequent):
            pairs = set(itertools.pairwise(ngram))
            if used.isdisjoint(pairs) and self.barred.isdisjoint(ngram):
                used |= pairs
                yield ngram

    def _join(self, ngram: Ngram, ids: Iterator[int], room: int) -> int:
        """Add the merges that lead to an n-gram; how many ids they take (0: it does not fit or cannot be)."""
        whole = list(itertools.accumulate(self.strings[index] for index in ngram))[1:]
        if len(whole) > room or self.known & set(whole) or len(whole[-1].encode()) > self.recipe.max_token_bytes:
            return 0
        if settle(ngram, self.table) != list(ngram):
            return 0
        left = ngram[0]
        for right, product in zip(ngram[1:], whole):
            index = next(ids)
            self.table[left, right] = (len(self.table), index)
            self.merges.append([self.strings[left], self.strings[right]])
            self.strings[index] = self.products[index] = product
            self.known.add(product)
            left = index
        return len(whole)


TRAINERS.add("adaptivocab", Trainer(check, train, descends=True, english=True, naive=prune.naive))
