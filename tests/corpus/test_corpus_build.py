"""The whole stage on two small help packages and on local text."""

from __future__ import annotations

import itertools
import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from help_material import NOUNS, SENTENCES, VERBS, page_blocks

from tokgraft import artifacts, documents
from tokgraft.config.language import CorpusSettings
from tokgraft.corpus.build import build_corpus
from tokgraft.corpus.pages import digest
from tokgraft.corpus.similar import jaccard, shingles
from tokgraft.documents import SPLITS
from tokgraft.errors import ArtifactError, ConfigError, DataError

HELP = {"eng_Latn": ("en", "libreoffice-help-en-us"), "deu_Latn": ("de", "libreoffice-help-de")}


def settings(slug: str, **more: Any) -> CorpusSettings:
    code, package = HELP.get(slug, ("de", ""))
    language = {"name": slug, "bcp47": code, "iso639_3": "deu", "script": "Latn", "lid": [code],
                "sources": [{"kind": "apt_help", "package": package}], "filters": {"near_duplicate": 0.8}}  # fmt: skip
    language.update(more.pop("language", {}))
    return CorpusSettings.parse({"slug": slug, "language": language, **more}, "test")


@pytest.fixture(scope="module")
def corpora(help_cache: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    cache, pins = help_cache
    root = tmp_path_factory.mktemp("corpora")
    english = build_corpus(settings("eng_Latn"), root / "eng_Latn", cache=cache, pins=pins)
    return {"eng_Latn": english, "deu_Latn": build_corpus(settings("deu_Latn"), root / "deu_Latn", english, cache, pins)}


def load(folder: Path, name: str) -> Any:
    return json.loads((folder / name).read_text())


@pytest.mark.parametrize("slug", HELP)
def test_the_artifact_is_whole_and_its_counts_add_up(corpora: dict[str, Path], slug: str) -> None:
    folder = corpora[slug]
    assert artifacts.verify(folder) == []
    names = set(artifacts.expect(folder, "corpus")["files"])
    wanted = {f"{split}.jsonl" for split in SPLITS} | {f"pairs_{split}.jsonl" for split in SPLITS}
    assert names >= wanted | {"splits.json", "counts.json", "card.json", "card.md"}
    steps = load(folder, "counts.json")["steps"]
    for before, after in itertools.pairwise(steps):
        for unit in ("pages", "paragraphs", "bytes"):
            assert after[unit]["in"] == before[unit]["kept"]
            assert after[unit]["in"] == after[unit]["kept"] + sum(after[unit]["dropped"].values()) + (
                after.get("bytes_rewritten_away", 0) if unit == "bytes" else 0
            )
    written = [page for split in SPLITS for page in documents.pages(folder / f"{split}.jsonl")]
    assert steps[-1]["pages"]["kept"] == len(written)
    assert steps[-1]["bytes"]["kept"] == sum(page.size for page in written)


def test_the_same_page_is_in_the_same_split_everywhere(corpora: dict[str, Path]) -> None:
    splits = {slug: load(folder, "splits.json") for slug, folder in corpora.items()}
    assert splits["eng_Latn"]["pages"] == splits["deu_Latn"]["pages"]
    assert len(splits["eng_Latn"]["pages"]) == 120
    assert splits["eng_Latn"]["seed"] == 0 and splits["eng_Latn"]["K"] == 2
    for slug, folder in corpora.items():
        for split in SPLITS:
            pages = list(documents.pages(folder / f"{split}.jsonl"))
            assert pages and all(splits[slug]["pages"][page.id] == split for page in pages)


@pytest.mark.parametrize("slug", HELP)
def test_nothing_is_shared_between_train_and_test(corpora: dict[str, Path], slug: str) -> None:
    """By brute force over all pairs of paragraphs, and no English test paragraph in any train text."""
    text = {split: [p.text for page in documents.pages(corpora[slug] / f"{split}.jsonl") for p in page.paragraphs] for split in SPLITS}
    train = [shingles(paragraph, "space") for paragraph in text["train"]]
    for paragraph in text["test"] + text["dev"]:
        mine = shingles(paragraph, "space")
        assert max(jaccard(mine, other) for other in train) < 0.7
    held_out = {
        digest(p.text)
        for split in ("test", "dev")
        for page in documents.pages(corpora["eng_Latn"] / f"{split}.jsonl")
        for p in page.paragraphs
    }
    assert not held_out & {digest(paragraph) for paragraph in text["train"]}
    assert all(sum(counts.values()) == 0 for counts in load(corpora[slug], "card.json")["overlap"].values())


def test_untranslated_paragraphs_are_gone_and_the_rest_is_paired(corpora: dict[str, Path]) -> None:
    card = load(corpora["deu_Latn"], "card.json")
    steps = {step["step"]: step for step in load(corpora["deu_Latn"], "counts.json")["steps"]}
    assert steps["english"]["paragraphs"]["dropped"] == {"untranslated": 120 + 12}
    assert card["untranslated_share"] == round(132 / (120 * 9 + 12), 4)
    pairs = [json.loads(line) for split in SPLITS for line in (corpora["deu_Latn"] / f"pairs_{split}.jsonl").open()]
    assert sum(card["pairs"].values()) == len(pairs) > 700
    for pair in pairs:
        number = int(pair["page"][-3:])
        key = pair["key"].split(":")[1]
        assert pair["english"] == next(text for _, name, text in page_blocks(number, "en") if name == key)
        assert pair["text"] == next(text for _, name, text in page_blocks(number, "de") if name == key)
    assert all((corpora["eng_Latn"] / f"pairs_{split}.jsonl").read_text() == "" for split in SPLITS)


def test_pages_hold_what_the_contract_says(corpora: dict[str, Path]) -> None:
    row = json.loads((corpora["deu_Latn"] / "train.jsonl").open().readline())
    assert set(row) == {"id", "paragraphs"}
    assert all(set(paragraph) == {"key", "tag", "text", "at"} for paragraph in row["paragraphs"])
    places = [paragraph["at"] for paragraph in row["paragraphs"]]
    assert places == sorted(places) and row["paragraphs"][0]["tag"] == "h1"


def test_equal_manifests_under_another_hash_seed(corpora: dict[str, Path], help_cache: tuple[Path, Path], tmp_path: Path) -> None:
    cache, pins = help_cache
    config = tmp_path / "config"
    config.mkdir()
    (config / "sources.csv").write_bytes(pins.read_bytes())
    command = [sys.executable, "-m", "tokgraft", "corpus", "--settings", json.dumps(settings("deu_Latn").canonical()), "--out",
               str(tmp_path / "again"), "--english", str(corpora["eng_Latn"]), "--cache", str(cache), "--config", str(config)]  # fmt: skip
    done = subprocess.run(command, env={**os.environ, "PYTHONHASHSEED": "7"}, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "settings:" in done.stderr and "untranslated 132" in done.stderr
    assert artifacts.fingerprint(tmp_path / "again") == artifacts.fingerprint(corpora["deu_Latn"])


def test_a_cap_keeps_whole_pages_and_all_of_english_for_the_others(help_cache: tuple[Path, Path], tmp_path: Path) -> None:
    cache, pins = help_cache
    english = build_corpus(settings("eng_Latn", max_bytes=20_000), tmp_path / "eng", cache=cache, pins=pins)
    german = build_corpus(settings("deu_Latn", max_bytes=20_000), tmp_path / "deu", english, cache, pins)
    for folder in (english, german):
        card = load(folder, "card.json")
        assert 17_000 < sum(split["bytes"] for split in card["splits"].values()) <= 20_000
        assert all(split["pages"] for split in card["splits"].values())
    assert sum(load(german, "card.json")["pairs"].values()) > 80
    assert len(load(english, "splits.json")["pages"]) == 120
    assert load(german, "card.json")["untranslated_share"] == round(132 / (120 * 9 + 12), 4)


def write_local(folder: Path, count: int) -> Path:
    draw = random.Random(9)
    folder.mkdir()
    for number in range(count):
        lines = []
        for _ in range(5):
            nouns = dict(zip("abc", draw.sample(NOUNS["de"], 3), strict=True))
            lines.append(draw.choice(SENTENCES["de"]).format(v=draw.choice(VERBS["de"]), **nouns))
        (folder / f"{number:03d}.txt").write_text("\n".join(lines))
    return folder


def local(path: Path, **more: Any) -> CorpusSettings:
    return settings("gsw_Latn", language={"sources": [{"kind": "local", "path": str(path)}], **more})


def test_local_text_is_split_by_document_without_english(tmp_path: Path) -> None:
    text = write_local(tmp_path / "text", 60)
    (text / "copy.txt").write_bytes((text / "007.txt").read_bytes())
    folder = build_corpus(local(text), tmp_path / "out")
    card = load(folder, "card.json")
    assert sum(split["pages"] for split in card["splits"].values()) <= 60
    assert card["pairs"] == {"train": 0, "dev": 0, "test": 0}
    steps = {step["step"]: step for step in load(folder, "counts.json")["steps"]}
    assert steps["exact_duplicates"]["pages"]["dropped"] == {"equal_page": 1}
    assert str(tmp_path) not in (folder / "manifest.json").read_text() + (folder / "card.json").read_text()
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    text.rename(moved / "text")
    assert artifacts.fingerprint(build_corpus(local(moved / "text"), tmp_path / "again")) == artifacts.fingerprint(folder)


def test_english_held_out_pages_stay_out_of_local_text(corpora: dict[str, Path], tmp_path: Path) -> None:
    text = write_local(tmp_path / "text", 40)
    held_out = next(documents.pages(corpora["eng_Latn"] / "test.jsonl")).text
    (text / "leak.txt").write_text(held_out)
    folder = build_corpus(local(text, lid=[]), tmp_path / "out", corpora["eng_Latn"])
    steps = {step["step"]: step for step in load(folder, "counts.json")["steps"]}
    assert steps["english"]["pages"]["dropped"] == {"english_held_out": 1}
    assert load(folder, "card.json")["overlap"]["english_held_out_in_train"] == {"exact": 0}


def test_text_in_another_language_leaves_nothing_and_says_why(tmp_path: Path) -> None:
    text = write_local(tmp_path / "text", 20)
    with pytest.raises(
        DataError, match=r"gsw_Latn: nothing is left for train and dev and test .*language: other_language 100.*\n.*check `lid`"
    ):
        build_corpus(local(text, lid=["ru"]), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_errors_come_before_the_work(corpora: dict[str, Path], help_cache: tuple[Path, Path], tmp_path: Path) -> None:
    cache, pins = help_cache
    out = tmp_path / "out"
    with pytest.raises(ConfigError, match=r"prepare eng_Latn first and give it with --english"):
        build_corpus(settings("deu_Latn"), out, cache=cache, pins=pins)
    with pytest.raises(ArtifactError, match=r"was split with .*\n.*same `splits`"):
        build_corpus(settings("deu_Latn", splits={"seed": 1}), out, corpora["eng_Latn"], cache, pins)
    with artifacts.create(tmp_path / "bare", "corpus", {}) as folder:
        (folder / "train.jsonl").touch()
    with pytest.raises(ArtifactError, match="was split with settings that it does not name"):
        build_corpus(settings("deu_Latn"), out, tmp_path / "bare", cache, pins)
    with pytest.raises(ConfigError, match=r"unknown language label 'ger' in `lid` of the language deu_Latn"):
        build_corpus(settings("deu_Latn", language={"lid": ["ger"]}), out, corpora["eng_Latn"], cache, pins)
    with pytest.raises(ConfigError, match=r"leave nothing for train"):
        build_corpus(settings("deu_Latn", splits={"test": 0.6, "dev": 0.4}), out, corpora["eng_Latn"], cache, pins)
    (tmp_path / "nothing").mkdir()
    with pytest.raises(ArtifactError, match=r"is not a finished artifact"):
        build_corpus(settings("deu_Latn"), out, tmp_path / "nothing", cache, pins)
    text = write_local(tmp_path / "text", 40)
    english = build_corpus(settings("eng_Latn", language={"sources": [{"kind": "local", "path": str(text)}], "lid": []}), tmp_path / "eng")
    with pytest.raises(ArtifactError, match=r"holds no help pages to align with"):
        build_corpus(settings("deu_Latn"), out, english, cache, pins)
    assert not out.exists()


def test_the_command_prints_errors_without_a_traceback(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tokgraft", "corpus", "--language", "deu_Latm", "--out", str(tmp_path / "out")]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "unknown language 'deu_Latm'" in done.stderr and "deu_Latn" in done.stderr and "Traceback" not in done.stderr
