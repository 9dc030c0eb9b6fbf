"""Lengths, words, efficiency of the distribution and use of the vocabulary, with intervals over pages (`tokgraft.intervals`).

Every ratio is a sum over a sum (micro average). The unit of an interval is the page, since paragraphs of one page are not independent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from tokgraft.errors import DataError
from tokgraft.intervals import ratio_bounds
from tokgraft.intrinsic.counts import Counts, Ints, token_counts
from tokgraft.intrinsic.inputs import Subject
from tokgraft.overlap import overlap

Floats = npt.NDArray[np.float64]
Valued = dict[str, Any]


def ratio(top: Ints | Floats, bottom: Ints) -> Valued:
    """Sum over sum, with its 95 % interval over pages ([] for a single page or an empty denominator)."""
    above, below = float(top.sum()), float(bottom.sum())
    if not below:
        return {"value": None, "interval": []}
    kept = bottom > 0
    if kept.sum() < 2 or top[~kept].any():
        return {"value": round(above / below, 6), "interval": []}
    return {"value": round(above / below, 6), "interval": [round(bound, 6) for bound in ratio_bounds(top[kept], bottom[kept])]}


def lengths(counts: Counts, reference: Counts | None = None) -> dict[str, Valued]:
    """Bytes, characters and chunks per token; normalised sequence length against a reference tokenizer on the same pages."""
    found = {
        "bytes_per_token": ratio(counts.bytes, counts.tokens),
        "characters_per_token": ratio(counts.characters, counts.tokens),
        "tokens_per_byte": ratio(counts.tokens, counts.bytes),
        "tokens_per_chunk": ratio(counts.tokens, counts.chunks),
    }
    if reference is not None:
        found["normalised_sequence_length"] = ratio(counts.tokens, reference.tokens)
    return found


def word_measures(counts: Counts) -> dict[str, Valued]:
    """Fertility in context and the share of continued words."""
    return {"fertility": ratio(counts.word_tokens, counts.words), "continued_words": ratio(counts.continued, counts.words)}


def isolated(subject: Subject, words: Mapping[str, int], before: str = " ") -> dict[str, float | None]:
    """Each word encoded alone, after `before`.

    Returns:
        `fertility_isolated`: mean tokens per word occurrence; `continued_types`: share of distinct words in two tokens or more.
    """
    if not words:
        return {"fertility_isolated": None, "continued_types": None}
    kinds = sorted(words)
    tokens = token_counts(subject.tokenizer, [before + word for word in kinds])
    times = np.array([words[word] for word in kinds])
    return {
        "fertility_isolated": round(float((tokens * times).sum() / times.sum()), 6),
        "continued_types": round(float((tokens > 1).mean()), 6),
    }


def retention(subject: Subject, words: Counter[str], most: int) -> dict[str, Any]:
    """Single-token retention: share of the most frequent words that are one token.

    Args:
        subject: The tokenizer.
        words: Word -> how often it occurs (train pages: what is frequent must not depend on the pages under test).
        most: How many of the most frequent words count; equal ones in alphabetical order.

    Returns:
        Over types and weighted by frequency: of `word` as it stands inside a text (after a space), at its beginning, and of both.
    """
    top = sorted(words.items(), key=lambda item: (-item[1], item[0]))[:most]
    if not top:
        return {"words": 0}
    kinds, times = [word for word, _ in top], np.array([often for _, often in top], dtype=float)
    spaced = token_counts(subject.tokenizer, [" " + word for word in kinds]) == 1
    bare = token_counts(subject.tokenizer, kinds) == 1
    found: dict[str, Any] = {"words": len(kinds)}
    for name, single in (("after_space", spaced), ("bare", bare), ("both", spaced & bare)):
        found[name] = round(float(single.mean()), 6)
        found[f"{name}_weighted"] = round(float((single * times).sum() / times.sum()), 6)
    return found


def renyi_entropy(frequencies: npt.ArrayLike, alpha: float) -> float:
    """H_alpha in bits; Shannon's for alpha = 1, the min-entropy for infinity. 0 for an empty distribution."""
    found = _entropies(np.asarray(frequencies, dtype=float).reshape(1, -1), alpha)
    return float(found[0])


