"""The CSV files: what stands in their entries, whatever the names and messages that reach them."""

from __future__ import annotations

import csv

import pytest

from tokgraft.reporting.tables import CsvTable, Value

HOSTILE = ["=1+1", "+1|cmd", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1+1", '=HYPERLINK("http://a")']


def written(tmp_path, rows):
    CsvTable("made", ("name",), rows).write(tmp_path)
    with (tmp_path / "made.csv").open(newline="", encoding="utf-8") as handle:
        return list(csv.reader(handle))


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_of_others_is_a_formula(tmp_path, text):
    """As a name, as the reason why there is no number, and as a heading (tasks and metrics name columns)."""
    head, row = written(tmp_path, [{"name": text, text: Value(1.5), "why": Value(None, text)}])
    assert row[0] == head[1] == "'" + text.replace("\r", " ").replace("\n", " ")
    for entry in (*head, *row):
        assert not entry.lstrip().startswith(tuple("=+-@＝＋－＠")), entry


def test_numbers_stay_numbers(tmp_path):
    numbers = [-0.5, 1e-9, -1e20, float("-inf"), 0, -3]
    texts = ["-0.5", "+2", "1e-5", "0"]
    row = written(tmp_path, [{"name": "a", **{f"c{i}": Value(x) for i, x in enumerate(numbers)}, **{f"t{x}": x for x in texts}}])[1]
    assert [float(entry) for entry in row[1:7]] == numbers and row[7:] == texts


def test_an_apostrophe_or_a_sign_within_is_left_alone(tmp_path):
    texts = ["it's", "'quoted'", "mean+prior", "a=b", "n/a: none", 'Übung, "x"']
    assert written(tmp_path, [{"name": text} for text in texts])[1:] == [[text] for text in texts]


def test_an_empty_entry_says_that_there_is_nothing(tmp_path):
    assert written(tmp_path, [{"name": ""}, {"name": "a", "other": "b"}])[1:] == [["n/a: none", "n/a: does not apply"], ["a", "b"]]
