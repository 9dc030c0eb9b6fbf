"""Tokens are encoded once for each tokenizer and kept: never out of date or trusted when damaged; a run gives the same bytes without."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tokgraft import artifacts
from tokgraft.config.recipe import TrainingRecipe
from tokgraft.errors import DataError
from tokgraft.training import token_store
from tokgraft.training.data_source import PackedText
from tokgraft.training.run import train
from tokgraft.training.token_store import TokenStore, text_key
from training_material import ENGLISH, WORDS, corpus, model_folder, text, tokenizer

TEXTS = [line for number in range(30) for line in text(WORDS, number)]


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts that were encoded, in order."""
    found: list[str] = []
    encode = TokenStore.encode

    def noted(self: TokenStore, texts: Sequence[str]) -> list[list[int]]:
        found.extend(texts)
        return encode(self, texts)

    monkeypatch.setattr(TokenStore, "encode", noted)
    return found


def tokens(store: TokenStore, texts: Sequence[str] = TEXTS) -> list[list[int]]:
    """Tokens of each text, as the store gives them."""
    keys, documents = list(map(text_key, texts)), [(text, False) for text in texts]
    lengths = store.lengths(keys, documents)
    ends: NDArray[np.int64] = np.cumsum(lengths)
    out = np.full(int(lengths.sum()), -1, dtype=np.int32)
    store.copy(keys, documents, out, ends - lengths)
    return [part.tolist() for part in np.split(out, ends[:-1])]


def plain(texts: Sequence[str] = TEXTS, size: int = 400) -> list[list[int]]:
    found: list[list[int]] = tokenizer(size)(list(texts), add_special_tokens=False)["input_ids"]
    return found


def files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.safetensors"))


def test_a_text_is_encoded_once_whoever_asks(tmp_path: Path, encoded: list[str]) -> None:
    twice = [*TEXTS, "", *TEXTS[:3]]
    assert tokens(TokenStore(tokenizer(), tmp_path), twice) == plain(twice)
    assert sorted(encoded) == sorted({*TEXTS, ""})
    encoded.clear()
    more = ["ein neuer Text", *TEXTS]
    assert tokens(TokenStore(tokenizer(), tmp_path), more) == plain(more)
    assert encoded == ["ein neuer Text"]
    encoded.clear()
    assert tokens(TokenStore(tokenizer(300), tmp_path)) == plain(size=300)
    assert set(encoded) == set(TEXTS), "another tokenizer"
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".safetensors") == [".lock", ".lock"]


def test_files_are_cut_so_that_memory_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoded: list[str]) -> None:
    monkeypatch.setattr(token_store, "FILE_TOKENS", 200)
    monkeypatch.setattr(token_store, "ENCODE_BATCH", 7)
    assert tokens(TokenStore(tokenizer(), tmp_path)) == plain()
    assert len(files(tmp_path)) > 5
    encoded.clear()
    assert tokens(TokenStore(tokenizer(), tmp_path)) == plain() and not encoded


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    "damage", [flip, lambda path: path.write_bytes(path.read_bytes()[:50]), lambda path: path.write_bytes(b""), os.unlink]
)
def test_what_is_damaged_or_gone_is_encoded_again(tmp_path: Path, encoded: list[str], damage: Any) -> None:
    store = TokenStore(tokenizer(), tmp_path)
    assert tokens(store) == plain()
    (path,) = files(tmp_path)
    for again in (store, TokenStore(tokenizer(), tmp_path)):  # known to this run, and not yet read
        damage(path)
        encoded.clear()
        assert tokens(again) == plain() and set(encoded) == set(TEXTS)
        assert files(tmp_path) == [path]


def test_two_jobs_at_once_encode_once(tmp_path: Path, encoded: list[str]) -> None:
    found: list[list[list[int]]] = []
    jobs = [threading.Thread(target=lambda: found.append(tokens(TokenStore(tokenizer(), tmp_path)))) for _ in range(4)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    assert found == [plain()] * 4
    assert sorted(encoded) == sorted(set(TEXTS)) and len(files(tmp_path)) == 1


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_where_nothing_can_be_written_a_line_says_so_and_the_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, encoded: list[str], number: int
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("tokgraft.logs.log.propagate", True)
    monkeypatch.setattr(token_store, "FILE_TOKENS", 200)
    monkeypatch.setattr(token_store, "ENCODE_BATCH", 7)
    monkeypatch.setattr(token_store.tempfile if number == errno.ENOSPC else Path, "mkstemp" if number == errno.ENOSPC else "mkdir", refuse)
    store = TokenStore(tokenizer(), tmp_path / "kept")
    assert tokens(store) == plain() == tokens(store)
    assert sorted(encoded) == sorted(set(TEXTS)), "once in this run all the same"
    (line,) = {record.getMessage() for record in caplog.records if record.levelname == "WARNING"}
    assert line.startswith("tokens are not kept in") and os.strerror(number) in line and "TOKGRAFT_CACHE" in line
    assert not files(tmp_path) and not list(tmp_path.rglob(".*.part"))


def test_a_folder_that_can_only_be_read_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoded: list[str]) -> None:
    tokens(TokenStore(tokenizer(), tmp_path))
    encoded.clear()

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "read-only")

    for name in ("utime", "replace", "unlink"):
        monkeypatch.setattr(os, name, refuse)
    assert tokens(TokenStore(tokenizer(), tmp_path)) == plain() and not encoded