def _entropies(frequencies: Floats, alpha: float) -> Floats:
    """H_alpha of each row."""
    totals = frequencies.sum(axis=1, keepdims=True)
    share = np.divide(frequencies, totals, out=np.zeros_like(frequencies), where=totals > 0)
    if alpha == 1:
        logs = np.log2(share, out=np.zeros_like(share), where=share > 0)
        return np.asarray(np.maximum(-(share * logs).sum(axis=1), 0.0))
    inner = share.max(axis=1) if np.isinf(alpha) else (share**alpha).sum(axis=1)
    power = -1.0 if np.isinf(alpha) else 1 / (1 - alpha)
    return np.asarray(np.maximum(power * np.log2(inner, out=np.zeros_like(inner), where=inner > 0), 0.0))


def percentile_frequency(frequencies: npt.ArrayLike, start: float = 0.03, end: float = 0.83) -> float:
    """Share of the text in tokens whose rank of frequency lies between two shares of the observed types."""
    counts = np.sort(np.asarray(frequencies, dtype=float))[::-1]
    counts = counts[counts > 0]
    if not len(counts):
        return 0.0
    first, last = (min(int(len(counts) * share), len(counts) - 1) for share in (start, end))
    return float(counts[first:last].sum() / counts.sum())


def distribution(counts: Counts, size: int, alpha: float) -> dict[str, Any]:
    """Rényi and Shannon efficiency: entropy of the token distribution over log2 of the vocabulary's size.

    Args:
        counts: Counts of a text.
        size: Tokens in the vocabulary; the efficiency of another size (observed types) is given beside it.
        alpha: Order of the Rényi entropy.

    To first order in the counts of its pages an entropy is a ratio of sums over pages, whose interval it gets. The entropy of few pages is
    biased downwards, and the interval does not cover that.
    """
    if size < 2:
        raise DataError(f"a vocabulary of {size} has no distribution to speak of", "evaluate a tokenizer with at least two tokens")
    table = counts.by_page.tocsc()
    used = np.flatnonzero(np.diff(table.indptr))
    table = table[:, used].tocsr().astype(float)
    whole = np.asarray(table.sum(axis=0), dtype=float).reshape(1, -1)
    found: dict[str, Any] = {"alpha": alpha, "vocabulary": size, "observed_types": len(used)}
    if not len(used):
        return found
    tokens = np.asarray(table.sum(axis=1), dtype=float).ravel()
    for name, order in (("renyi", alpha), ("shannon", 1.0)):
        entropy = float(_entropies(whole, order)[0])
        found[f"{name}_entropy"] = round(entropy, 6)
        found[f"{name}_efficiency"] = ratio(_shares_of_entropy(table, tokens, entropy, order) / np.log2(size), tokens)
        found[f"{name}_efficiency_of_observed"] = round(entropy / np.log2(len(used)), 6) if len(used) > 1 else None
    found["percentile_frequency"] = round(percentile_frequency(whole), 6)
    found["bits"] = round(float(whole.sum() * np.log2(size)), 1)
    return found


def unigram(counts: Counts, known: Ints, size: int) -> Valued:
    """Bits per byte of a model that knows nothing but how frequent each token is: what any use of context has to beat.

    Args:
        counts: Counts of the text that is scored.
        known: How often each id occurs in other text; half an occurrence is added to each of the `size` tokens.
        size: Tokens in the vocabulary.
    """
    cost = np.log2(known.sum() + 0.5 * size) - np.log2(known + 0.5)
    return ratio(np.asarray(counts.by_page @ cost), counts.bytes)


