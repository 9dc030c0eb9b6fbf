"""A corpus made of shards is the corpus that one job makes, byte for byte."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import pytest
from help_material import page_blocks

from tokgraft import artifacts
from tokgraft.config.language import CorpusSettings, Hub
from tokgraft.corpus import similar_disk
from tokgraft.corpus.build import build_corpus, build_shard, merge_corpus
from tokgraft.corpus.disk import Tables
from tokgraft.corpus.similar import shared
from tokgraft.corpus.sources import Part, SourceFolders, hub
from tokgraft.documents import Paragraph
from tokgraft.errors import ArtifactError, ConfigError

BOILERPLATE = "Diese Seite darf nur mit schriftlicher Genehmigung des Verlages vervielfältigt oder weitergegeben werden."


def documents(count: int) -> list[str]:
    """Help pages as plain documents, with everything in between that the stage has a reason to drop."""
    draw = random.Random(5)
    texts: list[str] = []
    for number in range(count):
        lines = [f"{text} ({number})" for _, _, text in page_blocks(number, "de")]
        if number % 3 == 0:
            lines.append(BOILERPLATE)
        if number % 4 == 0:  # ties two pages, or stands in train and in a held-out page
            lines.append(
                f"Ein langer Absatz, der auf genau zwei Seiten steht, und zwar die Nummer {'abcdefghij'[number % 10]} von {number // 8}."
            )
        if number % 7 == 0 and texts:
            earlier = draw.choice(texts).split("\n\n")
            lines += [line.replace("Sie", "sie").replace("(", "[") for line in draw.sample(earlier, min(2, len(earlier)))]
        if number % 11 == 0:
            lines.append(f"Schreiben Sie an person{number}@firma.de oder rufen Sie an: +49 30 1234567")
        if number % 13 == 0:
            lines = ["The quick brown fox jumps over the lazy dog while nobody in the village is watching him."] * 2
        if number % 17 == 0:
            lines = [lines[1]] * 5
        if number % 19 == 0:
            lines = ["", "  "]
        if number % 5 == 1 and texts:
            lines = draw.choice(texts).upper().split("\n\n")  # equal but for case
        if number % 9 == 2 and texts:
            lines = [*draw.choice(texts).split("\n\n"), f"und noch {number}"]  # nearly equal
        texts.append("\n\n".join(lines))
    return texts


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("text")
    texts = documents(420)
    rows = "".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts[:400])
    (folder / "a.jsonl").write_text(rows, encoding="utf-8")
    (folder / "book.txt").write_text("\n\n".join(texts[400:]) * 3, encoding="utf-8")
    return folder


def settings(text: Path, shards: int, **more: Any) -> CorpusSettings:
    language = {
        "name": "German", "bcp47": "de", "iso639_3": "deu", "script": "Latn", "lid": ["de"], "shards": shards,
        "sources": [{"kind": "local", "path": str(text)}], **more.pop("language", {}),
    }  # fmt: skip
    return CorpusSettings.parse({"slug": "deu_Latn-x", "language": language, **more}, "test")


def files(folder: Path) -> dict[str, str]:
    assert artifacts.verify(folder) == []
    return {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir() if path.name not in {"manifest.json", "run.json"}}


VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "capped": {"max_bytes": 60_000},
    "characters": {"language": {"words": "none", "lid": []}},
    "two sources": {"language": {"sources": None}},
    "few pages": {"splits": {"test": 1e-9, "dev": 1e-9}},
    "romanised": {"language": {"romanize": True}},
}


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_shards_give_the_corpus_of_one_job(text: Path, tmp_path: Path, variant: str) -> None:
    more = json.loads(json.dumps(VARIANTS[variant]))
    if "sources" in more.get("language", {}):
        (tmp_path / "more").mkdir()
        (tmp_path / "more" / "b.jsonl").write_text((text / "a.jsonl").read_text()[:150_000].rsplit("\n", 1)[0] + "\n")
        more["language"]["sources"] = [{"kind": "local", "path": str(path), "max_bytes": 150_000} for path in (text, tmp_path / "more")]
    one = files(build_corpus(settings(text, 1, **json.loads(json.dumps(more))), tmp_path / "one"))
    for count in (2, 5):
        several = files(build_corpus(settings(text, count, **json.loads(json.dumps(more))), tmp_path / f"in{count}"))
        assert several.keys() == one.keys()
        for name in ("counts.json", *one):
            assert several[name] == one[name], (name, count)
    dropped = {reason for step in json.loads(one["counts.json"])["steps"] for reason in step["paragraphs"]["dropped"]}
    if variant == "plain":  # the material has a case of everything, or the comparison would show little
        assert dropped >= {
            "equal_page",
            "similar_page",
            "boilerplate",
            "in_train_exact",
            "in_train_near",
            "other_language",
            "repeated_lines",
        }
        assert int(json.loads(one["card.json"])["components"]["largest"]) > 1
    if variant == "capped":
        assert "cap" in dropped
    if variant == "romanised":
        assert "other_language" in dropped and "ae" in one["train.jsonl"] and not set("äöüß") & set(one["train.jsonl"])


def test_held_out_english_text_stays_out_of_shards_too(text: Path, tmp_path: Path) -> None:
    one = settings(text, 1)
    english = build_corpus(one.model_copy(update={"slug": "eng_Latn"}), tmp_path / "english")
    alone = files(build_corpus(one, tmp_path / "one", english))
    assert files(build_corpus(settings(text, 3), tmp_path / "three", english)) == alone
    steps = {step["step"]: step for step in json.loads(alone["counts.json"])["steps"]}
    assert steps["english"]["paragraphs"]["dropped"]["english_held_out"] > 50


def test_a_shard_made_again_is_equal_and_wrong_shards_are_refused(text: Path, tmp_path: Path) -> None:
    three = settings(text, 3)
    shards = [build_shard(three, number, tmp_path / str(number)) for number in range(3)]
    first = artifacts.fingerprint(shards[1])
    shutil.rmtree(shards[1])
    build_shard(three, 1, shards[1])
    assert artifacts.fingerprint(shards[1]) == first
    whole = merge_corpus(three, shards[::-1], tmp_path / "whole")
    assert artifacts.read(whole)["inputs"]["shard_001"] == first
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
    with pytest.raises(ArtifactError, match=r"has 3 shards, given are \[0, 2\]"):
        merge_corpus(three, [shards[0], shards[2]], tmp_path / "out")
    with pytest.raises(ArtifactError, match="other settings"):
        merge_corpus(settings(text, 3, max_bytes=10), shards, tmp_path / "out")
    other = tmp_path / "other" / text.name
    shutil.copytree(text, other)
    (other / "a.jsonl").write_text((text / "a.jsonl").read_text() + '{"text": "mehr"}\n')
    build_shard(settings(other, 3), 2, shards[2])
    with pytest.raises(ArtifactError, match="made from other files"):
        merge_corpus(three, shards, tmp_path / "out")
    with pytest.raises(ConfigError, match="there is no shard 3"):
        build_shard(three, 3, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_sources_that_cannot_be_divided_are_refused(help_cache: tuple[Path, Path], tmp_path: Path) -> None:
    cache, pins = help_cache
    package = {"sources": [{"kind": "apt_help", "package": "libreoffice-help-en-us"}]}
    with pytest.raises(ConfigError, match="kind apt_help, which is not divided"):
        build_corpus(
            settings(tmp_path, 2, language=package).model_copy(update={"slug": "eng_Latn"}), tmp_path / "out", cache=cache, pins=pins
        )


def test_a_corpus_of_one_job_does_not_depend_on_the_key(text: Path, tmp_path: Path) -> None:
    manifest = artifacts.read(build_corpus(settings(text, 1), tmp_path / "out"))
    assert "shards" not in manifest["settings"]["language"]


@pytest.mark.parametrize("files_", [1, 3, 7])
def test_parts_of_a_streamed_data_set_are_its_rows_once(files_: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    paths = []
    for file in range(files_):
        paths.append(str(tmp_path / f"{file}.jsonl"))
        Path(paths[-1]).write_text("".join(json.dumps({"text": f"file {file} row {row}"}) + "\n" for row in range(10)))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    rows = datasets.load_dataset("json", data_files=paths, split="train", streaming=True)
    monkeypatch.setattr(datasets, "load_dataset", lambda *args, **more: rows)
    source = Hub(kind="hub", id="x", revision="0" * 40, max_bytes=10_000)
    for count in (2, 5):
        parts = [list(hub.stream(source, SourceFolders(tmp_path, tmp_path), Part(number, count)).pages) for number in range(count)]
        texts = [page.paragraphs[0].text for part in parts for page in part]
        assert sorted(texts) == sorted(f"file {file} row {row}" for file in range(files_) for row in range(10))
        names = {page.id: page.paragraphs[0].text for part in parts for page in part}
        assert names["file00000#row000000003"] == "file 0 row 3" and len(names) == 10 * files_
    small = source.model_copy(update={"max_bytes": 60})
    pages = list(hub.stream(small, SourceFolders(tmp_path, tmp_path), Part(0, 2)).pages)
    assert 30 <= sum(page.size for page in pages) <= 42


@pytest.mark.parametrize("words", ["space", "none"])
@pytest.mark.parametrize("slots", [1 << 24, 7])
def test_tables_on_disk_find_what_memory_finds(words: Any, slots: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(similar_disk, "SLOTS", slots)  # few counters only make it slower
    draw = random.Random(1)
    vocabulary = ["ab", "cd", "ef", "gh"]

    def lines(count: int) -> list[Paragraph]:
        return [Paragraph("", "p", " ".join(draw.choices(vocabulary, k=draw.randint(1, 12))), 0) for _ in range(count)]

    held, train = lines(300), lines(400)
    train += [Paragraph("", "p", held[number].text + " zz", 0) for number in range(0, 300, 7)]
    wanted = shared(held, train, words, 0.7)
    texts = similar_disk.HeldTexts(Tables(tmp_path), words, 0.7)
    texts.add((paragraph.text, 1) for paragraph in held)
    texts.seal()
    texts.look("train", train, 1)
    found = {number: how for number, paragraph in enumerate(held) if (how := texts.how("train", paragraph.text))}
    assert found == wanted and {"exact", "near"} <= set(found.values()) and len(found) < len(held)
