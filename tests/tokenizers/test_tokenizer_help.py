"""Continued BPE on real help pages: needs corpora that the pipeline has built (results/corpora)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from test_tokenizer_extend import naive, save

from tokgraft.config.tokenizer import TokenizerRecipe
from tokgraft.tokenizers import texts
from tokgraft.tokenizers.audit import reachability
from tokgraft.tokenizers.base import to_tokenizer
from tokgraft.tokenizers.metrics import identical_share, measure
from tokgraft.tokenizers.trainers import TRAINERS

CORPORA = Path(__file__).parents[2] / "results" / "corpora"
LEAST = {"est_Latn": 4.0, "deu_Latn": 4.0, "ell_Grek": 6.0}  # bytes per token, from 8,000 English tokens and 2,000 more


@pytest.mark.slow
@pytest.mark.parametrize("slug", sorted(LEAST))
def test_two_thousand_tokens_on_top_of_eight_thousand_english_ones(slug: str, tmp_path: Path) -> None:
    if not all((CORPORA / name / "manifest.json").is_file() for name in (slug, "eng_Latn")):
        pytest.skip(f"results/corpora/{slug} or eng_Latn is not built")
    english, target = texts.paragraphs(CORPORA / "eng_Latn", "train"), texts.paragraphs(CORPORA / slug, "train")
    if sum(map(len, target)) < 1_500_000:
        pytest.skip(f"results/corpora/{slug} is a small trial")
    bpe, extend = TRAINERS.get("bpe"), TRAINERS.get("extend")
    base = save(bpe.train(english, TokenizerRecipe(trainer="bpe", vocab_size=8003), None), tmp_path / "base")
    made = save(extend.train(target, TokenizerRecipe(trainer="extend", new_tokens=2000), base), tmp_path / "made")
    before, after = to_tokenizer(base.spec), to_tokenizer(made.spec)
    held_out = texts.paragraphs(CORPORA / slug, "test")
    assert measure(after, held_out, "space").ratios(1)["bytes_per_token"] >= LEAST[slug]
    assert reachability(made.spec).unreachable == []
    assert identical_share(before, after, texts.paragraphs(CORPORA / "eng_Latn", "test")) >= 0.985
    if slug != "ell_Grek":  # no Greek token can be misled by an English merge
        aux = json.loads(bpe.train(target, TokenizerRecipe(trainer="bpe", vocab_size=8003), None)["tokenizer.json"])
        assert len(reachability(naive(base.spec, aux, 2000, before=False)).unreachable) > 700
        assert len(reachability(naive(base.spec, aux, 2000, before=True)).unreachable) > 1500
