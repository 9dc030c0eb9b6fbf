"""One tokenizer for several languages."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from tokgraft.config import layout
from tokgraft.config.tokenizer import TokenizerRecipe
from tokgraft.errors import ConfigError, DataError
from tokgraft.matrix import load_matrix
from tokgraft.tokenizers.base import load_base, to_tokenizer
from tokgraft.tokenizers.build import build_tokenizer
from tokgraft.tokenizers.texts import EPOCHS, blend, paragraphs
from tokgraft.workflow import Workflow

TEN = "abcdefghij"
SOURCES = {"a": [TEN] * 100, "b": [TEN] * 400, "c": [TEN] * 300}


def bytes_of(found: list[str], sources: dict[str, list[str]]) -> dict[str, int]:
    return {name: 10 * sum(text == lines[0] for text in found) for name, lines in sources.items()}


@pytest.mark.parametrize(
    ("groups", "alpha", "shares"),
    [
        ({"all": "abc"}, 1.0, {"a": 1 / 8, "b": 4 / 8, "c": 3 / 8}),
        ({"all": "abc"}, 0.0, {"a": 1 / 3, "b": 1 / 3, "c": 1 / 3}),
        ({"all": "abc"}, 0.5, {"a": 10 / 47.32, "b": 20 / 47.32, "c": 17.32 / 47.32}),
        ({"one": "a", "two": "bc"}, 1.0, {"a": 1 / 2, "b": 1 / 2 * 4 / 7, "c": 1 / 2 * 3 / 7}),
    ],
)
def test_groups_share_evenly_and_languages_by_their_size_to_alpha(groups: dict, alpha: float, shares: dict[str, float]) -> None:
    sources = {name: [text[:-1] + name for text in lines] for name, lines in SOURCES.items()}
    found = bytes_of(blend(sources, {group: list(names) for group, names in groups.items()}, alpha, 10**9), sources)
    for name, share in shares.items():
        assert found[name] == pytest.approx(8000 * share, abs=10.1)
    capped = bytes_of(blend(sources, {group: list(names) for group, names in groups.items()}, alpha, 800), sources)
    assert sum(capped.values()) == pytest.approx(800, abs=30) and capped["a"] == pytest.approx(800 * shares["a"], abs=10.1)


def test_no_language_is_repeated_more_than_a_few_times() -> None:
    sources = {"small": ["s" * 10], "large": ["l" * 10] * 1000}
    found = blend(sources, {"all": ["small", "large"]}, 0.0, 10**9)
    assert found.count("s" * 10) == EPOCHS and found.count("l" * 10) == 501


def test_one_vocabulary_for_two_languages(base_folder: Callable[[str], Path], target: Path, english: Path, tmp_path: Path) -> None:
    recipe = TokenizerRecipe(trainer="bpe", vocab_size=700, languages={"all": ["tst_Latn", "eng_Latn"]}, alpha=0.3)
    learn = {"tst_Latn": target, "eng_Latn": english}
    one, other, both = tmp_path / "one", tmp_path / "other", tmp_path / "both"
    base = base_folder("byte_level")
    build_tokenizer(TokenizerRecipe(trainer="bpe", vocab_size=700), target, one, base, english)
    build_tokenizer(TokenizerRecipe(trainer="bpe", vocab_size=700), english, other, base, english)
    build_tokenizer(recipe, target, both, base, english, learn)

    def tokens(folder: Path, corpus: Path) -> int:
        return sum(len(found.ids) for found in to_tokenizer(load_base(folder).spec).encode_batch(paragraphs(corpus, "test")))

    assert tokens(one, target) < tokens(both, target) < tokens(other, target)
    assert tokens(other, english) < tokens(both, english) < tokens(one, english)
    inputs = json.loads((both / "manifest.json").read_text())["inputs"]
    assert {"learn_tst_Latn", "learn_eng_Latn"} <= set(inputs)
    # The target's side is measured on the target, wherever the vocabulary is used.
    build_tokenizer(recipe, english, tmp_path / "there", base, english, learn)
    assert (tmp_path / "there/tokenizer.json").read_bytes() == (both / "tokenizer.json").read_bytes()


def test_wrong_languages_are_refused_before_the_work(target: Path, english: Path, tmp_path: Path) -> None:
    recipe = TokenizerRecipe(trainer="bpe", vocab_size=700, languages={"all": ["tst_Latn", "eng_Latn"]})
    with pytest.raises(ConfigError, match=r"given are corpora of tst_Latn\n.*--learn eng_Latn=DIR"):
        build_tokenizer(recipe, target, tmp_path / "out", learn={"tst_Latn": target})
    with pytest.raises(ConfigError, match=r"leave --learn tst_Latn"):
        build_tokenizer(TokenizerRecipe(trainer="bpe", vocab_size=700), target, tmp_path / "out", learn={"tst_Latn": target})
    with pytest.raises(DataError, match="is the corpus of eng_Latn, not of tst_Latn"):
        build_tokenizer(recipe, target, tmp_path / "out", learn={"tst_Latn": english, "eng_Latn": english})
    with pytest.raises(ConfigError, match="eng_Latn stands there twice"):
        TokenizerRecipe.parse({"trainer": "bpe", "vocab_size": 700, "languages": {"x": ["eng_Latn"], "y": ["eng_Latn"]}}, "test")
    with pytest.raises(ConfigError, match="group 'x' has no language"):
        TokenizerRecipe.parse({"trainer": "bpe", "vocab_size": 700, "languages": {"x": []}}, "test")


def experiment(tokenizer: str) -> str:
    grid = {
        "models": ["pocket"], "languages": ["deu_Latn"], "tokenizers": [tokenizer], "methods": ["mean"], "recipes": ["init"], "tasks": ["bpb"],
    }  # fmt: skip
    return json.dumps({"name": "test", "grids": [grid]})


def test_the_workflow_prepares_the_corpora_of_all_languages() -> None:
    workflow = Workflow(experiment("germanic8k"))
    place = SimpleNamespace(model="pocket", language="deu_Latn", tokenizer="germanic8k")
    inputs = workflow.inputs("tokenizer")(place)
    assert inputs["learn_nld_Latn"] == layout.manifest(layout.corpus("nld_Latn")) and "learn_deu_Latn" in inputs
    assert "--learn nld_Latn=results/corpora/nld_Latn" in workflow.params("tokenizer")["flags"](place)
    assert "learn_nld_Latn" not in workflow.inputs("evaluation")(place)


def test_a_language_without_a_file_is_named(tmp_path: Path) -> None:
    import shutil

    shutil.copytree("config", tmp_path / "config")
    (tmp_path / "config/tokenizers/odd.yaml").write_text("{trainer: bpe, vocab_size: 900, languages: {all: [deu_Latn, xxx_Latn]}}")
    with pytest.raises(ConfigError, match="unknown language 'xxx_Latn' in tokenizer odd"):
        load_matrix(experiment("odd"), tmp_path / "config")
