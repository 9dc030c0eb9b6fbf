"""The trainers that start from nothing: gates, options, bad input."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

import toys
from tokenizers import Tokenizer
from tokgraft.config.tokenizer import TokenizerRecipe
from tokgraft.errors import ConfigError, TokenizerError
from tokgraft.token_strings import vocabulary_of
from tokgraft.tokenizers import fresh, seeds
from tokgraft.tokenizers.audit import round_trip
from tokgraft.tokenizers.base import load_base, to_tokenizer
from tokgraft.tokenizers.build import build_tokenizer
from tokgraft.tokenizers.padding import round_size
from tokgraft.tokenizers.pieces import most_probable, reachable
from tokgraft.tokenizers.trainers import TRAINERS
from tokgraft.vocab import Vocabulary

ROOT = Path(__file__).parents[2]
RECIPES: dict[str, dict[str, Any]] = {
    "sp_bpe": {"vocab_size": 640},
    "unigram": {"vocab_size": 512},
    "wordpiece": {"vocab_size": 900},
    "char_bpe": {"vocab_size": 480, "max_token_characters": 3},
    "byte": {},
}


def recipe(trainer: str, **more: Any) -> TokenizerRecipe:
    return TokenizerRecipe(trainer=trainer, **{**RECIPES.get(trainer, {"vocab_size": 640}), **more})


def trained(texts: list[str], trainer: str, **more: Any) -> Tokenizer:
    asked = recipe(trainer, **more)
    TRAINERS.get(trainer).check(asked, None)
    return Tokenizer.from_str(TRAINERS.get(trainer).train(texts, asked, None)["tokenizer.json"].decode())


def words(tokenizer: Tokenizer, text: str) -> list[str]:
    return [text[start:end] for _, (start, end) in tokenizer.pre_tokenizer.pre_tokenize_str(text)]


@pytest.fixture(scope="session")
def made(target: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Artifact of a trainer, built once."""
    root = tmp_path_factory.mktemp("fresh")

    def make(trainer: str) -> Path:
        return root / trainer if (root / trainer).exists() else build_tokenizer(recipe(trainer), target, root / trainer)

    return make


@pytest.mark.parametrize("trainer", sorted(RECIPES))
def test_the_gates_hold_and_transformers_loads_it(trainer: str, made: Callable[[str], Path]) -> None:
    folder = made(trainer)
    audit = json.loads((folder / "audit.json").read_text())
    assert audit["round_trip"]["failed"] == 0 and audit["reachability"]["unreachable"] == 0 and audit["missing_bytes"] == []
    loaded = AutoTokenizer.from_pretrained(folder)
    assert loaded.bos_token == "<s>" and len(loaded) == audit["size"]
    assert trainer in ("byte", "char_bpe") or audit["size"] == recipe(trainer).vocab_size  # char_bpe: at most
    text = "Lõuna  raamat\n\t👩‍💻 12345 …"
    assert loaded.decode(loaded(text, add_special_tokens=False)["input_ids"], skip_special_tokens=True) == text


@pytest.mark.parametrize("trainer", sorted(RECIPES))
@pytest.mark.parametrize("kind", ["byte_level", "sp_bpe", "unigram", "wordpiece"])
def test_special_tokens_and_habit_of_any_base_are_kept(
    trainer: str, kind: str, base_folder: Callable[[str], Path], target: Path, tmp_path: Path
) -> None:
    base = load_base(base_folder(kind))
    out = build_tokenizer(recipe(trainer), target, tmp_path / "out", base_folder(kind))
    found = load_base(out)
    assert base.roles.items() <= found.roles.items()
    assert (found.prefix, found.suffix) == (base.prefix, base.suffix)


@given(text=st.text(max_size=50))
@settings(max_examples=60, deadline=None)
def test_any_text_survives(text: str, made: Callable[[str], Path]) -> None:
    text = text.replace("▁", "")  # stands for a space in SentencePiece's form
    for trainer in RECIPES:
        assert round_trip(to_tokenizer(load_base(made(trainer)).spec), [f"{text} {text}##{text}<0x0A>"]).failed == []


@pytest.mark.parametrize("trainer", ["unigram", "wordpiece", "sp_bpe", "char_bpe"])
def test_same_bytes_under_another_hash_seed_and_thread_count(trainer: str, target: Path) -> None:
    code = (
        "import sys, json, hashlib; from pathlib import Path; from tokgraft.config.tokenizer import TokenizerRecipe as R\n"
        "from tokgraft.tokenizers import texts; from tokgraft.tokenizers.trainers import TRAINERS\n"
        "r = R.parse(json.loads(sys.argv[1]), 'x')\n"
        "files = TRAINERS.get(r.trainer).train(texts.paragraphs(Path(sys.argv[2]), 'train'), r, None)\n"
        "print(hashlib.sha256(files['tokenizer.json']).hexdigest())"
    )
    prints = {
        subprocess.run(
            [sys.executable, "-c", code, recipe(trainer).model_dump_json(), str(target)], check=True, capture_output=True, text=True,
            env={**os.environ, "PYTHONHASHSEED": seed, "RAYON_NUM_THREADS": threads, "PYTHONPATH": str(ROOT / "src")},
        ).stdout
        for seed, threads in (("1", "1"), ("2", "4"))
    }  # fmt: skip
    assert len(prints) == 1