def test_the_folder_is_bounded_and_what_was_used_last_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("tokgraft.logs.log.propagate", True)
    folders = []
    for age, size in enumerate((300, 320, 340)):
        store = TokenStore(tokenizer(size), tmp_path)
        tokens(store)
        folders.append(store.folder or tmp_path)
        (path,) = files(folders[-1])
        os.utime(path, (age, age))
    (part := folders[0] / ".killed.part").write_bytes(b"x" * 100)
    os.utime(part, (0, 0))
    tokens(TokenStore(tokenizer(300), tmp_path))  # used now
    size_before = sum(path.stat().st_size for path in files(tmp_path))
    monkeypatch.setattr(token_store, "LIMIT", size_before + 100)
    tokens(TokenStore(tokenizer(400), tmp_path))
    assert [len(files(folder)) for folder in folders] == [1, 0, 1] and not part.exists()
    assert sum(path.stat().st_size for path in files(tmp_path)) <= token_store.LIMIT
    monkeypatch.setattr(token_store, "LIMIT", 10)
    tokens(TokenStore(tokenizer(420), tmp_path))
    assert "tokens are not kept" in caplog.text and "more than 0 GB of tokens" in caplog.text


def test_a_disk_that_is_nearly_full_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("tokgraft.logs.log.propagate", True)
    monkeypatch.setattr(token_store, "FREE", 10**18)
    assert tokens(TokenStore(tokenizer(), tmp_path)) == plain()
    assert not files(tmp_path) and "the disk has less than" in caplog.text


def test_a_tokenizer_with_code_of_its_own_is_kept_nowhere(tmp_path: Path) -> None:
    words = tokenizer()
    words.__class__ = type("Own", (type(words),), {"__module__": "transformers_modules.own"})
    store = TokenStore(words, tmp_path)
    assert store.folder is None and tokens(store) == plain() and not files(tmp_path)


def test_text_that_changes_while_it_is_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="changed while it was read"):
        TokenStore(tokenizer(), tmp_path).lengths([text_key("one")], [("other", False)])


# --- in a run -----------------------------------------------------------------------------------------------------------

RECIPE = TrainingRecipe.model_validate({
    "stages": [{"name": "tables", "train": ["embeddings"], "bytes": 3000, "lr": 1e-2},
               {"name": "all", "train": ["all"], "bytes": 5000, "lr": 1e-3, "replay": 0.25}],
    "sequence_length": 32, "batch_size": 4, "validations": 1, "validation_bytes": 500, "checkpoints": 0,
})  # fmt: skip


def test_runs_with_kept_tokens_give_the_same_bytes_and_hold_one_stage_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoded: list[str]
) -> None:
    corpus(tmp_path / "de")
    corpus(tmp_path / "en", ENGLISH)
    model_folder(tmp_path / "model")
    monkeypatch.setenv("TOKGRAFT_CACHE", str(tmp_path / "cache"))
    held: set[str] = set()
    rows = PackedText.rows

    def watched(self: PackedText, *given: int) -> Any:
        held.add(self.name)
        found = rows(self, *given)
        assert held == {self.name}
        return found

    monkeypatch.setattr(PackedText, "rows", watched)
    close = PackedText.close

    def closed(self: PackedText) -> None:
        held.discard(self.name)
        close(self)
        assert self._tokens is None

    monkeypatch.setattr(PackedText, "close", closed)

    def run(out: str, seed: int = 0) -> str:
        held.clear()
        encoded.clear()
        train(tmp_path / "model", tmp_path / "de", RECIPE, tmp_path / out, english=tmp_path / "en", seed=seed, threads=1)
        return artifacts.fingerprint(tmp_path / out)

    first = run("one")
    assert encoded and len(files(tmp_path / "cache/tokens")) == 2
    assert run("two") == first and not encoded, "another cell"
    run("three", seed=1)
    assert 0 < len(encoded) < 30, "another seed reads other pages first, and some of the same"
    monkeypatch.setenv("TOKGRAFT_CACHE", os.devnull)
    assert run("four") == first and encoded, "no folder at all"
