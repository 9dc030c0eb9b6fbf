"""Model files from elsewhere: no code of theirs runs, nothing outside their folder is read, and damage is one clear error."""

from __future__ import annotations

import ast
import json
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM

import foreign
from tokgraft.errors import ModelError, TokgraftError
from tokgraft.models.gguf import load_gguf_tokenizer
from tokgraft.models.io import load_model, load_tokenizer, save_model
from toygguf import SHAPE, write

SMALL = {**SHAPE, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1}
CODE = "open({mark!r}, 'w').close()\nfrom transformers import PreTrainedTokenizerFast\nclass Evil(PreTrainedTokenizerFast): pass\n"


@pytest.fixture
def gguf_file(tokenizer: Any, tmp_path: Path) -> Path:
    torch.manual_seed(3)
    model = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), tie_word_embeddings=True, **SMALL))
    return write(tmp_path / "a.gguf", model, tokenizer, pre="qwen2")  # a pre-tokenizer that transformers has to convert


@pytest.fixture
def folder(tokenizer: Any, tmp_path: Path) -> Path:
    torch.manual_seed(3)
    save_model(LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **SMALL)), tokenizer, tmp_path / "model")
    return tmp_path / "model"


def test_no_code_beside_a_gguf_file_runs_and_nobody_is_asked(gguf_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mark = tmp_path / "ran"
    (tmp_path / "evil.py").write_text(CODE.format(mark=str(mark)))
    auto = {"AutoTokenizer": [None, "evil.Evil"], "AutoConfig": "evil.Evil", "AutoModelForCausalLM": "evil.Evil"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "Evil", "auto_map": auto}))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama", "auto_map": auto}))
    asked: list[object] = []
    monkeypatch.setattr("builtins.input", lambda *text: asked.append(text) or "y")
    assert len(load_gguf_tokenizer(gguf_file)) >= 300
    load_model(gguf_file)
    assert not mark.exists() and not asked


@pytest.mark.parametrize("read", [load_model, load_tokenizer])
def test_no_code_of_a_folder_runs_and_nobody_is_asked(folder: Path, read: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mark = tmp_path / "ran"
    (folder / "evil.py").write_text(CODE.format(mark=str(mark)))
    (folder / "tokenizer.json").unlink()
    for name, auto in (("config.json", {"AutoConfig": "evil.Evil"}), ("tokenizer_config.json", {"AutoTokenizer": [None, "evil.Evil"]})):
        facts = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps({**facts, "model_type": "of-tomorrow", "tokenizer_class": "Evil", "auto_map": auto}))
    asked: list[object] = []
    monkeypatch.setattr("builtins.input", lambda *text: asked.append(text) or "y")
    with pytest.raises(TokgraftError):
        read(folder)
    assert not mark.exists() and not asked


