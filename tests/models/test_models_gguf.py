from __future__ import annotations

import json
from typing import Any

import gguf
import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

from tokgraft.errors import ModelError, TokenizerError
from tokgraft.models.gguf_file import read_header
from tokgraft.models.io import check_model, load_model, load_tokenizer, save_model
from toygguf import SHAPE, write


@pytest.fixture
def llama(tokenizer):
    torch.manual_seed(3)
    return LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), tie_word_embeddings=True, **SHAPE)).eval()


def test_float_file_gives_the_original_back(llama, tokenizer, tmp_path):
    path = write(tmp_path / "a.gguf", llama, tokenizer)
    again = load_model(path)
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in llama.state_dict().items())
    ids = torch.tensor([[0, 20, 30, 40]])
    assert torch.equal(again(ids).logits, llama(ids).logits)
    assert again.config.rms_norm_eps == 1e-5 and again.config.max_position_embeddings == 128
    check_model(again, load_tokenizer(path))


def test_untied_file_keeps_its_head(tokenizer, tmp_path):
    model = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), tie_word_embeddings=False, **SHAPE))
    again = load_model(write(tmp_path / "a.gguf", model, tokenizer))
    assert not again.config.tie_word_embeddings
    assert torch.equal(again.lm_head.weight, model.lm_head.weight)
    check_model(again, tokenizer)


@pytest.mark.parametrize("kind", ["Q8_0", "Q4_1", "Q4_0", "F16"])
def test_blocks_are_dequantised_as_transformers_does(llama, tokenizer, tmp_path, kind):
    path = write(tmp_path / "a.gguf", llama, tokenizer, kind=gguf.GGMLQuantizationType[kind])
    ours = load_model(path).state_dict()
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="a.gguf", dtype=torch.float32).state_dict()
    assert ours.keys() == theirs.keys()
    assert max((ours[name] - theirs[name]).abs().max().item() for name in ours) == 0.0
    assert 0 < max((ours[name] - tensor).abs().max().item() for name, tensor in llama.state_dict().items()) < 0.05


def test_other_architectures_go_through_transformers_and_can_be_saved(tokenizer, tmp_path):
    torch.manual_seed(0)
    model = Qwen2ForCausalLM(Qwen2Config(vocab_size=len(tokenizer), tie_word_embeddings=False, **SHAPE)).eval()
    path = write(tmp_path / "q.gguf", model, tokenizer, arch="qwen2", pre="gpt-2", kind=gguf.GGMLQuantizationType.F16)
    again = load_model(path)
    assert type(again) is Qwen2ForCausalLM
    torch.testing.assert_close(
        again.state_dict(), {name: tensor.half().float() if tensor.ndim == 2 else tensor for name, tensor in model.state_dict().items()}
    )
    save_model(again, tokenizer, tmp_path / "saved")
    assert "quantization_config" not in json.loads((tmp_path / "saved" / "config.json").read_text())
    assert torch.equal(load_model(tmp_path / "saved").lm_head.weight, again.lm_head.weight)


def test_digits_are_isolated_when_the_published_tokenizer_does_so(llama, tokenizer, tmp_path):
    isolating = load_tokenizer(write(tmp_path / "a.gguf", llama, tokenizer, pre="smollm"))
    plain = load_tokenizer(write(tmp_path / "b.gguf", llama, tokenizer, pre="gpt-2"))

    def words(found: Any) -> list[str]:
        return [word for word, _ in found.backend_tokenizer.pre_tokenizer.pre_tokenize_str("in 2024²")]

    assert words(isolating) == ["in", "Ġ", "2", "0", "2", "4", "Â²"]
    assert words(plain) == ["in", "Ġ2024Â²"]
    assert isolating.get_vocab() == plain.get_vocab() == tokenizer.get_vocab()
    assert isolating.all_special_ids == [0, 1, 2] and isolating.chat_template == "{{ messages[0]['content'] }}"
    for text in ("Größe 12, Ελληνικά\n\n x", "\t"):
        assert isolating.decode(isolating(text).input_ids) == text
    assert isolating("<s>x</s>").input_ids[0] == 0


def test_unknown_pre_tokenizer_is_not_guessed(llama, tokenizer, tmp_path):
    with pytest.raises(TokenizerError, match="pre-tokenizer 'of-tomorrow' is not known") as caught:
        load_tokenizer(write(tmp_path / "a.gguf", llama, tokenizer, pre="of-tomorrow"))
    assert "--tokenizer" in str(caught.value)


def test_scaled_rotary_positions_are_refused(llama, tokenizer, tmp_path):
    with pytest.raises(ModelError, match="scaled rotary positions"):
        load_model(write(tmp_path / "a.gguf", llama, tokenizer, rope__scaling__type="yarn"))


@pytest.mark.parametrize("share", [0.0, 0.01, 0.2, 0.6, 0.999])
def test_truncated_file_is_an_error(llama, tokenizer, tmp_path, share):
    path = write(tmp_path / "a.gguf", llama, tokenizer)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ModelError, match=r"shorter than|cannot be read as GGUF|not a GGUF") as caught:
        load_model(path)
    assert str(path) in str(caught.value)


def test_header_tells_shapes_in_the_order_of_torch(llama, tokenizer, tmp_path):
    header = read_header(write(tmp_path / "a.gguf", llama, tokenizer))
    assert header.architecture == "llama"
    assert header.tensors["token_embd.weight"].shape == (len(tokenizer), 64)
    assert header.tensors["blk.1.ffn_down.weight"].shape == (64, 96)


def test_something_else_is_not_a_gguf_file(tmp_path):
    (tmp_path / "x.gguf").write_bytes(b"PK\x03\x04" + bytes(100))
    with pytest.raises(ModelError, match="not a GGUF file"):
        load_model(tmp_path / "x.gguf")
    with pytest.raises(ModelError, match="does not exist"):
        load_model(tmp_path / "y.gguf")
