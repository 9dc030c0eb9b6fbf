"""Which text a stage reads, and how it is packed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tokgraft.config.recipe import TrainingRecipe, TrainingStage
from tokgraft.errors import DataError
from tokgraft.training.data_source import PackedText, pack
from tokgraft.training.pages import Pages, PageStream, StageDocuments, cut
from tokgraft.training.token_store import TokenStore
from training_material import ENGLISH, corpus, tokenizer


def stage(size: int, replay: float = 0.0) -> TrainingStage:
    return TrainingStage(name="one", train=["all"], bytes=size, lr=1e-3, replay=replay)


def packed_as(place: Path, read: list[tuple[str, bool]], vocabulary: int = 400, length: int = 32, batch: int = 4) -> PackedText:
    recipe = TrainingRecipe(stages=[stage(1)], sequence_length=length, batch_size=batch)
    return pack("one", read, TokenStore(tokenizer(vocabulary), place / "tokens"), recipe)


def documents(folder: Path, english: Path | None, size: int, replay: float = 0.0, seed: int = 0) -> list[tuple[str, bool]]:
    replayed = PageStream(Pages(english, "train"), seed) if english else None
    return list(StageDocuments(stage(size, replay), PageStream(Pages(folder, "train"), seed), replayed))


def test_budget_is_met_to_the_byte_and_order_follows_the_seed(tmp_path: Path) -> None:
    folder = corpus(tmp_path / "de")
    read = documents(folder, None, 5000)
    size = sum(len(text.encode()) for text, _ in read)
    assert 5000 - 300 <= size <= 5000
    assert read == documents(folder, None, 5000)
    assert read != documents(folder, None, 5000, seed=1)
    assert len({text for text, _ in read}) == len(read)


def test_order_does_not_depend_on_the_order_of_the_file(tmp_path: Path) -> None:
    folder = corpus(tmp_path / "de")
    expected = documents(folder, None, 3000)
    path = folder / "train.jsonl"
    path.write_text("".join(reversed(path.read_text(encoding="utf-8").splitlines(keepends=True))), encoding="utf-8")
    assert documents(folder, None, 3000) == expected


def test_small_corpus_is_read_again_in_another_order(tmp_path: Path) -> None:
    folder = corpus(tmp_path / "de", pages=5)
    stream = PageStream(Pages(folder, "train"), 0)
    first, second = [stream.take(10**6) for _ in range(5)], [stream.take(10**6) for _ in range(5)]
    assert sorted(first) == sorted(second)
    assert stream.epochs == pytest.approx(2)
    orders = [stream.pages.order(0, epoch) for epoch in range(4)]
    assert len({tuple(order) for order in orders}) > 1


def test_replay_has_its_share_and_is_spread(tmp_path: Path) -> None:
    read = documents(corpus(tmp_path / "de"), corpus(tmp_path / "en", ENGLISH), 16_000, replay=0.25)
    share = sum(len(text.encode()) for text, replay in read if replay) / 16_000
    assert share == pytest.approx(0.25, abs=0.02)
    places = [number for number, (_, replay) in enumerate(read) if replay]
    assert max(np.diff(places)) <= 5


def test_stages_go_on_in_the_text(tmp_path: Path) -> None:
    one = StageDocuments(stage(3000), PageStream(Pages(corpus(tmp_path / "de"), "train"), 0), None)
    first = list(one)
    assert list(one) == first, "read again"
    two = StageDocuments(stage(3000), *one.then)
    assert not {text for text, _ in first} & {text for text, _ in two}
    assert list(one) + list(two) == list(one) + list(StageDocuments(stage(3000), *one.then))


def test_packing_drops_nothing_and_predicts_every_token_once(tmp_path: Path) -> None:
    words = tokenizer()
    read = documents(corpus(tmp_path / "de"), None, 4000)
    packed = packed_as(tmp_path, read)
    expected = [words.eos_token_id]
    for text, _ in read:
        expected += [words.bos_token_id, *words(text, add_special_tokens=False)["input_ids"], words.eos_token_id]
    assert packed.tokens.tolist() == expected
    predicted: list[int] = []
    for step in range(packed.steps):
        inputs, labels = packed.rows(step)
        assert inputs.shape == labels.shape
        found = labels[labels != -100].tolist()
        assert len(found) == packed.targets(step)
        predicted += found
    assert predicted == expected[1:]
    assert packed.seen(packed.steps) == (len(expected), packed.bytes) and packed.count == len(expected)
    assert packed.bytes == sum(len(text.encode()) for text, _ in read)


def test_two_processes_share_a_step(tmp_path: Path) -> None:
    packed = packed_as(tmp_path, documents(corpus(tmp_path / "de"), None, 2000), batch=3)
    for step in range(packed.steps):
        whole = sorted(row.tobytes() for row in packed.rows(step)[1])
        parts = [packed.rows(step, rank, 2)[1] for rank in range(2)]
        both = sorted(row.tobytes() for part in parts for row in part if (row != -100).any())
        assert both == whole


def test_bytes_are_the_same_for_every_tokenizer(tmp_path: Path) -> None:
    folder = corpus(tmp_path / "de")
    small, large = (packed_as(tmp_path, documents(folder, None, 3000), size) for size in (270, 400))
    assert small.bytes == large.bytes and len(small.tokens) > len(large.tokens)
    assert small.sizes.tolist() == large.sizes.tolist()


def test_cut_keeps_lines_and_characters() -> None:
    assert cut("abc\ndef", 100) == "abc\ndef"
    assert cut("abc\ndef", 6) == "abc"
    assert cut("abc\ndef", 3) == "abc"
    assert cut("äöü", 3) == "ä"
    assert cut("ä", 1) == ""


def test_too_little_text_and_missing_files_are_named(tmp_path: Path) -> None:
    folder = corpus(tmp_path / "de")
    with pytest.raises(DataError, match="less than one sequence of 512"):
        packed_as(tmp_path, documents(folder, None, 300), length=512)
    with pytest.raises(DataError, match="does not exist"):
        Pages(tmp_path / "nowhere", "train")
    (folder / "train.jsonl").write_text('{"id": 1}\n')
    with pytest.raises(DataError, match=r"line 1 is not a page"):
        Pages(folder, "train")
    (folder / "train.jsonl").write_text("")
    with pytest.raises(DataError, match="holds no text"):
        Pages(folder, "train")
