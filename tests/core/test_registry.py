"""The registry finds modules by itself and helps with misspelt names."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tokgraft.errors import ConfigError
from tokgraft.registry import Registry


def test_discovers_modules_and_names_near_matches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "boxes"
    package.mkdir()
    (package / "__init__.py").write_text("from tokgraft.registry import Registry\nBOXES = Registry('box', 'boxes')\n")
    (package / "red.py").write_text("from boxes import BOXES\nBOXES.add('red', 1)\n")
    (package / "_shared.py").write_text("raise RuntimeError('not a box')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    try:
        from boxes import BOXES  # type: ignore[import-not-found]

        assert BOXES.names() == ["red"]
        assert BOXES.get("red") == 1
        with pytest.raises(ConfigError, match=r"unknown box .rad. in here\s+-> did you mean red"):
            BOXES.get("rad", "here")
    finally:
        for name in [name for name in sys.modules if name.startswith("boxes")]:
            del sys.modules[name]


def test_two_things_of_one_name_are_refused() -> None:
    registry: Registry[int] = Registry("box", "tokgraft.config")
    registry.add("red", 1)
    with pytest.raises(ValueError, match="two boxs are called 'red'"):
        registry.add("red", 2)
