"""Token ids of configs in another vocabulary: the same tokens, whatever their ids."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForMaskedLM, PreTrainedTokenizerFast
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

import tokgraft
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from tokgraft.errors import UnsupportedError
from tokgraft.models.checks import align_special_ids
from tokgraft.models.ids import follow, settings_of
from tokgraft.models.io import load_model, load_tokenizer, save_model
from tokgraft.overlap import overlap
from tokgraft.vocab import Vocabulary

TURN = "<|end_of_turn|>"
LETTERS = [chr(code) for code in range(ord("a"), ord("z") + 1)]


def spoken(specials: list[str], roles: dict[str, str], more: tuple[str, ...] = ()) -> PreTrainedTokenizerFast:
    """A byte-level tokenizer: the special tokens first, then letters and `more`."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate([*specials, *alphabet, *more])}
    merges = [(token[0], token[1]) for token in more]
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(specials)
    return PreTrainedTokenizerFast(tokenizer_object=backend, **{f"{role}_token": token for role, token in roles.items()})


LAYOUTS = {
    "one token for all roles": (["<|endoftext|>"], {"bos": "<|endoftext|>", "eos": "<|endoftext|>", "pad": "<|endoftext|>"}),
    "llama": (["<unk>", "<s>", "</s>"], {"bos": "<s>", "eos": "</s>", "unk": "<unk>"}),
    "gemma": (["<pad>", "<eos>", "<bos>", TURN], {"bos": "<bos>", "eos": "<eos>", "pad": "<pad>"}),
    "chat": (["<|im_start|>", TURN, "<|endoftext|>"], {"eos": TURN, "pad": "<|endoftext|>"}),
}


def layout(name: str, more: tuple[str, ...] = ()) -> PreTrainedTokenizerFast:
    specials, roles = LAYOUTS[name]
    return spoken(specials, roles, more)


def moved(model: Any, old: PreTrainedTokenizerFast, new: PreTrainedTokenizerFast) -> dict[str, Any]:
    source, target = Vocabulary.from_tokenizer(old), Vocabulary.from_tokenizer(new)
    return {entry.where: entry for entry in follow(model, source, target, overlap(source, target))}


def made(kind: str, rows: int, **more: Any) -> Any:
    """A tiny model of an architecture."""
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32, "max_position_embeddings": 64}
    config = AutoConfig.for_model(kind, vocab_size=rows, **{**sizes, **more})
    return AutoModelForCausalLM.from_config(config)


GEMMA = LAYOUTS["gemma"]
OTHER = (["<bos>", TURN, "<pad>", "<tool>", "<eos>"], {"bos": "<bos>", "eos": "<eos>", "pad": "<pad>"})


def test_a_chat_model_keeps_every_stop_token(tiny):
    old, new = spoken(*GEMMA), spoken(*OTHER)
    model = tiny("tied_llama", len(old), bos_token_id=2, eos_token_id=[1, 3], pad_token_id=0)
    model.generation_config.eos_token_id = [1, 3]
    moved(model, old, new)
    assert model.config.eos_token_id == model.generation_config.eos_token_id == [4, 1]
    assert (model.config.bos_token_id, model.config.pad_token_id) == (0, 2)


