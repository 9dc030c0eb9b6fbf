from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

from tokgraft.errors import ModelError, TokenizerError
from tokgraft.models.io import check_model, load_model, load_tokenizer, save_model

TEXT = ["A style is a set of 12 formats.", "Choose Insert - Cell Range (Ctrl+F3) to name a range."]


@pytest.mark.parametrize("shape", ["tied_llama", "untied_llama", "gpt2", "neox", "gptj", "bert"])
def test_save_and_load_keep_every_bit(shape, tiny, tokenizer, tmp_path):
    model = tiny(shape, len(tokenizer))
    save_model(model, tokenizer, tmp_path)
    again, tokenizer_again = load_model(tmp_path), load_tokenizer(tmp_path)
    assert type(again) is type(model)
    assert not again.training
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in model.state_dict().items())
    ids = torch.tensor([tokenizer(TEXT[0]).input_ids])
    assert torch.equal(model(ids).logits, again(ids).logits)
    assert tokenizer_again.backend_tokenizer.to_str() == tokenizer.backend_tokenizer.to_str()
    check_model(again, tokenizer_again)


def test_plain_transformers_loads_the_folder(saved, tokenizer):
    model = AutoModelForCausalLM.from_pretrained(saved)
    auto = AutoTokenizer.from_pretrained(saved)
    assert auto.backend_tokenizer.to_str() == tokenizer.backend_tokenizer.to_str()
    ids = auto(TEXT[1], return_tensors="pt").input_ids
    assert auto.decode(ids[0]) == TEXT[1]
    made = model.generate(input_ids=ids, max_new_tokens=3, do_sample=False)
    assert made.shape[0] == 1 and ids.shape[1] < made.shape[1] <= ids.shape[1] + 3


def test_tokenizer_class_in_the_config_does_not_replace_the_pre_tokenizer(saved, tokenizer):
    path = saved / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "tokenizer_class": "GPT2Tokenizer"}))
    named = AutoTokenizer.from_pretrained(saved)
    assert repr(named.backend_tokenizer.pre_tokenizer) != repr(tokenizer.backend_tokenizer.pre_tokenizer)  # why AutoTokenizer is not used
    assert load_tokenizer(saved).backend_tokenizer.to_str() == tokenizer.backend_tokenizer.to_str()


SAVE = """
import sys, torch
from pathlib import Path
from tokgraft.models.io import load_model, load_tokenizer, save_model
save_model(load_model(Path(sys.argv[1])), load_tokenizer(Path(sys.argv[1])), Path(sys.argv[2]))
"""


def test_another_process_with_another_hash_seed_saves_the_same_bytes(saved, tmp_path):
    folder = tmp_path / "elsewhere" / "again"
    environment = {**os.environ, "PYTHONHASHSEED": "3"}
    subprocess.run([sys.executable, "-c", SAVE, str(saved), str(folder)], check=True, env=environment)
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert files == {path.name: path.read_bytes() for path in saved.iterdir()}
    assert not any(str(tmp_path).encode() in content for content in files.values())


def test_saved_files_are_readable_for_others(saved):
    assert {path.stat().st_mode & 0o777 for path in saved.iterdir()} == {0o644}


