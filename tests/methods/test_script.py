"""`script`: categories of tokens, moments of the draws, switches."""

from __future__ import annotations

import numpy as np
import pytest

import toys
import toyspaces
from tokgraft import methods
from tokgraft.errors import ConfigError
from tokgraft.methods.script import categories, script_of
from tokgraft.vocab import Vocabulary


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("der", "Latn"), (" der", "Latn"), ("Größe", "Latn"), ("дом", "Cyrl"), ("τιμές", "Grek"), ("כן", "Hebr"), ("في", "Arab"),
        ("नहीं", "Deva"), ("日本", "Hani"), ("です", "Hira"), ("ไทย", "Thai"), ("한국", "Hang"), ("12", "Zyyy"), (" ", "Zyyy"),
        ("  ", "Zyyy"), ("x1", "Latn"), ("1x", "Zyyy"), (" aд", "Latn"), ("aдд", "Cyrl"), ("𐎀", "Zzzz"),
    ],
)  # fmt: skip
def test_script_is_that_of_most_characters(text: str, script: str) -> None:
    assert script_of(text.encode()) == script


def test_incomplete_characters_have_no_script() -> None:
    assert script_of("д".encode()[:1]) == script_of(b"\xff") == "bytes"


@pytest.mark.parametrize("kind", toys.KINDS)
def test_scripts_are_read_from_text_and_not_from_vocabulary_strings(kind: str) -> None:
    """A byte-level vocabulary writes Greek in Latin-looking characters."""
    vocabulary = Vocabulary.from_tokenizer(toys.tokenizer(kind, 800, "german"))
    found = categories(vocabulary)
    assert {"Latn initial", "Latn medial", "Grek medial", "Zyyy medial"} <= set(found.values())
    assert set(found) == set(vocabulary.text_ids)
    for number, name in found.items():
        assert name.endswith("initial") == vocabulary[number].text.startswith(b" ")


def groups() -> tuple[Vocabulary, Vocabulary, np.ndarray]:
    """Latin word starts around 1, other Latin around 2, Cyrillic around 3; one Greek token."""
    source = toyspaces.vocabulary(
        *[" w" + "x" * n for n in range(60)], *["w" + "x" * n for n in range(60)], *["д" * (n + 1) for n in range(60)], "τ"
    )
    target = toyspaces.vocabulary(*[" v" + "u" * n for n in range(300)], *["и" * (n + 1) for n in range(300)], "σ", "wx", "ไ")
    E = np.random.default_rng(0).normal(0, 0.1, (len(source), 8)).astype(np.float32)
    E[1:61] += 1
    E[61:121] += 2
    E[121:181] += 3
    E[0] = 50
    return source, target, E


def test_rows_are_drawn_like_their_category() -> None:
    source, target, E = groups()
    rows = methods.apply("script", toyspaces.task(source, target, {}, E), {})
    assert np.allclose(rows.input[1:301].mean(axis=0), E[1:61].mean(axis=0), atol=0.03)
    assert np.allclose(rows.input[301:601].mean(axis=0), E[121:181].mean(axis=0), atol=0.03)
    assert np.allclose(rows.input[1:301].std(axis=0), E[1:61].std(axis=0, ddof=1), rtol=0.2)
    assert np.array_equal(rows.input[602], E[62]) and np.array_equal(rows.input[0], E[0])
    # Greek has one source token and Thai none: neither tells a spread.
    assert rows.stats["drawn_like"] == {"Cyrl medial": 300, "Latn initial": 300, "all source rows": 2}
    assert [row.how for row in rows.provenance[600:]] == ["random", "random", "copied", "random"]


def test_switches() -> None:
    source, target, E = groups()
    task = toyspaces.task(source, target, {}, E)
    position, script, nothing = (
        methods.apply("script", task, {"script": a, "position": b, "identity": False})
        for a, b in ((False, True), (True, False), (False, False))
    )
    assert set(position.stats["drawn_like"]) == {"initial", "medial"}
    assert set(script.stats["drawn_like"]) == {"Cyrl", "Latn", "all source rows"}
    assert nothing.stats["drawn_like"] == {"all source rows": 603}
    assert [row.how for row in nothing.provenance] == ["role", *["random"] * 603]
    assert abs(script.input[1:301].mean() - 1.5) < 0.1, "starts of words and the rest are one category"
    with pytest.raises(ConfigError, match="did you mean position"):
        methods.parse("script", {"positions": True})