def _shares_of_entropy(table: Any, tokens: Floats, entropy: float, alpha: float) -> Floats:
    """What each page adds: values whose sum over all tokens is the entropy, and changes as it does where a page is left out.

    Args:
        table: Counts, sparse, shape (pages, types); each type occurs.
        tokens: Their sums, shape (pages,).
        entropy: H_alpha of all pages together.
        alpha: Its order.

    Returns:
        Shape (pages,): tokens times the entropy, and the derivative of the entropy in the page's counts times the whole.
    """
    share = np.asarray(table.sum(axis=0), dtype=float).ravel() / tokens.sum()
    if alpha == 1:
        return np.asarray(table @ -np.log2(share))
    if np.isinf(alpha):
        weight, factor = (np.arange(len(share)) == share.argmax()) / share.max(), -1 / np.log(2)
    else:
        weight, factor = share ** (alpha - 1) / (share**alpha).sum(), alpha / ((1 - alpha) * np.log(2))
    return np.asarray(tokens * entropy + factor * (table @ weight - tokens))


def usage(counts: Counts, subject: Subject, base: Subject | None) -> dict[str, Any]:
    """How much of the vocabulary a text uses, and how much of the text falls on single bytes, unknown tokens and tokens new to the base."""
    frequencies = counts.frequencies
    vocabulary = subject.vocabulary
    ids = np.array(vocabulary.ids)
    present = ids[ids < len(frequencies)]
    unknown = vocabulary.roles.get("unk")
    found: dict[str, Any] = {
        "used": int((frequencies[present] > 0).sum()),
        "used_share": round(float((frequencies[present] > 0).sum() / len(ids)), 6),
        "used_once": int((frequencies[present] == 1).sum()),
        "single_bytes": _share(counts, _mask(counts, _byte_pieces(subject))),
        "unknown": _share(counts, _mask(counts, [] if unknown is None else [unknown])),
    }
    if base is not None:
        shared = overlap(base.vocabulary, vocabulary)
        found["new_tokens"] = _share(counts, _mask(counts, [number for number in vocabulary.text_ids if number not in shared]))
    return found


def _byte_pieces(subject: Subject) -> list[int]:
    """Ids of tokens that are a byte and no whole character: byte fallback, and bytes above 7F of byte-level vocabularies."""
    vocabulary = subject.vocabulary
    return [
        number
        for number in vocabulary.text_ids
        if vocabulary[number].kind == "byte" or (len(vocabulary[number].text) == 1 and vocabulary[number].text[0] > 0x7F)
    ]


def _mask(counts: Counts, ids: Iterable[int]) -> npt.NDArray[np.bool_]:
    mask = np.zeros(counts.by_page.shape[1], dtype=bool)
    chosen = [number for number in ids if number < len(mask)]
    mask[chosen] = True
    return mask


def _share(counts: Counts, mask: npt.NDArray[np.bool_]) -> Valued:
    return ratio(np.asarray(counts.by_page @ mask.astype(np.int64)), counts.tokens)


def shared_with(subject: Subject, base: Subject, counts: Counts, script: Callable[[str], str]) -> dict[str, Any]:
    """Overlap of two vocabularies by what tokens stand for (bytes), special tokens left out.

    Args:
        subject: The tokenizer.
        base: The one it is compared with.
        counts: Counts of a text by `subject`.
        script: Script of a token's text.

    Returns:
        Jaccard index and shares over distinct byte strings, the share of the text's tokens that the base has, and shares by script.
    """
    ours = {subject.vocabulary[number].text: number for number in subject.vocabulary.text_ids}
    theirs = {base.vocabulary[number].text for number in base.vocabulary.text_ids}
    both = ours.keys() & theirs
    match = overlap(base.vocabulary, subject.vocabulary)
    mask = _mask(counts, [number for number in subject.vocabulary.text_ids if number in match])
    by_script: dict[str, list[int]] = {}
    for text in ours:
        entry = by_script.setdefault(script(text.decode("utf-8", "replace")), [0, 0])
        entry[0] += 1
        entry[1] += text in both
    tokens = int(counts.tokens.sum())
    return {
        "shared": len(both),
        "jaccard": round(len(both) / max(len(ours.keys() | theirs), 1), 6),
        "share_of_ours": round(len(both) / max(len(ours), 1), 6),
        "share_of_base": round(len(both) / max(len(theirs), 1), 6),
        "share_of_text": round(float(counts.frequencies[mask].sum() / tokens), 6) if tokens else None,
        "by_script": {name: {"tokens": total, "shared": same} for name, (total, same) in sorted(by_script.items())},
    }
