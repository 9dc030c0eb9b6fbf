from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from tokenizers import AddedToken, Tokenizer, normalizers, processors
from tokgraft import artifacts
from tokgraft.cli import main
from tokgraft.config.base import slugs
from tokgraft.config.tokenizer import TokenizerRecipe
from tokgraft.errors import ArtifactError, ConfigError, TokenizerError
from tokgraft.tokenizers.audit import round_trip
from tokgraft.tokenizers.base import Base, load_base
from tokgraft.tokenizers.build import build_tokenizer
from tokgraft.tokenizers.trainers import TRAINERS, Files, Trainer

ROOT = Path(__file__).parents[2]
BPE = TokenizerRecipe(trainer="bpe", vocab_size=640)


def read(folder: Path, name: str) -> dict:  # type: ignore[type-arg]
    return json.loads((folder / name).read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def own(target: Path, english: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A replacement without a base."""
    return build_tokenizer(BPE, target, tmp_path_factory.mktemp("own") / "bpe", english=english)


@pytest.fixture(scope="session")
def own_tokenizer(own: Path) -> Tokenizer:
    return Tokenizer.from_file(str(own / "tokenizer.json"))


def test_a_replacement_from_nothing(own: Path) -> None:
    assert artifacts.verify(own) == []
    made = load_base(own)
    assert [(special["id"], special["token"]) for special in read(own, "audit.json")["special"]] == [(0, "<s>"), (1, "</s>"), (2, "<pad>")]
    assert made.roles == {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
    assert (made.prefix, made.suffix) == ((), ())
    loaded = AutoTokenizer.from_pretrained(own)
    assert len(loaded) == 640
    assert set(loaded("lõuna")) == {"input_ids", "attention_mask"}
    audit = read(own, "audit.json")
    assert audit["missing_bytes"] == [] and audit["round_trip"]["failed"] == 0 and audit["reachability"]["unreachable"] == 0


def test_metrics_tell_what_was_won(base_folder: Callable[[str], Path], target: Path, english: Path, tmp_path: Path) -> None:
    out = build_tokenizer(TokenizerRecipe(trainer="extend", new_tokens=64), target, tmp_path / "x", base_folder("byte_level"), english)
    metrics = read(out, "metrics.json")
    base = metrics["base"]
    assert metrics["target"]["bytes"] == base["target"]["bytes"] and metrics["english"]["bytes"] == base["english"]["bytes"]
    assert metrics["target"]["bytes_per_token"] > 1.3 * base["target"]["bytes_per_token"]
    assert metrics["target"]["fertility"] < base["target"]["fertility"]
    assert metrics["target"]["continued_words"] < base["target"]["continued_words"]
    assert metrics["parallel"]["premium"] < base["parallel"]["premium"]
    assert metrics["parallel"]["byte_premium"] == base["parallel"]["byte_premium"]
    assert metrics["tokens_per_base_token"] == pytest.approx(metrics["target"]["tokens"] / base["target"]["tokens"], abs=1e-6)
    assert 0.85 <= metrics["english_identical"] < 1
    low, high = metrics["target"]["bytes_per_token_interval"]
    assert low < metrics["target"]["bytes_per_token"] < high


@pytest.mark.parametrize("kind", ["byte_level", "sp_bpe", "unigram", "wordpiece"])
def test_a_replacement_keeps_special_tokens_roles_template_and_habit(
    kind: str, base_folder: Callable[[str], Path], target: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "base"
    folder.mkdir()
    for path in base_folder(kind).iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "chat_template.jinja").write_text("{% for m in messages %}{{ m.content }}{% endfor %}")
    out = build_tokenizer(BPE, target, tmp_path / "out", folder)
    base, made = load_base(folder), load_base(out)
    assert [special.content for special in made.specials] == [special.content for special in base.specials]
    assert base.roles.items() <= made.roles.items()
    assert made.roles["bos_token"] == base.roles.get("bos_token", base.roles.get("cls_token"))
    assert (made.prefix, made.suffix) == (base.prefix, base.suffix)
    loaded = AutoTokenizer.from_pretrained(out)
    assert loaded.chat_template == (folder / "chat_template.jinja").read_text()
    assert set(loaded.all_special_tokens) >= {special.content for special in base.specials}
    ids = loaded("mäki lõuna")["input_ids"]
    assert ids.count(loaded.bos_token_id) == (1 if base.prefix else 0)


OPEN, CLOSE = "<think>", "</think>"
CHAT = (
    "{% for m in messages %}<|begin|>{{ m.role }}\n{% if m.tool_calls %}<tool_call>{{ m.tool_calls }}</tool_call>{% endif %}"
    "{% if m.reasoning_content %}{{ '<' + 'think>' + m.reasoning_content + '</' + 'think>' }}{% endif %}{{ m.content }}{% endfor %}"
)
OTHER = "{% if messages[0].role != 'system' %}{{ raise_exception('a system message, please') }}{% endif %}[{{ tools | length }}]"


@pytest.mark.parametrize(
    ("trainer", "size"), [("bpe", 640), ("sp_bpe", 640), ("unigram", 512), ("wordpiece", 900), ("less_is_better", 640), ("byte", 264)]
)
def test_added_tokens_that_a_template_writes_are_kept(
    trainer: str, size: int, base_folder: Callable[[str], Path], target: Path, tmp_path: Path
) -> None:
    tokenizer = PreTrainedTokenizerFast.from_pretrained(base_folder("byte_level"))
    tokenizer.add_tokens([AddedToken(name, normalized=False) for name in (OPEN, CLOSE, "<tool_call>", "</tool_call>", "<fim>", "\n\n")])
    tokenizer.chat_template = {"default": CHAT, "tool_use": OTHER}
    tokenizer.save_pretrained(tmp_path / "base")
    recipe = TokenizerRecipe(trainer=trainer, **({} if trainer == "byte" else {"vocab_size": size}))
    out = build_tokenizer(recipe, target, tmp_path / "out", tmp_path / "base")
    made = AutoTokenizer.from_pretrained(out)
    assert made.chat_template == tokenizer.chat_template
    for name in (OPEN, CLOSE, "<tool_call>", "</tool_call>"):
        (number,) = made(name, add_special_tokens=False)["input_ids"]
        assert made.convert_ids_to_tokens(number) == name
        assert made.decode([number], skip_special_tokens=True) == name, "it is not special: decoding shows it"
    assert "<fim>" not in made.get_vocab() and "\n\n" not in made.added_tokens_encoder
    assert len(made) == size
    chat = made.apply_chat_template([{"role": "assistant", "content": "ja", "reasoning_content": "nu"}], tokenize=False)
    assert chat.count(OPEN) == 1 and made(chat)["input_ids"].count(made.convert_tokens_to_ids(OPEN)) == 1


def test_copying_a_tokenizer_copies_every_template(base_folder: Callable[[str], Path], target: Path, tmp_path: Path) -> None:
    tokenizer = PreTrainedTokenizerFast.from_pretrained(base_folder("byte_level"))
    tokenizer.chat_template = {"default": CHAT, "tool_use": OTHER, "rag": OTHER}
    tokenizer.save_pretrained(tmp_path / "base")
    for trainer, more in (("original", {}), ("extend", {"new_tokens": 32})):
        out = build_tokenizer(TokenizerRecipe(trainer=trainer, **more), target, tmp_path / trainer, tmp_path / "base")
        assert AutoTokenizer.from_pretrained(out).chat_template == tokenizer.chat_template


@pytest.mark.parametrize("flag", [None, False, True])
@pytest.mark.parametrize("in_file", [False, True])
def test_bos_is_added_as_loading_the_base_adds_it(
    flag: bool | None, in_file: bool, base_folder: Callable[[str], Path], target: Path, tmp_path: Path
) -> None:
    tokenizer = Tokenizer.from_file(str(base_folder("byte_level") / "tokenizer.json"))
    begin = tokenizer.token_to_id("<|begin|>")
    if in_file:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<|begin|> $A", pair="<|begin|> $A $B", special_tokens=[("<|begin|>", begin)]
        )
    config = {"bos_token": "<|begin|>", "eos_token": "<|end|>"} | ({} if flag is None else {"add_bos_token": flag})
    folder = tmp_path / "base"
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    expected = AutoTokenizer.from_pretrained(folder)("a")["input_ids"].count(begin)
    assert expected == in_file  # the flags do nothing beside a tokenizer.json
    for recipe in (BPE, TokenizerRecipe(trainer="extend", new_tokens=32)):
        out = build_tokenizer(recipe, target, tmp_path / recipe.trainer, folder)
        loaded = AutoTokenizer.from_pretrained(out)
        assert loaded("a")["input_ids"].count(loaded.bos_token_id) == expected


@given(st.text(max_size=60))
@settings(max_examples=300, deadline=None)
def test_any_text_survives_the_round_trip(own_tokenizer: Tokenizer, text: str) -> None:
    assert round_trip(own_tokenizer, [text, " " + text, text + "\r\n"]).failed == []


def test_digits_are_single_and_marks_and_joiners_stay_in_words(own: Path) -> None:
    splitter = Tokenizer.from_file(str(own / "tokenizer.json")).pre_tokenizer

    def words(text: str) -> list[str]:
        return [text[start:end] for _, (start, end) in splitter.pre_tokenize_str(text)]

    assert words("im Jahr 2024: 3,5") == ["im", " Jahr", " ", "2", "0", "2", "4", ":", " ", "3", ",", "5"]
    assert words("हिन्दी में ශ්\u200dරී می\u200cخواهم") == ["हिन्दी", " में", " ශ්\u200dරී", " می\u200cخواهم"]
    assert words("Zelle (A)\n\n  x") == ["Zelle", " (", "A", ")\n\n", " ", " x"]


def test_same_artifact_under_another_hash_seed_and_thread_count(
    base_folder: Callable[[str], Path], target: Path, english: Path, tmp_path: Path
) -> None:
    code = (
        "import sys; from pathlib import Path as P; from tokgraft.config.tokenizer import TokenizerRecipe as R\n"
        "from tokgraft.tokenizers.build import build_tokenizer as b\n"
        "c, e, base, out = map(P, sys.argv[1:]); b(R(trainer='bpe', vocab_size=640), c, out / 'bpe', base, e)\n"
        "b(R(trainer='extend', new_tokens=64), c, out / 'extend', base, e)"
    )
    prints = []
    for seed, threads in (("1", "1"), ("2", "4")):
        out = tmp_path / seed
        subprocess.run(
            [sys.executable, "-c", code, target, english, base_folder("byte_level"), out], check=True, capture_output=True,
            env={**os.environ, "PYTHONHASHSEED": seed, "RAYON_NUM_THREADS": threads, "PYTHONPATH": str(ROOT / "src")},
        )  # fmt: skip
        prints.append((artifacts.fingerprint(out / "bpe"), artifacts.fingerprint(out / "extend")))
    assert prints[0] == prints[1]


def test_the_original_is_copied_byte_for_byte_and_only_reported_on(
    base_folder: Callable[[str], Path], target: Path, tmp_path: Path
) -> None:
    folder = base_folder("unigram")  # NFKC: some texts do not survive
    out = build_tokenizer(TokenizerRecipe(trainer="original"), target, tmp_path / "out", folder)
    assert (out / "tokenizer.json").read_bytes() == (folder / "tokenizer.json").read_bytes()
    assert read(out, "audit.json")["round_trip"]["failed"] > 0
    assert read(out, "metrics.json")["base"] is None


@pytest.mark.parametrize(
    ("recipe", "error", "message"),
    [
        ({"trainer": "bep", "vocab_size": 640}, ConfigError, "did you mean bpe"),
        ({"trainer": "bpe"}, ConfigError, "vocab_size"),
        ({"trainer": "bpe", "vocab_size": 259}, TokenizerError, "3 special tokens and 256 bytes"),
        ({"trainer": "bpe", "vocab_size": 640, "new_tokens": 3}, ConfigError, "no new_tokens"),
        ({"trainer": "bpe", "vocab_size": 640, "max_train_bytes": 3_000_000_000}, ConfigError, "overflow"),
        ({"trainer": "bpe", "vocab_size": 9000}, TokenizerError, r"supports \d+ tokens"),
        ({"trainer": "original"}, TokenizerError, "no base"),
        ({"trainer": "extend", "new_tokens": 64}, TokenizerError, "no base"),
    ],
)
def test_recipes_that_cannot_work(recipe: dict[str, object], error: type[Exception], message: str, target: Path, tmp_path: Path) -> None:
    with pytest.raises(error, match=message):
        build_tokenizer(TokenizerRecipe.parse(recipe, "here"), target, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_missing_inputs(target: Path, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="does not exist"):
        build_tokenizer(BPE, tmp_path / "none", tmp_path / "out")
    base = tmp_path / "base"
    base.mkdir()
    (base / "x").write_text("")
    with pytest.raises(TokenizerError, match=r"no tokenizer\.json"):
        build_tokenizer(BPE, target, tmp_path / "out", base=base)
    (base / "tokenizer.json").write_text('{"version": "1.0", "mod')
    with pytest.raises(TokenizerError, match="not JSON"):
        build_tokenizer(BPE, target, tmp_path / "out", base=base)


@pytest.fixture
def lossy_trainer() -> Iterator[str]:
    """A trainer whose tokenizer lower-cases, which the gates must refuse."""

    def train(texts: Sequence[str], recipe: TokenizerRecipe, base: Base | None) -> Files:
        files = TRAINERS.get("bpe").train(texts, recipe, base)
        tokenizer = Tokenizer.from_str(files["tokenizer.json"].decode())
        tokenizer.normalizer = normalizers.Lowercase()
        return {**files, "tokenizer.json": tokenizer.to_str().encode()}

    TRAINERS.add("lossy", Trainer(lambda recipe, base: None, train))
    yield "lossy"
    del TRAINERS._things["lossy"]


def test_a_broken_gate_leaves_no_artifact(lossy_trainer: str, target: Path, tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match="do not survive the round trip"):
        build_tokenizer(TokenizerRecipe(trainer=lossy_trainer, vocab_size=640), target, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_the_cap_on_training_text_counts(target: Path, tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match="supports") as small:
        build_tokenizer(TokenizerRecipe(trainer="bpe", vocab_size=9000, max_train_bytes=2000), target, tmp_path / "a")
    with pytest.raises(TokenizerError, match="supports") as large:
        build_tokenizer(TokenizerRecipe(trainer="bpe", vocab_size=9000), target, tmp_path / "b")
    assert small.value.what < large.value.what and small.value.what != large.value.what


def test_the_command(target: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--corpus", str(target), "--out", str(tmp_path / "out")]
    assert main(["tokenizer", "--settings", '{"trainer": "bpe", "vocab_size": 640}', *arguments]) == 0
    logged = capsys.readouterr().err
    assert "bytes/token" in logged and "out on tst_Latn" in logged
    assert main(["tokenizer", "--settings", '{"trainer": "bpe", "vocabulary": 640}', *arguments]) == 2
    assert "vocab_size" in capsys.readouterr().err


def test_every_shipped_recipe_is_valid() -> None:
    for slug in slugs("tokenizers", ROOT / "config"):
        recipe = TokenizerRecipe.load(slug, ROOT / "config")
        assert recipe.trainer in TRAINERS.names()
        assert recipe.vocab_size is None or recipe.vocab_size % 128 == 0
        assert recipe.new_tokens is None or recipe.new_tokens % 64 == 0
