from __future__ import annotations

import random

import pytest

from tokgraft.corpus.similar import NearIndex, Words, cluster_sizes, exact_duplicates, jaccard, near_duplicates, shared, shingles
from tokgraft.documents import Page, Paragraph

WORDS = [first + second for first in "bdgklmpt" for second in ("a", "e", "i", "o", "u")]


def page(name: str, text: str) -> Page:
    return Page(name, tuple(Paragraph(f"p:{number}:0", "p", line, number) for number, line in enumerate(text.split("\n"))))


def edited(words: list[str], draw: random.Random) -> list[str]:
    copy = list(words)
    for _ in range(draw.randrange(4)):
        copy[draw.randrange(len(copy))] = draw.choice(WORDS)
    return copy


@pytest.mark.parametrize("words", ["space", "none"])
@pytest.mark.parametrize("threshold", [0.5, 0.7, 0.9, 1.0])
def test_the_index_finds_exactly_what_brute_force_finds(words: Words, threshold: float) -> None:
    draw = random.Random(3)
    base = [[draw.choice(WORDS) for _ in range(draw.randrange(2, 40))] for _ in range(60)]
    left = [" ".join(text) for text in base]
    right = [" ".join(edited(text, draw)) for text in base for _ in range(3)]
    index = NearIndex(left, words, threshold)
    hits = 0
    for text in right:
        expected = [n for n, other in enumerate(left) if jaccard(shingles(text, words), shingles(other, words)) >= threshold]
        assert list(index.matches(text)) == expected
        hits += len(expected)
    assert hits > 20


def test_shingles() -> None:
    assert shingles("One two", "space") == {"one two"}
    assert shingles("a b c d e f", "space") == {"a b c d e", "b c d e f"}
    assert shingles("今日は良い天気です", "none") == {"今日は良い天気で", "日は良い天気です"}


def test_exact_duplicates_ignore_case_spaces_and_digits() -> None:
    pages = [page("b", "Chapter 1"), page("a", "chapter  2"), page("c", "Other")]
    assert exact_duplicates(pages) == {"a": "b"}


def test_near_duplicates_keep_the_first_and_stand_apart_from_the_rest() -> None:
    draw = random.Random(5)
    text = [draw.choice(WORDS) for _ in range(300)]
    changed = [*text[:150], "new", *text[151:]]
    other = [draw.choice(WORDS) for _ in range(300)]
    pages = [
        page("first", " ".join(text)),
        page("second", " ".join(changed)),
        page("third", " ".join(other)),
        page("fourth", " ".join(text[5:])),
    ]
    found = near_duplicates(pages, "space", 0.7)
    assert found == {"second": "first", "fourth": "first"}
    assert cluster_sizes(found) == {"3": 1}
    assert near_duplicates(pages[::-1], "space", 0.7) == {"second": "fourth", "first": "fourth"}


def test_shared_tells_exact_from_near() -> None:
    text = "to delete the table open the menu and choose the command for it from the list that appears below"
    held = page(
        "h", "\n".join([text, text.replace("below", "above"), "quite another sentence about something that nobody ever wrote", "Version 8"])
    )
    train = page("t", text.upper() + "\nversion 9")
    assert shared(held.paragraphs, train.paragraphs, "space", 0.7) == {0: "exact", 1: "near", 3: "exact"}