def test_tokens_of_each_trainer_stand_for_the_bytes_they_write(made: Callable[[str], Path]) -> None:
    for trainer in RECIPES:
        tokenizer = AutoTokenizer.from_pretrained(made(trainer))
        vocabulary = Vocabulary.from_tokenizer(tokenizer)
        text = "Kõrge raamat, tuulik # 20 ## 30 ∆"
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert b"".join(vocabulary[number].text for number in ids).decode() == text, trainer


def test_the_character_cap_counts_characters(made: Callable[[str], Path]) -> None:
    vocabulary = vocabulary_of(load_base(made("char_bpe")).spec)
    lengths = {len(token) for token in vocabulary if not token.startswith("<")}
    assert lengths == {1, 2, 3}
    greek = trained(["ο πίνακας δείχνει όλες τις τιμές που άλλαξαν"] * 4, "char_bpe", vocab_size=340)
    assert any(len(token) == 3 and not token.isascii() for token in greek.get_vocab())


def test_characters_outside_the_coverage_are_bytes_and_break_no_word() -> None:
    texts = ["abab abab abab abab"] * 50 + ["abϞab"]
    tokenizer = trained(texts, "sp_bpe", vocab_size=265, character_coverage=0.99)
    assert "Ϟ" not in tokenizer.get_vocab()
    assert tokenizer.encode("abϞab").tokens == ["ab", "ab", "<0xCF>", "<0x9E>", "ab"] or "<0xCF>" in tokenizer.encode("abϞab").tokens
    assert tokenizer.decode(tokenizer.encode("abϞab").ids) == "abϞab"


@pytest.mark.parametrize(
    ("digits", "chunks"),
    [
        ("single", [list("1234567")[:count] for count in range(1, 8)]),
        ("l2r3", [["1"], ["12"], ["123"], ["123", "4"], ["123", "45"], ["123", "456"], ["123", "456", "7"]]),
        ("r2l3", [["1"], ["12"], ["123"], ["1", "234"], ["12", "345"], ["123", "456"], ["1", "234", "567"]]),
        ("none", [["1234567"[:count]] for count in range(1, 8)]),
    ],
)
def test_digit_schemes(digits: str, chunks: list[list[str]], target: Path) -> None:
    for trainer in ("bpe", "sp_bpe", "char_bpe"):
        tokenizer = trained(list(toys.english()[:200]), trainer, digits=digits, vocab_size=500)
        for count, expected in enumerate(chunks, 1):
            assert words(tokenizer, "x" + "1234567"[:count] + "y")[1:-1] == expected
    twelve = words(tokenizer, "123456789012")
    assert [len(word) for word in twelve] == {"single": [1] * 12, "none": [12]}.get(digits, [3] * 4)


def test_spaces_alone_belong_to_no_word() -> None:
    thai = ["ภาษาไทย เขียนติดกัน ไม่มีช่องว่าง ระหว่างคำ"] * 20
    for trainer, size in (("bpe", 300), ("sp_bpe", 318), ("unigram", 288)):
        tokenizer = trained(thai, trainer, spaces="alone", vocab_size=size)
        tokens = tokenizer.encode(thai[0]).tokens
        assert tokens.count("Ġ") + tokens.count("▁") == 3
        assert not [token for token in tokenizer.get_vocab() if len(token) > 1 and token.strip("Ġ▁") and ("Ġ" in token or "▁" in token)]


def test_seeds_are_tokens_where_they_stand_whole_and_nowhere_else(target: Path) -> None:
    texts = list(toys.english()[:400])
    for trainer in ("bpe", "sp_bpe"):
        plain = trained(texts, trainer, vocab_size=900)
        seeded = trained(texts, trainer, vocab_size=900, seed_tokens=["Zellbezug", "lease back"], seed_sets=["years", "citation"])
        assert seeded.get_vocab_size() == 900
        for text in ("Zellbezug", "1887", "et al.", "lease back"):
            assert len(seeded.encode(text).ids) == 1 < len(plain.encode(text).ids)
            assert seeded.decode(seeded.encode(f"x {text} y").ids) == f"x {text} y"
        assert len(seeded.encode("18873").ids) == 5
        assert seeded.encode("Zellbezuges").tokens == seeded.encode("Zellbezuges").tokens and len(seeded.encode("Zellbezuges").ids) > 1