def test_half_precision_is_written_as_float32(tiny, tokenizer, tmp_path):
    model = tiny("tied_llama", len(tokenizer))
    expected = {name: tensor.to(torch.bfloat16).float() for name, tensor in model.state_dict().items()}
    save_model(model.to(torch.bfloat16), tokenizer, tmp_path)
    again = load_model(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["dtype"] == "float32"
    assert all(torch.equal(again.state_dict()[name], tensor) for name, tensor in expected.items())


def test_special_ids_follow_the_tokenizer(tiny, tokenizer, tmp_path):
    model = tiny("tied_llama", len(tokenizer), bos_token_id=7, eos_token_id=8, pad_token_id=9)
    model.generation_config.eos_token_id = [8, 12]
    save_model(model, tokenizer, tmp_path)
    for name in ("config.json", "generation_config.json"):
        content = json.loads((tmp_path / name).read_text())
        assert [content[key] for key in ("bos_token_id", "eos_token_id", "pad_token_id")] == [0, 1, 2]


def test_several_stop_ids_are_kept_when_the_end_token_is_among_them(tiny, tokenizer, tmp_path):
    model = tiny("tied_llama", len(tokenizer))
    model.generation_config.eos_token_id = [1, 12]
    save_model(model, tokenizer, tmp_path)
    assert load_model(tmp_path).generation_config.eos_token_id == [1, 12]


def test_contradictory_generation_config_does_not_stop_saving(tiny, tokenizer, tmp_path):
    model = tiny("tied_llama", len(tokenizer))
    model.generation_config.update(do_sample=False, temperature=0.6)
    save_model(model, tokenizer, tmp_path)
    assert "temperature" not in json.loads((tmp_path / "generation_config.json").read_text())


def test_every_row_learns_although_the_config_names_a_pad_token(tiny, tokenizer, tmp_path):
    save_model(tiny("untied_llama", len(tokenizer)), tokenizer, tmp_path)
    model = load_model(tmp_path)
    ids = torch.tensor([[0, 2, 5]])
    model(ids, labels=ids).loss.backward()
    assert model.get_input_embeddings().weight.grad[2].abs().sum() > 0


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "consolidated.00.pth"])
def test_pickled_weights_are_refused_unopened(saved, name):
    (saved / "model.safetensors").unlink()
    (saved / name).write_bytes(b"cos\nsystem\n(S'touch /tmp/never'\ntR.")
    with pytest.raises(ModelError, match="only pickled weights") as caught:
        load_model(saved)
    assert name in str(caught.value) and "save_pretrained" in str(caught.value)


def test_missing_and_empty_folders_are_named(tmp_path, saved):
    with pytest.raises(ModelError, match="does not exist"):
        load_model(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match=r"no config\.json"):
        load_model(tmp_path / "empty")
    with pytest.raises(TokenizerError, match="does not exist"):
        load_tokenizer(tmp_path / "nowhere")
    with pytest.raises(TokenizerError, match="cannot be read"):
        load_tokenizer(tmp_path / "empty")
    (saved / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="no weights"):
        load_model(saved)


def test_truncated_weights_are_an_error(saved):
    path = saved / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ModelError, match="cannot be read"):
        load_model(saved)


def test_absent_tensors_are_an_error_and_not_random_numbers(saved):
    from safetensors.torch import load_file
    from safetensors.torch import save_file as write

    tensors = load_file(saved / "model.safetensors")
    del tensors["model.layers.1.mlp.up_proj.weight"]
    write(tensors, saved / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"1 weights are missing.*layers\.1\.mlp\.up_proj"):
        load_model(saved)


def test_rows_that_do_not_fit_the_config_are_an_error(saved):
    path = saved / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "vocab_size": 310}))
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_model(saved)


def test_damaged_tokenizer_is_an_error(saved):
    path = saved / "tokenizer.json"
    path.write_text(path.read_text()[:1000])
    with pytest.raises(TokenizerError, match=r"tokenizer\.json is not JSON"):
        load_tokenizer(saved)


def test_code_in_the_folder_is_not_run_unless_asked(saved):
    mark = saved / "ran"
    (saved / "modeling_own.py").write_text(
        f"open({str(mark)!r}, 'w').close()\n"
        "from transformers import LlamaConfig, LlamaForCausalLM\n"
        "class OwnConfig(LlamaConfig):\n    model_type = 'own_llama'\n"
        "class OwnModel(LlamaForCausalLM):\n    config_class = OwnConfig\n"
    )
    path = saved / "config.json"
    own = {
        "model_type": "own_llama",
        "architectures": ["OwnModel"],
        "auto_map": {"AutoConfig": "modeling_own.OwnConfig", "AutoModelForCausalLM": "modeling_own.OwnModel"},
    }
    path.write_text(json.dumps({**json.loads(path.read_text()), **own}))
    with pytest.raises(ModelError, match="its own Python code, which is not run") as caught:
        load_model(saved)
    assert not mark.exists()
    assert "trust_remote_code" in str(caught.value)


def test_tokenizer_of_another_model_has_ids_without_a_row(tiny, tokenizer):
    bigger = PreTrainedTokenizerFast(tokenizer_object=tokenizer.backend_tokenizer, bos_token="<s>", eos_token="</s>", pad_token="<pad>")
    bigger.add_tokens(["§§new§§"])
    with pytest.raises(ModelError, match=r"1 tokens without a row.*§§new§§"):
        save_model(tiny("tied_llama", len(tokenizer)), bigger, Path("unused"))
