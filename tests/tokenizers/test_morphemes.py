"""Training text cut at morpheme borders, and text of another script than the language's."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from tokgraft.config.tokenizer import TokenizerRecipe
from tokgraft.errors import ConfigError, TokenizerError
from tokgraft.tokenizers import morphemes
from tokgraft.tokenizers.build import build_tokenizer
from tokgraft.tokenizers.scripts import check_script
from tokgraft.tokenizers.trainers import TRAINERS
from toycorpora import invented, write_corpus


def test_a_missing_analyser_is_named_before_anything_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(morphemes.PACKAGES, "kiwi", ("kiwipiepy", "no_such_module", "Korean"))
    with pytest.raises(TokenizerError, match="needs the package kiwipiepy"):
        TRAINERS.get("bpe").check(TokenizerRecipe(trainer="bpe", vocab_size=640, morphemes="kiwi"), None)
    with pytest.raises(ConfigError, match="no morphemes"):
        TRAINERS.get("unigram").check(TokenizerRecipe(trainer="unigram", vocab_size=640, morphemes="kiwi"), None)


def test_borders_cut_inside_words_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(morphemes, "require", lambda name: None)
    monkeypatch.setattr(morphemes, "_kiwi", lambda texts, module: lambda text: list(range(len(text))))
    assert list(morphemes.chunks(["ab c", "", "d"], "kiwi")) == ["a", "b c", "", "d"]


@pytest.mark.parametrize("trainer", ["bpe", "sp_bpe"])
def test_morfessor_makes_stems_tokens_and_the_file_is_plain(trainer: str, tmp_path: Path) -> None:
    pytest.importorskip("morfessor")
    lines = invented(250)
    cut = list(morphemes.chunks(lines, "morfessor"))
    assert "".join(cut) == "".join(lines) and len(cut) > 2 * len(lines)
    assert cut == list(morphemes.chunks(lines, "morfessor"))
    corpus = write_corpus(tmp_path / "tst_Latn", "tst_Latn", {"train": lines, "dev": invented(9, 1), "test": invented(9, 2)})
    recipe = TokenizerRecipe(trainer=trainer, vocab_size=400, morphemes="morfessor")
    audit = json.loads((build_tokenizer(recipe, corpus, tmp_path / "out") / "audit.json").read_text())
    assert audit["round_trip"]["failed"] == 0 and audit["reachability"]["unreachable"] == 0
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert "2.0.6" in json.dumps(manifest)


def test_kiwi_cuts_particles_off() -> None:
    pytest.importorskip("kiwipiepy")
    assert list(morphemes.chunks(["분석기를 사용합니다."], "kiwi")) == ["분석기", "를 사용", "합니다", "."]


def test_newmm_cuts_thai_words() -> None:
    pytest.importorskip("pythainlp")
    assert list(morphemes.chunks(["ภาษาไทยเขียนติดกัน ไม่มีช่องว่าง"], "newmm")) == ["ภาษาไทย", "เขียน", "ติดกัน ไม่", "มี", "ช่องว่าง"]


def test_text_of_another_script_is_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    corpus = write_corpus(tmp_path / "ell_Grek", "ell_Grek", {"train": invented(20)})
    with pytest.raises(TokenizerError, match=r"0\.0% of the letters of corpus ell_Grek are of script Grek"):
        build_tokenizer(TokenizerRecipe(trainer="bpe", vocab_size=300), corpus, tmp_path / "out")
    with caplog.at_level(logging.WARNING, logger="tokgraft"):
        check_script(["ab γδ", "abcd"], "ell_Grek")
    assert "only 25 % of the letters" in caplog.text
    check_script(["日本語テキスト かな"], "jpn_Jpan")
    check_script(["中文"], "cmn_Hans")
    check_script(["한국어"], "kor_Hang")
    check_script(["abc"], "mine")
    check_script(["123"], "ell_Grek")
