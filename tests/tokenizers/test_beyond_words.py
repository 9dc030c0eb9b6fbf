"""Tokens that span words."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from test_tokenizer_extend import save

from tokenizers import Tokenizer
from tokgraft.config.tokenizer import TokenizerRecipe
from tokgraft.errors import TokenizerError
from tokgraft.token_strings import Layout, vocabulary_of
from tokgraft.tokenizers import texts
from tokgraft.tokenizers.audit import reachability, round_trip
from tokgraft.tokenizers.base import load_base, to_tokenizer
from tokgraft.tokenizers.build import build_tokenizer
from tokgraft.tokenizers.metrics import identical_share
from tokgraft.tokenizers.phrases import with_phrases
from tokgraft.tokenizers.trainers import TRAINERS, bpe, superbpe, supertokens

SUPER = TokenizerRecipe(trainer="superbpe", vocab_size=640, transition=0.7, max_token_words=3)


def lead(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "audit.json").read_text()))


def size(folder: Path, lines: list[str]) -> int:
    return sum(len(found.ids) for found in to_tokenizer(load_base(folder).spec).encode_batch(lines, add_special_tokens=False))


def test_superbpe_spans_spaces_and_stays_sound(english: Path, tmp_path: Path) -> None:
    out = build_tokenizer(SUPER, english, tmp_path / "super")
    plain = build_tokenizer(TokenizerRecipe(trainer="bpe", vocab_size=640), english, tmp_path / "plain")
    audit = lead(out)
    assert (audit["size"], audit["round_trip"]["failed"], audit["reachability"]["unreachable"]) == (640, 0, 0)
    spanning = [token for token in vocabulary_of(load_base(out).spec) if "Ġ" in token[1:] and token.strip("Ġ")]
    assert len(spanning) > 8
    assert max(token.count("Ġ") + (token[0] != "Ġ") for token in spanning) in (2, 3)
    held_out = texts.paragraphs(english, "test")
    assert size(out, held_out) < size(plain, held_out)


def test_exchanging_the_pre_tokenizer_alone_changes_no_text(english: Path) -> None:
    lines = texts.paragraphs(english, "train")
    first = json.loads(bpe.train(lines, TokenizerRecipe(trainer="bpe", vocab_size=600), None)["tokenizer.json"])
    swapped = superbpe.with_phrases(first, SUPER)
    held_out = [*texts.paragraphs(english, "test"), "don't stop  now -- it's 3,000 (or so) a\n b", "l'été  était  ", "a\u200db c"]
    assert identical_share(to_tokenizer(first), to_tokenizer(swapped), held_out) == 1.0
    phrased = with_phrases(first, Layout.of(first))
    assert phrased is not None and phrased["pre_tokenizer"] == swapped["pre_tokenizer"]


def test_superbpe_needs_room_for_stage_one() -> None:
    with pytest.raises(TokenizerError, match="stage one would have 192 tokens"):
        superbpe.check(TokenizerRecipe(trainer="superbpe", vocab_size=640, transition=0.3), None)


def test_supertokens_span_words_and_depend_on_the_seed_only(english: Path, tmp_path: Path) -> None:
    recipe = TokenizerRecipe(trainer="supertokens", vocab_size=640)
    out = build_tokenizer(recipe, english, tmp_path / "out")
    audit = lead(out)
    assert (audit["size"], audit["round_trip"]["failed"], audit["reachability"]["unreachable"]) == (640, 0, 0)
    vocabulary = vocabulary_of(load_base(out).spec)
    assert len([token for token in vocabulary if "Ġ" in token[1:-1] and token.strip("Ġ")]) > 10
    lines = texts.paragraphs(english, "train")
    other = TRAINERS.get("supertokens").train(lines, recipe.model_copy(update={"seed": 1}), None)
    assert Tokenizer.from_str(other["tokenizer.json"].decode()).get_vocab() != vocabulary


def test_chunks_are_the_text_and_have_the_mean_length() -> None:
    lines = ["x" * 5000] * 20 + ["", "a"]
    cut = list(supertokens.chunks(lines, 24, 0))
    assert "".join(cut) == "".join(lines)
    assert 22 < len("".join(lines)) / len(cut) < 26
    assert list(itertools.islice(supertokens.chunks(lines, 24, 1), 5)) != cut[:5]


@pytest.mark.parametrize("kind", ["byte_level", "sp_bpe"])
def test_adaptivocab_swaps_n_grams_in(kind: str, base_folder: Callable[[str], Path], target: Path, tmp_path: Path) -> None:
    base = load_base(base_folder(kind))
    lines = [*texts.paragraphs(target, "train")[:150], *["the value of the table"] * 300]
    files = TRAINERS.get("adaptivocab").train(lines, TokenizerRecipe(trainer="adaptivocab", new_tokens=64), base)
    made = save(files, tmp_path)
    old, new = vocabulary_of(base.spec), vocabulary_of(made.spec)
    assert len(new) == len(old) and all(new[token] == old[token] for token in new.keys() & old.keys())
    fresh = new.keys() - old.keys()
    assert len(fresh) == 64
    assert set(reachability(made.spec).unreachable) <= set(reachability(base.spec).unreachable)
    assert any(len(made.kind.canonical(token)[0].split()) > 2 for token in fresh)
    held_out = texts.paragraphs(target, "test")
    assert size(tmp_path, held_out) < 0.85 * size(base.folder, held_out)
    assert round_trip(to_tokenizer(made.spec), held_out).failed == round_trip(to_tokenizer(base.spec), held_out).failed


def test_keeping_phrases_alone_changes_no_text(base_folder: Callable[[str], Path], english: Path) -> None:
    base = load_base(base_folder("byte_level"))
    phrased = with_phrases(base.spec, base.kind)
    assert phrased is not None and phrased["pre_tokenizer"] != base.spec["pre_tokenizer"]
    lines = [*texts.paragraphs(english, "test"), "don't  stop it's a 3,000 (x y) z", "we've seen  that\nthey'll go"]
    assert identical_share(to_tokenizer(base.spec), to_tokenizer(phrased), lines) == 1.0


def test_adaptivocab_refuses_a_pre_tokenizer_it_does_not_know(base_folder: Callable[[str], Path]) -> None:
    with pytest.raises(TokenizerError, match="joined into phrases"):
        TRAINERS.get("adaptivocab").check(TokenizerRecipe(trainer="adaptivocab", new_tokens=64), load_base(base_folder("sp_bpe_metaspace")))