def test_every_call_of_an_auto_class_says_whether_code_may_run() -> None:
    """Without the argument transformers asks at the terminal, and "y" runs the code."""
    silent = []
    for path in sorted(Path("src/tokgraft").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("from_pretrained", "from_config"):
                of = ast.unparse(node.func.value)
                if of not in ("GenerationConfig", "PreTrainedTokenizerFast") and not {"trust_remote_code", None} & {
                    keyword.arg for keyword in node.keywords
                }:
                    silent.append(f"{path}:{node.lineno} {of}")
    assert not silent


# --- GGUF metadata ------------------------------------------------------------------------------------------------------


def entry(key: str, kind: int, value: bytes) -> bytes:
    return struct.pack("<Q", len(key)) + key.encode() + struct.pack("<I", kind) + value


def changed(path: Path, key: str, kind: int, value: bytes) -> None:
    """Put another value of a scalar key into a file, as long as the old one or not."""
    content = path.read_bytes()
    name = struct.pack("<Q", len(key)) + key.encode()
    at = content.index(name)
    old = {4: 4, 5: 4, 6: 4, 7: 1, 10: 8}[struct.unpack_from("<I", content, at + len(name))[0]]
    end = at + len(name) + 4 + old
    more = len(value) - old
    data = content[end:]
    if more:  # the tensors must stay aligned
        data = data[: -len(tensors(path))] if tensors(path) else data
        header = content[:at] + entry(key, kind, value) + data
        header += b"\0" * (-len(header) % 32)
        path.write_bytes(header + tensors(path))
        return
    path.write_bytes(content[:at] + entry(key, kind, value) + data)


def tensors(path: Path) -> bytes:
    from tokgraft.models.gguf_file import read_header

    return path.read_bytes()[min(tensor.offset for tensor in read_header(path).tensors.values()) :]


def number(value: int) -> tuple[int, bytes]:
    return 4, struct.pack("<I", value % 2**32)


@pytest.mark.parametrize(
    ("key", "kind", "value", "says"),
    [
        ("tokenizer.ggml.eos_token_id", 5, struct.pack("<i", -1), "the id of its eos token is -1"),
        ("tokenizer.ggml.bos_token_id", *number(-1), "the id of its bos token is 4294967295"),
        ("tokenizer.ggml.padding_token_id", *number(300), "the id of its pad token is 300, outside the 300 tokens"),
        ("tokenizer.ggml.eos_token_id", 7, b"\1", "the id of its eos token is True"),
        ("llama.attention.head_count", *number(0), "head_count is 0"),
        ("llama.attention.head_count", *number(3), "no width of a head|has shape|cannot share"),
        ("llama.attention.head_count_kv", *number(3), "cannot share"),
        ("llama.embedding_length", *number(2**30), "has shape"),
        ("llama.feed_forward_length", *number(2**31 - 1), "has shape"),
        ("llama.feed_forward_length", 6, struct.pack("<f", 1.5), "which is no int"),
        ("llama.block_count", *number(2**31), "block_count is 2147483648"),
        ("llama.block_count", *number(2), "has no tensor blk.1"),
        ("llama.context_length", *number(0), "context_length is 0"),
        ("llama.attention.layer_norm_rms_epsilon", 6, struct.pack("<f", float("nan")), "cannot be read as GGUF"),
        ("llama.attention.layer_norm_rms_epsilon", 6, struct.pack("<f", -1.0), "an epsilon of -1"),
        ("llama.rope.freq_base", 6, struct.pack("<f", 0.0), "base 0.0"),
        ("llama.rope.freq_base", 99, struct.pack("<f", 0.0), "cannot be read as GGUF"),
        ("llama.context_length", 8, struct.pack("<Q", 3) + b"abc", "which is no int"),
    ],
)  # fmt: skip
def test_metadata_that_cannot_be_is_refused(gguf_file: Path, key: str, kind: int, value: bytes, says: str) -> None:
    changed(gguf_file, key, kind, value)
    read = load_tokenizer if "token_id" in key else load_model
    with foreign.little_memory(), pytest.raises(ModelError, match=says) as caught:
        read(gguf_file)
    assert str(gguf_file) in str(caught.value)


def test_counts_larger_than_the_file_take_no_memory(gguf_file: Path) -> None:
    content = gguf_file.read_bytes()
    for at, width in ((8, 8), (16, 8), (24, 8)):  # tensors, keys, length of the first key
        for value in (2**63, 2**40, 2**31):
            gguf_file.write_bytes(content[:at] + value.to_bytes(width, "little") + content[at + width :])
            with foreign.little_memory(), pytest.raises(ModelError, match="cannot be read as GGUF"):
                load_model(gguf_file)


def test_a_damaged_gguf_file_is_read_or_refused(gguf_file: Path) -> None:
    content, weights = gguf_file.read_bytes(), tensors(gguf_file)
    content = content[: -len(weights)].replace(b"qwen2", b"gpt-2")  # read here, not by transformers, which would take long
    taken = 0
    with foreign.little_memory():
        for header in foreign.damaged(content, 120):
            gguf_file.write_bytes(header + weights)
            taken += foreign.survives(lambda: load_model(gguf_file)) + foreign.survives(lambda: load_tokenizer(gguf_file))
    assert 0 < taken < 240


# --- safetensors and config ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [torch.int8, torch.uint8, torch.float8_e4m3fn, torch.float8_e5m2, torch.int32])
def test_quantised_weights_without_their_scales_are_refused(folder: Path, kind: torch.dtype) -> None:
    state = load_file(folder / "model.safetensors")
    save_file({name: tensor.to(kind) if tensor.ndim == 2 else tensor for name, tensor in state.items()}, folder / "model.safetensors")
    with pytest.raises(ModelError, match=r"weight is stored as (I8|U8|F8_E4M3|F8_E5M2|I32): a quantised model"):
        load_model(folder)


@pytest.mark.parametrize("kind", [torch.float64, torch.bfloat16, torch.float16])
def test_other_floats_are_read(folder: Path, kind: torch.dtype) -> None:
    state = load_file(folder / "model.safetensors")
    save_file({name: tensor.to(kind) for name, tensor in state.items()}, folder / "model.safetensors", metadata={"format": "pt"})
    assert load_model(folder).get_input_embeddings().weight.dtype == torch.float32


@pytest.mark.parametrize("name", ["../elsewhere.safetensors", "/elsewhere.safetensors", "sub/x.safetensors", "x.bin", "absent.safetensors"])
def test_an_index_stays_in_its_folder(folder: Path, name: str) -> None:
    weights = folder / "model.safetensors"
    names = list(load_file(weights))
    weights.rename(folder / "part.safetensors")
    (folder.parent / "elsewhere.safetensors").write_bytes((folder / "part.safetensors").read_bytes())
    index = {"metadata": {}, "weight_map": {**dict.fromkeys(names, "part.safetensors"), names[0]: name}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelError, match=r"of its folder|which is missing"):
        load_model(folder)
    (folder / "model.safetensors.index.json").write_text(json.dumps({**index, "weight_map": dict.fromkeys(names, "part.safetensors")}))
    load_model(folder)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("num_hidden_layers", 10**9),
        ("vocab_size", 10**9),
        ("hidden_size", 2**40),
        ("vocab_size", "x"),
        ("transformers_weights", "../a.bin"),
    ],
)
def test_sizes_of_a_config_are_held_against_the_weights(folder: Path, key: str, value: Any) -> None:
    facts = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**facts, key: value}))
    with foreign.little_memory(), pytest.raises(ModelError):
        load_model(folder)


@pytest.mark.parametrize("name", ["config.json", "generation_config.json", "tokenizer_config.json"])
def test_a_misdescribed_folder_is_read_or_refused(folder: Path, name: str) -> None:
    facts = json.loads((folder / name).read_text())
    with foreign.little_memory():
        for content in foreign.misdescribed(facts, 40):
            (folder / name).write_bytes(content)
            foreign.survives(lambda: load_tokenizer(folder) if name.startswith("tokenizer") else load_model(folder))
