"""`vipi`: hand-computed cases and a comparison with all partitions listed one by one."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

import toys
import toytasks
from tokgraft import methods
from tokgraft.methods.vipi import by_bytes, edge_shares
from tokgraft.vocab import Token, Vocabulary


def listed(text: bytes, index: dict[bytes, int]) -> list[list[bytes]]:
    """All partitions of `text` into keys of `index`."""
    if not text:
        return [[]]
    return [[text[:end], *rest] for end in range(1, len(text) + 1) if text[:end] in index for rest in listed(text[end:], index)]


def naive(text: bytes, index: dict[bytes, int], ties: str) -> dict[int, float]:
    ways = listed(text, index)
    ways = [way for way in ways if len(way) == min(map(len, ways))]
    if ties == "longest":
        longest = max(len(part) for way in ways for part in way)
        ways = [way for way in ways if max(map(len, way)) == longest]
    found: Counter[int] = Counter()
    for way in ways:
        for part in way:
            found[index[part]] += 1 / len(way) / len(ways)  # type: ignore[assignment]
    return dict(found)


def test_by_hand() -> None:
    """abcd into two parts: a+bcd, ab+cd, abc+d; longest part: a+bcd and abc+d; abcde needs three."""
    index = {part: number for number, part in enumerate([b"a", b"b", b"c", b"d", b"ab", b"cd", b"abc", b"bcd"])}
    found = edge_shares(b"abcd", index, 3, "average")
    assert found.parts == 2 and found.ways == 3 and found.shares == {(0, 1): 1 / 3, (1, 4): 1 / 3, (0, 2): 1 / 3, (2, 4): 1 / 3, (0, 3): 1 / 3, (3, 4): 1 / 3}  # fmt: skip
    found = edge_shares(b"abcd", index, 3, "longest")
    assert found.ways == 2 and found.shares == {(0, 1): 1 / 2, (1, 4): 1 / 2, (0, 3): 1 / 2, (3, 4): 1 / 2}
    assert not edge_shares(b"abcde", index, 3, "average").shares


def test_many_partitions_take_no_time() -> None:
    found = edge_shares(b"a" * 301, {b"a": 0, b"aa": 1, b"aaa": 2}, 3, "average")
    assert found.parts == 101 and found.ways == 101 + 5050  # two parts of two, or one of one
    assert sum(found.shares.values()) == pytest.approx(101)


@pytest.mark.parametrize("ties", ["average", "longest"])
@pytest.mark.parametrize("kind", ["byte_level", "sp_bpe", "wordpiece"])
def test_against_the_list_of_all_partitions(kind: str, ties: str) -> None:
    task = toytasks.task("vipi", toys.tokenizer(kind), toys.tokenizer("sp_bpe", 600, "german"), tied=False)
    rows = methods.apply("vipi", task, {"ties": ties})
    index = by_bytes(task.source)
    checked = 0
    for number in task.target.text_ids:
        text = task.target[number].text
        if number in task.overlap or len(text) > 12:
            continue
        weight = naive(text, index, ties) if listed(text, index) else {}
        if not weight:
            assert rows.provenance[number].how == "fallback"
            continue
        for found, table in ((rows.input, task.E), (rows.output, task.U)):
            expected = sum(share * table[piece].astype(float) for piece, share in weight.items())
            assert found is not None and np.allclose(found[number], expected, atol=1e-6)
        checked += 1
    assert checked > 50


def test_a_normal_token_goes_before_a_byte_token() -> None:
    tokens = (Token(b"a", "byte", (), "<0x61>"), Token(b"a", "normal", (), "a"), Token(b"b", "byte", (), "<0x62>"))
    assert by_bytes(Vocabulary(tokens, "sentencepiece")) == {b"a": 1, b"b": 2}
