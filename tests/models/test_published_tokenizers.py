"""Tokenizers as people publish them: what plain AutoTokenizer makes of a written folder, roles that no file names, several chat templates."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerFast

import toys
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers
from tokgraft.errors import TokenizerError
from tokgraft.models import tokenizer_io
from tokgraft.models.io import load_tokenizer, save_model
from tokgraft.models.tokenizer_io import CODE, SAMPLES, save_tokenizer
from tokgraft.tokenizers.base import load_base

NASTY = ("Größe ändern!", "x\u0301 \ufb01 \u00a0 \u2028", "a<|endoftext|>b <s>", *SAMPLES)


def folder_of(place: Path, model_type: str) -> Path:
    place.mkdir(parents=True, exist_ok=True)
    (place / "config.json").write_text(json.dumps({"model_type": model_type}))
    return place


# --- what AutoTokenizer makes of it ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", toys.KINDS)
@pytest.mark.parametrize("model_type", ["qwen2", "siglip2", "qwen3", "llama", "gemma", "gpt2", "bert"])
def test_plain_autotokenizer_gives_the_ids_of_the_file(model_type: str, kind: str, tmp_path: Path) -> None:
    tokenizer = toys.tokenizer(kind)
    save_tokenizer(tokenizer, folder_of(tmp_path, model_type))
    auto = AutoTokenizer.from_pretrained(tmp_path)
    assert auto.get_vocab() == tokenizer.get_vocab(), "no ids beside the rows of the table"
    assert (auto.bos_token, auto.eos_token, auto.pad_token) == (tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token)
    for text in NASTY:
        ids = tokenizer(text)["input_ids"]
        assert auto(text)["input_ids"] == ids
        assert auto.decode(ids) == tokenizer.decode(ids)
    again = load_tokenizer(tmp_path, trust_remote_code=True)
    assert again.backend_tokenizer.to_str() == tokenizer.backend_tokenizer.to_str()
    written = (tmp_path / "tokenizer_config.json").read_bytes()
    save_tokenizer(load_tokenizer(tmp_path), tmp_path)
    assert (tmp_path / "tokenizer_config.json").read_bytes() == written, "the same after another round"


def test_a_class_that_cannot_be_kept_off_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokenizer_io, "NEUTRAL", "Qwen2Tokenizer")  # as if transformers took it whatever is named
    with pytest.raises(TokenizerError, match=r"AutoTokenizer makes another tokenizer .* Qwen2Tokenizer"):
        save_tokenizer(toys.tokenizer("unigram"), folder_of(tmp_path, "qwen2"))


def test_no_code_is_named_where_the_class_is_enough(tmp_path: Path) -> None:
    save_tokenizer(toys.tokenizer("unigram"), folder_of(tmp_path / "llama", "llama"))
    save_tokenizer(toys.tokenizer("unigram"), folder_of(tmp_path / "qwen2", "qwen2"))
    assert CODE not in (tmp_path / "llama" / "tokenizer_config.json").read_text()
    assert CODE in (tmp_path / "qwen2" / "tokenizer_config.json").read_text()


# --- roles ---------------------------------------------------------------------------------------------------------------


def bare(place: Path, model_type: str, tokens: dict[str, bool], **config: object) -> Path:
    """A folder whose tokenizer_config.json names no role, with these added tokens (whether special)."""
    backend = Tokenizer(models.BPE(vocab={letter: number for number, letter in enumerate(pre_tokenizers.ByteLevel.alphabet())}, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    for token, special in tokens.items():
        backend.add_tokens([AddedToken(token, special=special, normalized=False)])
    folder_of(place, model_type)
    backend.save(str(place / "tokenizer.json"))
    (place / "tokenizer_config.json").write_text('{"model_max_length": 1024}')
    (place / "config.json").write_text(json.dumps({"model_type": model_type, **config}))
    return place


def roles(tokenizer: PreTrainedTokenizerFast) -> dict[str, str]:
    return {role: token for role in ("bos", "eos", "pad", "unk", "cls", "sep") if (token := getattr(tokenizer, f"{role}_token"))}


END = "<|endoftext|>"
CASES = {
    "gpt2": (("gpt2", {END: True}), {}, {"bos": END, "eos": END, "unk": END}),
    "roberta": (
        ("roberta", {"<s>": True, "</s>": True, "<pad>": True, "<unk>": True, "<mask>": True}), {},
        {"bos": "<s>", "eos": "</s>", "pad": "<pad>", "unk": "<unk>", "cls": "<s>", "sep": "</s>"},
    ),
    "ids": (("llama", {"<go>": True, "<stop>": False}), {"bos_token_id": 256, "eos_token_id": [257, 256]}, {"bos": "<go>", "eos": "<stop>"}),
    "class, then ids": (("gpt2", {END: True, "<pad>": True}), {"pad_token_id": 257}, {"bos": END, "eos": END, "unk": END, "pad": "<pad>"}),
    "text": (("llama", {}), {"bos_token_id": 1, "eos_token_id": 2}, {}),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_roles_that_no_file_names(case: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (model_type, tokens), config, expected = CASES[case]
    folder = bare(tmp_path / "base", model_type, tokens, **config)
    with caplog.at_level("DEBUG", logger="tokgraft"):
        tokenizer = load_tokenizer(folder)
    assert roles(tokenizer) == expected
    assert len(tokenizer) == 256 + len(tokens), "a token that the file lacks is not invented"
    assert all(token in caplog.text for token in expected.values()), "what was assumed is in the log"
    found = {role.removesuffix("_token"): token for role, token in load_base(folder).roles.items() if role != "mask_token"}
    assert found == expected, "the tokenizer stage reads the same"
    save_tokenizer(tokenizer, folder_of(tmp_path / "again", model_type))
    assert roles(load_tokenizer(tmp_path / "again")) == expected


def test_files_that_name_roles_are_all_that_counts(tmp_path: Path) -> None:
    folder = bare(tmp_path, "gpt2", {END: True, "<stop>": True})
    (folder / "tokenizer_config.json").write_text('{"eos_token": "<stop>", "bos_token": null}')
    assert roles(load_tokenizer(folder)) == {"eos": "<stop>"}


# --- chat templates ------------------------------------------------------------------------------------------------------

TEMPLATES = {"default": "{% for m in messages %}{{ m.content }}{% endfor %}", "tool_use": "{{ tools }}", "rag": "{{ documents }}"}


@pytest.mark.parametrize("names", [["default"], ["default", "tool_use"], ["default", "tool_use", "rag"]])
def test_every_chat_template_is_loaded_and_saved(names: list[str], tmp_path: Path) -> None:
    templates = {name: TEMPLATES[name] for name in names}
    tokenizer = toys.tokenizer("byte_level")
    published = PreTrainedTokenizerFast(tokenizer_object=tokenizer.backend_tokenizer, eos_token="<|end|>")
    published.chat_template = templates if len(names) > 1 else templates["default"]
    published.save_pretrained(tmp_path / "published")
    model = toys.decoder(len(tokenizer), tied=True)
    save_model(model, load_tokenizer(tmp_path / "published"), tmp_path / "model")
    assert AutoTokenizer.from_pretrained(tmp_path / "model").chat_template == published.chat_template
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "model").rglob("*")}
    assert {mode for path, mode in modes.items() if path.is_file()} == {0o644}
    assert {mode for path, mode in modes.items() if path.is_dir()} <= {stat.S_IMODE((tmp_path / "model").stat().st_mode)}
