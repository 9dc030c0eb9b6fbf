"""Refiners of lengths: by hand, on a few rows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import toys
import toytasks
from tokgraft import methods
from tokgraft.errors import ConfigError
from tokgraft.methods import Provenance, Rows, Transplant
from tokgraft.methods.clip import Clip
from tokgraft.methods.clip import refine as clip
from tokgraft.methods.script_norm import NONE, PART, ScriptNorm, script
from tokgraft.methods.script_norm import refine as script_norm
from tokgraft.vocab import Token, Vocabulary


def vocabulary(*texts: str | bytes) -> Vocabulary:
    raw = [text.encode() if isinstance(text, str) else text for text in texts]
    return Vocabulary(tuple(Token(text, "normal", (), text.decode("utf-8", "replace")) for text in raw), "plain")


def lengths(table: methods.Floats) -> list[float]:
    return np.linalg.norm(table, axis=1).tolist()


def test_clip_by_hand() -> None:
    E = np.array([[1, 0], [0, 2], [3, 0], [0, 4]], dtype=np.float32)
    words = vocabulary("a", "b", "c", "d")
    task = Transplant(words, words, E, 2 * E)
    made = (Provenance("copied", (3,)), Provenance("combined"), Provenance("random"), Provenance("mapped"))
    new = np.array([[0, 9], [6, 8], [0.3, 0.4], [0, -20]], dtype=np.float32)
    rows = clip(task, Rows(new, new.copy(), None, made), Clip(quantile=0.5))
    assert lengths(rows.input) == pytest.approx([9, 2.5, 0.5, 2.5]) and rows.input[1].tolist() == pytest.approx([1.5, 2])
    assert rows.output is not None and lengths(rows.output) == pytest.approx([9, 5, 0.5, 5])
    assert rows.stats["clip"] == {"input": {"limit": 2.5, "rows": 2}, "output": {"limit": 5.0, "rows": 2}}
    assert new[1].tolist() == [6, 8], "the rows that were given stay"


def test_clip_shortens_an_overlong_row_and_leaves_the_others() -> None:
    task = toytasks.task("mean", toys.tokenizer("byte_level"), toys.tokenizer("sp_bpe", 600, "both"))
    rows = methods.apply("mean", task, {})
    made = [number for number, way in enumerate(rows.provenance) if way.how == "combined"]
    long = rows.input.copy()
    long[made[0]] *= 1e6
    found = clip(task, replace(rows, input=long), Clip(quantile=1.0))
    assert np.linalg.norm(found.input[made[0]]) == pytest.approx(np.linalg.norm(task.E, axis=1).max(), rel=1e-5)
    others = np.delete(np.arange(len(long)), made[0])
    assert np.array_equal(found.input[others], long[others])


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("hello", "Latin"), (" Größe", "Latin"), ("день", "Cyrillic"), ("表計算", "Han"), ("ひらがな表", "Hiragana"), ("कि", "Devanagari"),
        ("αb", "Greek"), ("12,5", NONE), ("  ", NONE), ("", NONE), (b"\xc3", PART), (b" \xe8\xa1", PART), (b"a\xc3", "Latin"), ("e\u0301", "Latin"),
    ],
)  # fmt: skip
def test_script_of_a_token(text: str | bytes, name: str) -> None:
    assert script(vocabulary(text)[0]) == name


def test_script_norm_by_hand() -> None:
    source = vocabulary("a", "b", "ж", "з", "и", "1")
    E = np.array([[1, 0], [0, 3], [4, 0], [0, 5], [6, 0], [0, 11]], dtype=np.float32)
    target = vocabulary("ab", "жз", "γ", "b", "22", "ю")
    made = (*[Provenance("combined")] * 3, Provenance("copied", (1,)), *[Provenance("combined")] * 2)
    new = np.array([[3, 4], [1, 0], [0, 1], [0, 3], [0, 0], [0, -7]], dtype=np.float32)
    task = Transplant(source, target, E, E)
    rows = script_norm(task, Rows(new, None, None, made), ScriptNorm(least=2))
    # Latin 2, Cyrillic 5; of Greek there is no row and of signs one, so both count as all: (1 + 3 + 4 + 5 + 6 + 11) / 6 = 5.
    assert lengths(rows.input) == pytest.approx([2, 5, 5, 3, 0, 5]) and rows.input[0].tolist() == pytest.approx([1.2, 1.6])
    assert rows.stats["script_norm"] == {"Cyrillic": 2, "Greek": 1, "Latin": 1, NONE: 1}
    untied = Transplant(source, target, E, 10 * E)
    plain = script_norm(untied, Rows(new, new.copy(), None, made), ScriptNorm(least=2))
    both = script_norm(untied, Rows(new, new.copy(), None, made), ScriptNorm(least=2, output=True))
    assert plain.output is not None and np.array_equal(plain.output, new)
    assert both.output is not None and lengths(both.output) == pytest.approx([20, 50, 50, 3, 0, 50])


def test_nothing_made_is_nothing_changed() -> None:
    source = toys.tokenizer("byte_level")
    task = toytasks.task("none", source, source)
    for chain in ("none+clip", "none+script_norm"):
        assert np.array_equal(methods.apply(chain, task, {}).input, task.E)


def test_bad_parameters_are_explained() -> None:
    with pytest.raises(ConfigError, match="quantile"):
        methods.parse("mean+clip", {"clip": {"quantile": 1.5}})
    with pytest.raises(ConfigError, match="did you mean least"):
        methods.parse("mean+script_norm", {"script_norm": {"leats": 3}})
