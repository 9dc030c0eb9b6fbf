"""Manifests and folders from elsewhere: read, or refused with one ArtifactError."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

import foreign
from tokgraft import artifacts, cells
from tokgraft.errors import TokgraftError


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages/a.txt").write_text("a")
    inputs = {"pages": tmp_path / "pages"}
    with artifacts.create(tmp_path / "corpus", "corpus", {"slug": "deu_Latn", "splits": {"test": 0.1}}, inputs) as folder:
        (folder / "a.jsonl").write_text("{}\n")
    return tmp_path / "corpus"


def read(folder: Path) -> None:
    artifacts.verify(folder)
    artifacts.outdated(folder)
    artifacts.find(folder)
    artifacts.fingerprint(folder)
    cells.command(folder)
    cells.versions(folder)
    artifacts.expect(folder, "corpus")


@pytest.mark.parametrize("name", ["manifest.json", "run.json"])
def test_a_damaged_manifest_or_record_is_read_or_refused(corpus: Path, name: str) -> None:
    path = corpus / name
    content = path.read_bytes()
    with foreign.little_memory():
        for damaged in [*foreign.misdescribed(json.loads(content), 200), *foreign.damaged(content, 100)]:
            path.write_bytes(damaged)
            foreign.survives(lambda: read(corpus))
            foreign.survives(lambda: artifacts.check_place(corpus, "corpus"))


@pytest.mark.parametrize("content", [b"null", b"[]", b"1", b"\xff", b"[" * 100_000, b"9" * 5000, b"", b'{"kind": "\\ud800"}'])
def test_a_manifest_that_is_none_is_refused(corpus: Path, content: bytes) -> None:
    (corpus / "manifest.json").write_bytes(content)
    with pytest.raises(TokgraftError, match=r"manifest\.json"):
        read(corpus)


def test_a_plain_folder_may_hold_a_file_name_that_is_not_utf8(tmp_path: Path) -> None:
    with open(os.fsencode(tmp_path) + b"/gr\xf6\xdfe.txt", "w") as handle:
        handle.write("Text")
    assert len(artifacts.fingerprint(tmp_path)) == 64
