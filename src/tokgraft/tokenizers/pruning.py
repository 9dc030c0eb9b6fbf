"""Which tokens of a tokenizer can go, in which order, and the tokenizer without them.

In BPE a token may be a step on the way to others. What leads to it is read from the token's own segmentation: its last merge joins two
tokens, of which it is a child. A token without children is a leaf; taking only leaves, one after the other, leaves nothing
unreachable, while plain frequency or age does not look at children. In Unigram and WordPiece vocabularies every piece is a leaf.
"""

from __future__ import annotations

import heapq
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from tokgraft.config.tokenizer import Order
from tokgraft.errors import TokenizerError
from tokgraft.token_strings import BYTE_TOKEN, Layout, vocabulary_of
from tokgraft.tokenizers.base import to_tokenizer
from tokgraft.tokenizers.continued import Merges
from tokgraft.tokenizers.growing import folded, merge_pairs, merge_table

Spec = dict[str, Any]


def last_merges(spec: Spec) -> dict[int, tuple[int, int] | None]:
    """Id -> the two ids that its last merge joins, None for a token that its own string does not lead to. Single symbols are left out.

    Args:
        spec: Parsed `tokenizer.json` of a BPE tokenizer whose vocabulary holds its added tokens (`folded`).
    """
    vocabulary: dict[str, int] = spec["model"]["vocab"]
    table = merge_table(spec)
    found: dict[int, tuple[int, int] | None] = {}
    for token, index in vocabulary.items():
        if len(token) > 1 and not BYTE_TOKEN.match(token):
            known = all(symbol in vocabulary for symbol in token)
            found[index] = _last([vocabulary[symbol] for symbol in token], table, index) if known else None
    return found


def _last(word: list[int], table: Merges, goal: int) -> tuple[int, int] | None:
    last = None
    while len(word) > 1:
        options = ((table[pair][0], place) for place, pair in enumerate(itertools.pairwise(word)) if pair in table)
        best = min(options, default=None)
        if best is None:
            return None
        place = best[1]
        last = (word[place], word[place + 1])
        word[place : place + 2] = [table[last][1]]
    return last if word == [goal] else None


def frequencies(spec: Spec, texts: Sequence[str]) -> Counter[int]:
    """How often each id stands in the texts."""
    tokenizer = to_tokenizer(spec, merges_only=True)
    counts: Counter[int] = Counter()
    for start in range(0, len(texts), 4096):
        for encoding in tokenizer.encode_batch_fast(list(texts[start : start + 4096]), add_special_tokens=False):
            counts.update(encoding.ids)
    return counts


def protected(spec: Spec, kind: Layout) -> set[int]:
    """Ids that stay: added and unknown tokens, byte pieces, single symbols (without them texts could not be written)."""
    vocabulary = vocabulary_of(spec)
    inside = kind.marker if spec["model"]["type"] == "WordPiece" else ""
    found = {token["id"] for token in spec["added_tokens"]} | ({vocabulary[kind.unk]} if kind.unk in vocabulary else set())
    return found | {index for token, index in vocabulary.items() if BYTE_TOKEN.match(token) or len(token.removeprefix(inside)) == 1}


def removal_order(spec: Spec, kind: Layout, order: Order, counts: Mapping[int, int]) -> Iterator[int]:
    """Ids in the order in which they go; ends when nothing is left that may go.

    Args:
        spec: Parsed `tokenizer.json`.
        kind: Its layout.
        order: "last" (highest id), "frequency" (rarest), or the same among leaves.
        counts: Id -> how often it stands in a text.
    """
    keep = protected(spec, kind)
    rank = _rank(order, counts)
    if order in ("last", "frequency") or spec["model"]["type"] != "BPE":
        yield from sorted((index for index in vocabulary_of(spec).values() if index not in keep), key=rank)
        return
    yield from _leaves(last_merges(folded(spec)), keep, Counter(counts), order)


def _rank(order: Order, counts: Mapping[int, int]) -> Callable[[int], tuple[int, int]]:
    by_age = order in ("last", "leaf_last")
    return lambda index: (0 if by_age else counts.get(index, 0), -index)