def test_every_entry_that_names_tokens_is_mapped_by_token(tiny):
    old, new = spoken(*GEMMA, ("th",)), spoken(*OTHER, ("er", "th"))
    was, now = old.get_vocab(), new.get_vocab()
    model = tiny("tied_llama", len(old), bos_token_id=2, eos_token_id=1, pad_token_id=0)
    ids = ("th", "a")
    generation = model.generation_config
    generation.suppress_tokens = [was[token] for token in ids]
    generation.begin_suppress_tokens = [was["b"], 1]
    generation.bad_words_ids = [[was["a"], was["b"]], [was["th"]]]
    generation.sequence_bias = [[[was["a"], was["th"]], -2.0]]
    generation.forced_bos_token_id = generation.decoder_start_token_id = 2
    generation.forced_eos_token_id = 3
    generation.forced_decoder_ids = [[1, was["a"]], [2, 3]]
    model.config.image_token_id, model.config.eoi_token_index, model.config.stop_token_ids = 3, was["z"], [3]
    moved(model, old, new)
    assert generation.suppress_tokens == [now[token] for token in ids]
    assert generation.begin_suppress_tokens == [now["b"], now["<eos>"]]
    assert generation.bad_words_ids == [[now["a"], now["b"]], [now["th"]]]
    assert generation.sequence_bias == [[[now["a"], now["th"]], -2.0]]
    assert generation.forced_bos_token_id == generation.decoder_start_token_id == now["<bos>"]
    assert generation.forced_eos_token_id == now[TURN]
    assert generation.forced_decoder_ids == [[1, now["a"]], [2, now[TURN]]]
    assert (model.config.image_token_id, model.config.eoi_token_index, model.config.stop_token_ids) == (now[TURN], now["z"], [now[TURN]])


def test_a_bias_given_as_a_mapping_is_mapped_too(tiny):
    old, new = spoken(*GEMMA), spoken(*OTHER)
    model = tiny("tied_llama", len(old), eos_token_id=1)
    model.generation_config.sequence_bias = {(old.get_vocab()["a"], 3): 1.5}
    entry = moved(model, old, new)["generation_config.sequence_bias"]
    assert model.generation_config.sequence_bias == {(new.get_vocab()["a"], new.get_vocab()[TURN]): 1.5}
    assert json.loads(json.dumps(entry.facts()))["new"] == [[[new.get_vocab()["a"], new.get_vocab()[TURN]], 1.5]]


def test_what_the_new_vocabulary_lacks_is_left_out_and_named(tiny, caplog):
    old, new = spoken(*GEMMA, ("th",)), layout("llama")
    model = tiny("tied_llama", len(old), eos_token_id=[1, 3])
    model.generation_config.suppress_tokens = [old.get_vocab()["th"], old.get_vocab()["a"]]
    model.generation_config.bad_words_ids = [[old.get_vocab()["a"], 3], [old.get_vocab()["b"]]]
    entries = moved(model, old, new)
    assert model.config.eos_token_id == new.eos_token_id
    assert model.generation_config.suppress_tokens == [new.get_vocab()["a"]]
    assert model.generation_config.bad_words_ids == [[new.get_vocab()["b"]]], "a sequence without one of its tokens is another sequence"
    assert entries["config.eos_token_id"].dropped == {3: TURN}
    assert f"config.eos_token_id: {TURN!r} (3) is not in the new vocabulary and is left out" in caplog.text and "'th'" in caplog.text


@pytest.mark.parametrize("base", sorted(LAYOUTS))
@pytest.mark.parametrize("goal", sorted(LAYOUTS))
def test_roles_become_the_new_tokenizers(base, goal, tiny):
    old, new = layout(base), layout(goal)
    model = tiny("tied_llama", len(old), bos_token_id=old.bos_token_id, eos_token_id=old.eos_token_id, pad_token_id=old.pad_token_id)
    moved(model, old, new)
    for settings in (model.config, model.generation_config):
        stops = settings.eos_token_id if isinstance(settings.eos_token_id, list) else [settings.eos_token_id]
        assert stops[0] == new.eos_token_id and set(stops) <= set(new.all_special_ids) - {new.pad_token_id if goal == "gemma" else None}
        assert new.bos_token_id in (None, settings.bos_token_id) and new.pad_token_id in (None, settings.pad_token_id)


def test_one_token_of_the_base_that_is_several_in_the_target_ends_at_the_end_token_alone(tiny):
    old = layout("one token for all roles")
    new = spoken(["<s>", "<pad>", "</s>"], {"bos": "<s>", "eos": "</s>", "pad": "<pad>"})
    model = tiny("tied_llama", len(old), bos_token_id=0, eos_token_id=0, pad_token_id=0)
    model.generation_config.suppress_tokens = [0]
    moved(model, old, new)
    assert (model.config.bos_token_id, model.config.eos_token_id, model.config.pad_token_id) == (0, 2, 1)
    assert model.generation_config.suppress_tokens == [2]