def test_seeds_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ConfigError, match="seed tokens need more"):
        trained(list(toys.english()[:50]), "bpe", vocab_size=300, seed_sets=["numbers"])
    with pytest.raises(ConfigError, match="empty string"):
        TRAINERS.get("bpe").check(recipe("bpe", seed_tokens=[""]), None)


def test_every_seed_set_is_covered_by_its_patterns() -> None:
    import regex

    for name, strings in seeds.SETS.items():
        found = seeds.patterns(TokenizerRecipe(trainer="bpe", seed_sets=[name]))
        python = [regex.sub(r"\\x\{([0-9A-F]+)\}", lambda match: regex.escape(chr(int(match[1], 16))), one) for one in found]
        whole = regex.compile("|".join(f"(?:{one})" for one in python))
        assert all(whole.fullmatch(string) for string in strings), name


def test_padding_fills_up_with_special_tokens(target: Path, tmp_path: Path) -> None:
    assert [round_size(500, to) for to in (64, 128, 1, "power_of_two")] == [512, 512, 500, 512]  # type: ignore[arg-type]
    out = build_tokenizer(recipe("bpe", vocab_size=600, pad_to="power_of_two"), target, tmp_path / "out")
    loaded = AutoTokenizer.from_pretrained(out)
    assert len(loaded) == 1024
    assert loaded("<|unused_423|>", add_special_tokens=False)["input_ids"] == [1023]
    without = trained([], "byte")
    assert without.get_vocab_size() == 259


def test_unigram_drops_only_what_is_never_produced() -> None:
    pieces = [("a", -1.0), ("b", -1.0), ("ab", -3.0), ("ba", -1.5), ("aba", -2.4)]
    assert reachable(pieces) == [("a", -1.0), ("b", -1.0), ("ba", -1.5), ("aba", -2.4)]
    assert most_probable(pieces, 3) == [("a", -1.0), ("b", -1.0), ("ab", -3.0)]


@pytest.mark.parametrize("trainer", ["bpe", "sp_bpe", "unigram", "wordpiece", "char_bpe"])
@pytest.mark.parametrize("texts", [[], [""], ["a"]])
def test_nothing_can_be_learned_from_nothing(trainer: str, texts: list[str]) -> None:
    with pytest.raises(TokenizerError, match=r"nothing can be learned|supports \d+ tokens|room for|cannot learn"):
        trained(texts, trainer, vocab_size=900)


@pytest.mark.parametrize("trainer", ["sp_bpe", "unigram", "char_bpe"])
def test_a_vocabulary_smaller_than_the_alphabet_is_refused(trainer: str) -> None:
    texts = ["".join(map(chr, range(0xAC00, 0xAC00 + 500)))] * 3  # Hangul syllables
    with pytest.raises(TokenizerError, match="room for") as caught:
        trained(texts, trainer, vocab_size=600)
    assert "character_coverage" in caught.value.do


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"trainer": "unigram"}, "needs vocab_size"),
        ({"trainer": "unigram", "vocab_size": 900, "min_frequency": 5}, "no min_frequency"),
        ({"trainer": "char_bpe", "vocab_size": 900}, "max_token_characters"),
        ({"trainer": "bpe", "vocab_size": 900, "max_token_characters": 4}, "no max_token_characters"),
        ({"trainer": "wordpiece", "vocab_size": 900, "seed_tokens": ["x"]}, "no seed_tokens"),
        ({"trainer": "byte", "vocab_size": 900}, "259 tokens"),
        ({"trainer": "sp_bpe", "vocab_size": 900, "remove_tokens": 4}, "no remove_tokens"),
    ],
)
def test_settings_of_other_trainers_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TRAINERS.get(settings["trainer"]).check(TokenizerRecipe(**settings), None)


def test_unused_options_leave_a_recipe_as_it_was() -> None:
    assert TokenizerRecipe(trainer="bpe", vocab_size=640).canonical() == {
        "trainer": "bpe", "vocab_size": 640, "new_tokens": None, "min_frequency": 2, "max_token_bytes": 64, "max_train_bytes": 1_000_000_000,
    }  # fmt: skip
    assert TokenizerRecipe(trainer="bpe", vocab_size=640, digits="l2r3").canonical()["digits"] == "l2r3"


def test_the_alphabet_is_ordered_by_use() -> None:
    assert fresh.alphabet(["aab", "aac"], 1.0) == ["a", "b", "c"]
    assert fresh.alphabet(["aab", "aac"], 0.6) == ["a"]
