"""Small corpora and base folders for the tokenizer stage."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import toys
from toycorpora import invented, write_corpus


@pytest.fixture(scope="session")
def english(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """English prose and code."""
    lines = list(toys.english())
    return write_corpus(
        tmp_path_factory.mktemp("corpora") / "eng_Latn",
        "eng_Latn",
        {"train": lines[:525], "dev": lines[525:575], "test": lines[575:775]},
    )


@pytest.fixture(scope="session")
def target(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The made-up language, "aligned" with English lines."""
    pairs = list(zip(toys.english()[575:675], invented(100, seed=3)))
    splits = {"train": invented(600), "dev": invented(40, seed=1), "test": invented(80, seed=2)}
    return write_corpus(tmp_path_factory.mktemp("corpora") / "tst_Latn", "tst_Latn", splits, pairs)


@pytest.fixture(scope="session")
def base_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Folder of a small base tokenizer of a kind in `toys.KINDS`."""
    root = tmp_path_factory.mktemp("bases")

    def make(kind: str) -> Path:
        folder = root / kind
        if not folder.exists():
            toys.tokenizer(kind).save_pretrained(folder)
        return folder

    return make