STRICT = {
    "xglm": {"d_model": 16, "ffn_dim": 32, "num_layers": 1, "attention_heads": 2},
    "blenderbot": {"d_model": 16, "decoder_ffn_dim": 32, "encoder_ffn_dim": 32, "decoder_layers": 1, "encoder_layers": 1,
                   "decoder_attention_heads": 2, "encoder_attention_heads": 2},
    "modernbert-decoder": {},
    "cwm": {"num_key_value_heads": 2, "head_dim": 8},
    "nomic_bert": {"head_dim": 8},
    "trocr": {"d_model": 16, "decoder_ffn_dim": 32, "decoder_layers": 1, "decoder_attention_heads": 2},
}  # fmt: skip


@pytest.mark.parametrize("kind", sorted(STRICT))
def test_configs_whose_ids_may_not_be_empty(kind, tmp_path):
    """Their ids are tokens of the new vocabulary, or a token of the nearest role stands in."""
    old, new = spoken(*GEMMA), layout("llama")
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32, "max_position_embeddings": 64}
    given = dict.fromkeys(("decoder_start_token_id", "pad_token_id", "bos_token_id", "cls_token_id", "sep_token_id", "eos_token_id"), 3)
    config = CONFIG_MAPPING[kind](vocab_size=len(old), **{**sizes, **STRICT[kind], **given})
    auto = AutoModelForMaskedLM if kind == "nomic_bert" else AutoModelForCausalLM
    model = auto.from_config(config)
    moved(model, old, new)
    for _, settings in settings_of(model):
        held = {key: value for key, value in vars(settings).items() if key in given and value is not None}
        assert set(held.values()) <= set(new.all_special_ids), held
    model.config.save_pretrained(tmp_path)
    again = AutoConfig.from_pretrained(tmp_path)
    assert {key: getattr(again, key) for key in given if hasattr(again, key)} == {
        key: getattr(model.config, key) for key in given if hasattr(model.config, key)
    }


def test_strict_config_through_the_whole_stage(tmp_path):
    old, new = spoken(*GEMMA), layout("llama", ("th",))
    torch.manual_seed(0)
    config = CONFIG_MAPPING["xglm"](
        vocab_size=len(old), **STRICT["xglm"], pad_token_id=0, bos_token_id=2, eos_token_id=1, decoder_start_token_id=3
    )
    save_model(AutoModelForCausalLM.from_config(config), old, tmp_path / "base")
    new.save_pretrained(tmp_path / "new")
    out = tokgraft.transplant(model=tmp_path / "base", tokenizer=tmp_path / "new", method="mean", out=tmp_path / "out")
    again = AutoModelForCausalLM.from_pretrained(out)
    assert again.config.eos_token_id == new.eos_token_id and again.config.decoder_start_token_id in new.all_special_ids
    facts = json.loads((out / "transplant.json").read_text())["ids"]
    assert facts["config.decoder_start_token_id"] == {"old": 3, "new": new.bos_token_id, "dropped": {"3": TURN}}


def reading_images(old: PreTrainedTokenizerFast) -> Any:
    """A tiny Gemma 3 that reads images."""
    vocabulary, roles = old.get_vocab(), {f"{role}_token_id": getattr(old, f"{role}_token_id") for role in ("bos", "eos", "pad")}
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    return AutoModelForCausalLM.from_config(
        CONFIG_MAPPING["gemma3"](
            text_config={"vocab_size": len(old), "num_key_value_heads": 1, "head_dim": 8, **sizes, **roles},
            vision_config={"image_size": 28, "patch_size": 14, **sizes},
            image_token_index=vocabulary["<image>"],
            boi_token_index=vocabulary["<img>"],
            eoi_token_index=vocabulary["</img>"],
            mm_tokens_per_image=4,
            eos_token_id=[old.eos_token_id, vocabulary[TURN]],
        )
    )


IMAGES = ["<img>", "</img>", "<image>", TURN]


