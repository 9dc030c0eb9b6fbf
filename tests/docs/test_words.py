"""Words of the table in CONTRIBUTING.md that stand in code marks in its column "not" are in no page and in no docstring."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.pages import PAGES, ROOT

# Packages that are being rewritten; delete a name here when its rewrite is done.
SOURCES = sorted((ROOT / "src/tokgraft").rglob("*.py"))


def forbidden(table: str) -> list[str]:
    """The words in code marks of the column "not"."""
    rows = [line.split("|") for line in table.splitlines() if line.startswith("|")]
    assert rows[0][2].strip() == "not"
    return [word for row in rows[2:] for word in re.findall(r"`([^`]+)`", row[2])]


WORDS = forbidden((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("## Words")[2])


def prose(path: Path) -> Iterator[tuple[int, str]]:
    """(line, text) of what is written for people in a file: a page without its code, or the docstrings of a module."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        text = re.sub(r"^```.*?^```$", lambda block: "\n" * block[0].count("\n"), text, flags=re.MULTILINE | re.DOTALL)
        yield 1, text.partition("## Words")[0] if path.name == "CONTRIBUTING.md" else text
        return
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and (said := ast.get_docstring(node, clean=False)):
            yield node.body[0].lineno, said


def found(line: int, text: str) -> list[str]:
    """`line: word` for each forbidden word; code is not looked at."""
    plain = re.sub(r"`[^`\n]*`", lambda code: " " * len(code[0]), text)
    hits = []
    for word in WORDS:
        # "Word ..." is forbidden at the beginning of a docstring or page only.
        start = word.endswith(" ...")
        pattern = rf"\A\s*{re.escape(word.removesuffix(' ...'))}\b" if start else rf"(?<![\w-]){re.escape(word)}(?![\w-])"
        hits += [
            f"{line + text.count(chr(10), 0, hit.start())}: {word}" for hit in re.finditer(pattern, plain, 0 if start else re.IGNORECASE)
        ]
    return hits


@pytest.mark.parametrize("path", [*PAGES, *SOURCES], ids=lambda path: str(path.relative_to(ROOT)))
def test_forbidden_words_are_not_used(path: Path) -> None:
    assert [hit for line, text in prose(path) for hit in found(line, text)] == []


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("Costs in processor\nseconds.", ""),
        ("Costs in processor seconds.", "processor seconds"),
        ("Beside the flat guess.", "flat guess"),
        ("The nearest neighbors of a token.", "neighbors"),
        ("The same for the output table.", "The same ..."),
        ("Gives the same ids.", ""),
        ("The parameter `neighbors`.", ""),
    ],
)
def test_a_forbidden_word_is_found(text: str, word: str) -> None:
    assert found(1, text) == ([f"1: {word}"] if word else [])
