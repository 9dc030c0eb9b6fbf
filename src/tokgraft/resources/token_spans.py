"""Which source tokens stand where a target token stands, counted over the target-language train text."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from tokgraft.errors import ArtifactError
from tokgraft.overlap import overlap
from tokgraft.resources import _pages
from tokgraft.resources._contract import Inputs, ResourceParams, resource
from tokgraft.vocab import Vocabulary

Ints = npt.NDArray[np.int64]
EMPTY: Ints = np.zeros(0, dtype=np.int64)


class TokenSpans(ResourceParams):
    """Counts of the tuples of source tokens that cover the same text as each token that the source lacks."""

    max_bytes: int = Field(100_000_000, ge=1, description="Text that is read, in bytes of UTF-8; whole pages from the start.")


@dataclass(frozen=True)
class Spans:
    """Counted tuples.

    Attributes:
        source: `Vocabulary.text_fingerprint` of the base's vocabulary.
        tokens: Target id of each tuple, (n,).
        counts: How often it was seen, (n,).
        starts: Where its ids begin in `pieces`, (n + 1,).
        pieces: Source ids, tuple after tuple.
    """

    source: str
    tokens: Ints
    counts: Ints
    starts: Ints
    pieces: Ints


def load(folder: Path, size: int) -> Spans:
    """The counted tuples.

    Raises:
        ArtifactError: The arrays do not fit together.
    """
    facts = json.loads((folder / "resource.json").read_text(encoding="utf-8"))
    with np.load(folder / "spans.npz", allow_pickle=False) as arrays:
        spans = Spans(facts["source"], *(arrays[name] for name in ("tokens", "counts", "starts", "pieces")))
    fits = len(spans.counts) == len(spans.tokens) == len(spans.starts) - 1 and spans.starts[-1] == len(spans.pieces)
    if not fits or (len(spans.tokens) and int(spans.tokens.max()) >= size) or (len(spans.counts) and int(spans.counts.min()) < 1):
        raise ArtifactError(f"{folder}: the counted tuples do not fit a vocabulary of {size}", "make the resource again")
    return spans


@resource("token_spans", TokenSpans, load=load, version=1, needs={"corpus", "tokenizer", "base"}, libraries=["tokenizers"])
def build(inputs: Inputs, params: TokenSpans, folder: Path) -> Mapping[str, Any]:
    """Write `spans.npz` with the arrays of `Spans`.

    Raises:
        DataError: The corpus has no text.
        TokenizerError: A tokenizer cannot be read.
    """
    from tokgraft.models.io import load_tokenizer

    new, old = load_tokenizer(Path(str(inputs.tokenizer))), load_tokenizer(Path(str(inputs.base)))
    target, source = Vocabulary.from_tokenizer(new), Vocabulary.from_tokenizer(old)
    shared = overlap(source, target)
    wanted = np.zeros(len(target), dtype=bool)
    wanted[[number for number in target.text_ids if number not in shared]] = True
    special = np.zeros(len(source), dtype=bool)
    special[list(source.special_ids)] = True
    counts: Counter[tuple[int, tuple[int, ...]]] = Counter()
    loose = 0
    first, second = _plain(new), _plain(old)
    for texts in _pages.batches(Path(str(inputs.corpus)), "aligning", params.max_bytes):
        for ours, theirs in zip(first.encode_batch(texts, add_special_tokens=False), second.encode_batch(texts, add_special_tokens=False)):
            loose += count_page(_spans(ours), _spans(theirs), wanted, special, counts)
    ordered = sorted(counts)
    np.savez(
        folder / "spans.npz",
        tokens=np.array([number for number, _ in ordered], dtype=np.int64),
        counts=np.array([counts[key] for key in ordered], dtype=np.int64),
        starts=np.cumsum([0, *(len(ids) for _, ids in ordered)], dtype=np.int64),
        pieces=np.array([piece for _, ids in ordered for piece in ids], dtype=np.int64),
    )
    return {
        "vocabulary": target.fingerprint,
        "source": source.text_fingerprint,
        "new_tokens": int(wanted.sum()),
        "seen": len({number for number, _ in ordered}),
        "tuples": len(ordered),
        "occurrences": sum(counts.values()),
        "occurrences_across_borders": loose,
        "content": hashlib.sha256(repr([(key, counts[key]) for key in ordered]).encode()).hexdigest(),
    }


def count_page(
    ours: tuple[Ints, Ints, Ints], theirs: tuple[Ints, Ints, Ints], wanted: npt.NDArray[np.bool_], special: npt.NDArray[np.bool_],
    counts: Counter[tuple[int, tuple[int, ...]]],
) -> int:  # fmt: skip
    """Add the tuples of one text: for each wanted target token the source tokens that lie within it, or that it lies within.

    Args:
        ours: Target ids, where each begins and where it ends.
        theirs: The same of the source tokens; begins and ends never fall.
        wanted: Per target id whether it counts.
        special: Per source id whether it is to be left out.
        counts: Grows.

    Returns:
        Number of wanted tokens with no such source token: every one crosses a border.
    """
    keep = (theirs[2] > theirs[1]) & ~special[theirs[0]]
    ids, begins, ends = (part[keep] for part in theirs)
    chosen = wanted[ours[0]] & (ours[2] > ours[1])
    tokens, left, right = (part[chosen] for part in ours)
    if not len(ids):
        return len(tokens)
    inside = np.searchsorted(begins, left, "left"), np.searchsorted(ends, right, "right")
    around = np.searchsorted(ends, right, "left"), np.searchsorted(begins, left, "right")
    within, over = inside[1] > inside[0], around[1] > around[0]
    low = np.where(within, np.where(over, np.minimum(inside[0], around[0]), inside[0]), around[0])
    high = np.where(within, np.where(over, np.maximum(inside[1], around[1]), inside[1]), around[1])
    found = within | over
    sequence = ids.tolist()
    for token, start, end in zip(tokens[found].tolist(), low[found].tolist(), high[found].tolist()):
        counts[token, tuple(sequence[start:end])] += 1
    return int((~found).sum())


def _spans(encoding: Any) -> tuple[Ints, Ints, Ints]:
    if not encoding.ids:
        return EMPTY, EMPTY, EMPTY
    offsets = np.array(encoding.offsets, dtype=np.int64)
    return np.array(encoding.ids, dtype=np.int64), np.maximum.accumulate(offsets[:, 0]), np.maximum.accumulate(offsets[:, 1])


def _plain(tokenizer: Any) -> Any:
    """The tokenizer without post-processing, which may trim spaces off the offsets, and without truncation."""
    from tokenizers import Tokenizer

    return Tokenizer.from_str(
        json.dumps({**json.loads(tokenizer.backend_tokenizer.to_str()), "post_processor": None, "truncation": None, "padding": None})
    )