def test_ids_of_a_model_that_reads_images_follow_their_tokens():
    old = spoken([*GEMMA[0][:3], *IMAGES], GEMMA[1])
    new = spoken([*reversed(IMAGES), "<eos>", "<pad>", "<bos>"], GEMMA[1])
    model = reading_images(old)
    moved(model, old, new)
    config, now = model.config, new.get_vocab()
    assert (config.image_token_index, config.boi_token_index, config.eoi_token_index) == (now["<image>"], now["<img>"], now["</img>"])
    assert config.eos_token_id == [now["<eos>"], now[TURN]] and config.text_config.pad_token_id == now["<pad>"]


def test_a_model_that_reads_images_is_refused_without_its_image_token():
    old, new = spoken([*GEMMA[0][:3], *IMAGES], GEMMA[1]), layout("llama")
    with pytest.raises(UnsupportedError, match=r"Gemma3ForCond\w+ cannot do without config\.\w+: '<\S+'.*the new tokenizer lacks"):
        moved(reading_images(old), old, new)


def test_ids_of_another_vocabulary_stay(tiny):
    """Audio codes, for example, have a table of their own."""
    old, new = spoken(*GEMMA), spoken(*OTHER)
    model = tiny("tied_llama", len(old), eos_token_id=1)
    inner = model.config.decoder_config = CONFIG_MAPPING["gpt2"](vocab_size=64, eos_token_id=5, bos_token_id=6)
    model.config.codebook_eos_token_id = 7
    moved(model, old, new)
    assert (inner.eos_token_id, inner.bos_token_id, model.config.codebook_eos_token_id) == (5, 6, 7)


def test_a_stop_token_beside_the_tokenizers_own_is_kept_on_import(tiny):
    old = spoken(*GEMMA)
    model = tiny("tied_llama", len(old), eos_token_id=1, bos_token_id=2, pad_token_id=0)
    model.generation_config.eos_token_id = 3
    assert align_special_ids(model, old) == ["generation_config: eos_token_id 3 -> [1, 3]"]


@pytest.mark.parametrize("kept", [True, False])
def test_a_special_token_without_a_row_does_not_stop_a_transplant(kept, tmp_path):
    """gemma-3-1b: the tokenizer has one token more than the model has rows."""
    old = spoken(*GEMMA)
    torch.manual_seed(0)
    model = made("llama", len(old), bos_token_id=2, eos_token_id=1, pad_token_id=0)
    model.save_pretrained(tmp_path / "base")
    old.add_special_tokens({"additional_special_tokens": ["<image_soft_token>"]})
    old.save_pretrained(tmp_path / "base")
    spoken([*OTHER[0], *(["<image_soft_token>"] if kept else [])], OTHER[1]).save_pretrained(tmp_path / "new")
    out = tokgraft.transplant(model=tmp_path / "base", tokenizer=tmp_path / "new", method="mean", out=tmp_path / "out")
    assert len(load_tokenizer(out)) == load_model(out).config.vocab_size == len(old) + (1 if kept else 0)


def test_a_model_that_reads_images_goes_through_the_whole_stage(tmp_path):
    old = spoken([*GEMMA[0][:3], *IMAGES], GEMMA[1])
    torch.manual_seed(0)
    model = reading_images(old)
    model.save_pretrained(tmp_path / "base")
    old.save_pretrained(tmp_path / "base")
    new = spoken([*reversed(IMAGES), "<eos>", "<pad>", "<bos>"], GEMMA[1], ("th", "er"))
    new.save_pretrained(tmp_path / "new")
    out = tokgraft.transplant(model=tmp_path / "base", tokenizer=tmp_path / "new", method="mean", out=tmp_path / "out")
    again = load_model(out)
    now = new.get_vocab()
    assert type(again).__name__ == "Gemma3ForConditionalGeneration"
    assert again.config.image_token_id == now["<image>"] and again.generation_config.eos_token_id == [now["<eos>"], now[TURN]]
    assert "vision" in " ".join(dict(again.named_parameters()))
