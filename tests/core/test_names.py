"""One class, one name: whoever searches for a class finds one."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import tokgraft


def test_no_two_classes_have_one_name() -> None:
    files = Path(tokgraft.__file__).parent.rglob("*.py")
    names = Counter(node.name for path in files for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ClassDef))
    assert len(names) > 200
    assert [name for name, count in names.items() if count > 1] == []