def _leaves(derived: Mapping[int, tuple[int, int] | None], keep: set[int], counts: Counter[int], order: Order) -> Iterator[int]:
    """Leaves first by rank; a leaf's count goes to its two parts, which now stand in its place. Unreachable tokens are leaves too."""
    children: Counter[int] = Counter(part for parts in derived.values() if parts for part in parts)
    free = [index for index in derived if index not in keep]
    heap = [(_rank(order, counts)(index), index) for index in free if not children[index]]
    heapq.heapify(heap)
    gone = set()
    while heap:
        key, index = heapq.heappop(heap)
        if index in gone or key != _rank(order, counts)(index):  # its count has risen since
            continue
        gone.add(index)
        yield index
        for part in derived[index] or ():
            counts[part] += counts[index]
            children[part] -= 1
            if not children[part] and part in derived and part not in keep:
                heapq.heappush(heap, (_rank(order, counts)(part), part))
            elif not children[part] and part in gone:
                raise AssertionError("a token went before its child")


def other_scripts(spec: Spec, kind: Layout, scripts: Sequence[str]) -> list[int]:
    """Ids of tokens with a letter or sign of a script that is not listed (Common and Inherited always are).

    Tokens that are parts of characters stay. Single characters go only where bytes can write them.

    Raises:
        TokenizerError: No script is listed, or one does not exist.
    """
    import regex

    if not scripts:
        raise TokenizerError("pruning by script needs the scripts that stay", "add scripts: [Latn]")
    try:
        outside = regex.compile("[^" + "".join(rf"\p{{Script={name}}}" for name in (*scripts, "Common", "Inherited")) + "]")
    except regex.error:
        raise TokenizerError(f"one of {list(scripts)} is no Unicode script", "use four-letter codes such as Latn, Grek, Cyrl") from None
    keep = protected(spec, kind)
    if kind.byte_fallback:
        keep -= {index for token, index in vocabulary_of(spec).items() if len(token) == 1}
        keep |= {token["id"] for token in spec["added_tokens"]}
    found = []
    for token, index in vocabulary_of(spec).items():
        if index in keep:
            continue
        try:
            text = kind.canonical(token)[0].decode()
        except UnicodeDecodeError:
            continue
        if outside.search(text):
            found.append(index)
    return sorted(found)


def without(spec: Spec, removed: Iterable[int]) -> Spec:
    """A copy without these tokens and without merges that need or make them; the others keep their ids."""
    gone = set(removed)
    model = spec["model"]
    if isinstance(model["vocab"], list):
        raise TypeError("a Unigram vocabulary has no holes; use compacted")
    spec = folded(spec)
    vocabulary = {token: index for token, index in spec["model"]["vocab"].items() if index not in gone}
    changed = {**spec["model"], "vocab": vocabulary}
    if "merges" in changed:
        changed["merges"] = [pair for pair in merge_pairs(spec) if {*pair, "".join(pair)} <= vocabulary.keys()]
    return {**spec, "model": changed}


def compacted(spec: Spec, removed: Iterable[int]) -> Spec:
    """A copy without these tokens, whose ids run without holes in the old order."""
    gone = set(removed)
    left = sorted(index for index in set(vocabulary_of(spec).values()) if index not in gone)
    new = {old: number for number, old in enumerate(left)}
    added = [{**token, "id": new[token["id"]]} for token in spec["added_tokens"]]
    model = spec["model"]
    if isinstance(model["vocab"], list):
        pieces = [entry for index, entry in enumerate(model["vocab"]) if index not in gone]
        unk = model.get("unk_id")
        return {
            **spec, "added_tokens": added, "post_processor": None,
            "model": {**model, "vocab": pieces, "unk_id": None if unk is None else new[unk]},
        }  # fmt: skip
    rest = without(spec, gone)
    vocabulary = {token: new[index] for token, index in rest["model"]["vocab"].items()}
    return {**rest, "added_tokens": added, "post_processor": None, "model": {**rest["model"], "vocab": vocabulary}}
