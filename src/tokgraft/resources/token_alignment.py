"""How often each target token corresponds to each source token in the parallel train pages (for trans-tokenization)."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from tokgraft.errors import ArtifactError, UnavailableError
from tokgraft.resources._align import AlignerParams, Symmetry, align, read_pairs
from tokgraft.resources._contract import Inputs, resource
from tokgraft.resources._words import pattern
from tokgraft.vocab import Vocabulary

BATCH = 1024
FILES = ("target", "source", "count")
Ids = tuple[int, ...]


class TokenAlignment(AlignerParams):
    """Counts of (target token, source token), from the alignment of words, as in trans-tokenization (arXiv:2408.04303)."""

    symmetry: Symmetry = Field(
        "forward", description="forward: each target word with its best English word (as published); else how both directions are joined."
    )
    min_count: int = Field(10, ge=1, description="Pairs of words that were linked more rarely are left out (published: 10).")
    lower: bool = Field(True, description="Words are lower-cased for the alignment; their tokens are counted as they stand.")
    rounding: Literal["exact", "published"] = Field(
        "exact", description="published: shares of a count are rounded down to whole numbers, at least 1, as the reference package does."
    )


@dataclass(frozen=True)
class Unit:
    """What is aligned: a word, or a token where words cannot be told apart.

    Attributes:
        text: Its characters.
        ids: The tokens that write it.
    """

    text: str
    ids: Ids


def load(folder: Path, size: int) -> Mapping[str, Any]:
    """The arrays "target" (n,), "source" (n,), "count" (n,), and "source_vocabulary": the `text_fingerprint` of the source they are for.

    Raises:
        ArtifactError: The arrays do not fit together.
    """
    import json

    arrays = {name: np.load(folder / f"{name}.npy", allow_pickle=False) for name in FILES}
    target, _, count = arrays.values()
    sound = len({len(values) for values in arrays.values()}) == 1 and len(target) and target.min() >= 0 and target.max() < size
    if not (sound and np.isfinite(count).all() and (count > 0).all()):
        raise ArtifactError(f"{folder}: its arrays do not fit together, or not to a vocabulary of {size}", "make the resource again")
    facts = json.loads((folder / "resource.json").read_text(encoding="utf-8"))
    return {**arrays, "source_vocabulary": facts["source_vocabulary"]}


@resource(
    "token_alignment",
    TokenAlignment,
    load=load,
    version=1,
    needs={"corpus", "tokenizer", "base"},
    libraries=["numpy", "regex", "tokenizers"],
)
def build(inputs: Inputs, params: TokenAlignment, folder: Path) -> Mapping[str, Any]:
    """Write `target.npy` and `source.npy` (int32, n) and `count.npy` (float64, n), ordered by target, then source id.

    Raises:
        DataError: The corpus has no parallel text, or no pair of words is frequent enough.
        TokenizerError: A tokenizer cannot be read.
    """
    kept, facts = word_pairs(inputs, params)
    texts = facts.pop("texts")
    found = token_counts(kept, params.rounding)
    for number, name in enumerate(FILES):
        np.save(folder / f"{name}.npy", found[number], allow_pickle=False)
    return {
        **facts,
        "word_pairs": len(kept),
        "token_pairs": len(found[0]),
        "share_of_tokens": round(len(np.unique(found[0])) / texts, 6),
    }


def word_pairs(inputs: Inputs, params: TokenAlignment) -> tuple[dict[tuple[Ids, Ids], int], dict[str, Any]]:
    """(tokens of the target word, tokens of the source word) -> how often they are linked, for frequent pairs; and facts about them.

    Raises:
        DataError: The corpus has no parallel text, or no pair of words is frequent enough.
        TokenizerError: A tokenizer cannot be read.
    """
    from tokgraft.models.io import load_tokenizer

    tokenizers = [load_tokenizer(Path(str(place))) for place in (inputs.base, inputs.tokenizer)]
    source, target = (Vocabulary.from_tokenizer(tokenizer) for tokenizer in tokenizers)
    pairs = read_pairs(Path(str(inputs.corpus)), params.max_bytes)
    english = list(units([one for one, _ in pairs], tokenizers[0], source))
    translated = list(units([two for _, two in pairs], tokenizers[1], target))
    links = align(_words(english, params), _words(translated, params), params, params.symmetry)
    counts = Counter(
        (translated[number][right].ids, english[number][left].ids)
        for number, left, right in zip(links.sentence.tolist(), links.left.tolist(), links.right.tolist())
    )
    kept = {pair: count for pair, count in counts.items() if count >= params.min_count}
    if not kept:
        raise UnavailableError(
            f"no pair of words was linked {params.min_count} times in {inputs.corpus}", "lower min_count of token_alignment, or add text"
        )
    fingerprints = {"vocabulary": target.fingerprint, "source_vocabulary": source.text_fingerprint}
    return kept, {**links.facts, **fingerprints, "texts": len(target.text_ids)}


def units(texts: Sequence[str], tokenizer: Any, vocabulary: Vocabulary) -> Iterator[list[Unit]]:
    """The units of each text.

    Tokens whose first characters belong to one run of letters, marks and digits are one unit. Any other token is one of its own, with
    the tokens that write the same character; so is every token of a script without spaces. White space and special tokens belong to none.
    """
    special = set(vocabulary.special_ids)
    backend = tokenizer.backend_tokenizer
    for begin in range(0, len(texts), BATCH):
        batch = list(texts[begin : begin + BATCH])
        for text, item in zip(batch, backend.encode_batch(batch, add_special_tokens=False)):
            yield _grouped(text, item.ids, item.offsets, special)


def _words(lines: list[list[Unit]], params: TokenAlignment) -> list[list[str]]:
    return [[unit.text.lower() if params.lower else unit.text for unit in line] for line in lines]


def _grouped(text: str, ids: list[int], offsets: list[tuple[int, int]], special: set[int]) -> list[Unit]:
    runs = _runs(text)
    found: list[tuple[int, int, list[int]]] = []
    last = -1
    for number, (begin, end) in zip(ids, offsets):
        place = next((place for place in range(begin, end) if not text[place].isspace()), -1)
        if number in special or place < 0:
            continue
        if runs[place] == last:
            begin, _, tokens = found.pop()
            found.append((begin, end, [*tokens, number]))
        else:
            found.append((place, end, [number]))
        last = runs[place]
    return [Unit(text[begin:end], tuple(tokens)) for begin, end, tokens in found]


def _runs(text: str) -> list[int]:
    """For each character a number that it shares with the others of its word; characters outside of words share theirs with none."""
    runs = list(range(len(text)))
    alone = {match.start() for match in pattern("spaceless").finditer(text)}
    for match in pattern("run").finditer(text):
        for place in range(match.start() + 1, match.end()):
            if place not in alone and place - 1 not in alone:
                runs[place] = runs[place - 1]
    return runs


def token_counts(
    pairs: Mapping[tuple[Ids, Ids], int], rounding: str
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], npt.NDArray[np.float64]]:
    """Counts of token pairs from counts of word pairs.

    Where both words are one token, that pair gets the count. Otherwise each target token gets the count, one half spread evenly over the
    tokens of the source word, the other half over those that stand in the same part of the word.

    Args:
        pairs: (tokens of the target word, tokens of the source word) -> count.
        rounding: As in `TokenAlignment`.

    Returns:
        Target ids, source ids, counts, ordered by ids.
    """
    whole = rounding == "published"
    found: defaultdict[tuple[int, int], float] = defaultdict(float)

    def add(count: float, parts: int, matched: Iterator[tuple[int, int]]) -> None:
        share = max(1, int(count) // parts) if whole else count / parts
        for pair in matched:
            found[pair] += share

    for (new, old), count in sorted(pairs.items()):
        if len(new) == len(old) == 1:
            found[new[0], old[0]] += count
            continue
        half = max(1, count // 2) if whole else count / 2
        add(half, len(old), ((one, other) for one in new for other in old))
        shared = math.gcd(len(new), len(old))
        wide, long = len(new) // shared, len(old) // shared
        add(half, long, zip((one for one in new for _ in range(long)), (other for other in old for _ in range(wide))))
    rows = sorted(found.items())
    ids = np.array([pair for pair, _ in rows], dtype=np.int32).reshape(-1, 2)
    return ids[:, 0].copy(), ids[:, 1].copy(), np.array([count for _, count in rows], dtype=np.float64)
