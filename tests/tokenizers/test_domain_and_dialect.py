"""A domain or dialect is a language file over a folder of text: from the file to a tokenizer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tokgraft.config.language import CorpusSettings, Language, Local
from tokgraft.config.tokenizer import TokenizerRecipe
from tokgraft.corpus.build import build_corpus
from tokgraft.errors import DataError
from tokgraft.tokenizers.build import build_tokenizer
from toycorpora import invented

DOMAIN = """
name: German (legal)
bcp47: de
iso639_3: deu
script: Latn
lid: []
parent: deu_Latn
sources:
  - kind: local
    path: texts
"""


@pytest.fixture
def domain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Language:
    """A language file beside its folder of text."""
    (tmp_path / "texts").mkdir()
    lines = invented(400)
    for place in range(0, 400, 4):
        (tmp_path / f"texts/{place:03}.txt").write_text("\n\n".join(lines[place : place + 4]), encoding="utf-8")
    (tmp_path / "config/languages").mkdir(parents=True)
    (tmp_path / "config/languages/deu_Latn-legal.yaml").write_text(DOMAIN)
    monkeypatch.chdir(tmp_path)
    return Language.load("deu_Latn-legal", tmp_path / "config")


def test_from_a_language_file_to_a_tokenizer(domain: Language, tmp_path: Path) -> None:
    corpus = build_corpus(CorpusSettings(slug="deu_Latn-legal", language=domain), tmp_path / "corpus")
    card = json.loads((corpus / "card.json").read_text())
    assert card["variant"] == "of deu_Latn"
    own = build_tokenizer(TokenizerRecipe(trainer="bpe", vocab_size=400), corpus, tmp_path / "own")
    found = json.loads((own / "metrics.json").read_text())
    assert found["language"] == "deu_Latn-legal" and found["target"]["pages"] > 0
    # The parent's tokenizer as it is, on the text of the variant.
    parent = build_tokenizer(TokenizerRecipe(trainer="original"), corpus, tmp_path / "parent", base=own)
    assert json.loads((parent / "metrics.json").read_text())["target"] == found["target"]


@pytest.mark.parametrize("slug", ["gsw_Latn", "aeb_Arab", "ars_Arab"])
def test_a_dialect_in_the_box_says_where_its_text_must_be(slug: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    language = Language.load(slug, Path(__file__).parents[2] / "config")
    assert language.parent and all(isinstance(source, Local) for source in language.sources)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=rf"data/{slug} does not exist"):
        build_corpus(CorpusSettings(slug=slug, language=language), tmp_path / "corpus")
