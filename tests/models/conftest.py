from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, PreTrainedTokenizerFast

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

TEXT = ["A style is a set of 12 formats.", "Choose Insert - Cell Range (Ctrl+F3) to name a range.", "Größe, naïve café, Ελληνικά 2024"] * 5
SHAPES = {
    "tied_llama": ("LlamaConfig", {"tie_word_embeddings": True}),
    "untied_llama": ("LlamaConfig", {"tie_word_embeddings": False}),
    "gpt2": ("GPT2Config", {}),
    "neox": ("GPTNeoXConfig", {"tie_word_embeddings": False}),
    "gptj": ("GPTJConfig", {"rotary_dim": 4, "tie_word_embeddings": False}),
    "bert": ("BertConfig", {}),
}


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level BPE of 300 tokens whose pre-tokenizer is the default of no architecture; ids 0, 1, 2 are the specials."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Punctuation(), pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), special_tokens=["<s>", "</s>", "<pad>"], show_progress=False
    )
    backend.train_from_iterator(TEXT, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="</s>", pad_token="<pad>")


@pytest.fixture
def tiny() -> Callable[..., Any]:
    """Makes a tiny model of a named shape."""

    def make(shape: str, rows: int, **more: Any) -> Any:
        kind, facts = SHAPES[shape]
        sizes = {
            "hidden_size": 16,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 32,
            "max_position_embeddings": 64,
        }
        ids = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2}
        config = getattr(transformers, kind)(vocab_size=rows, **{**sizes, **ids, **facts, **more})
        torch.manual_seed(0)
        auto = AutoModelForMaskedLM if shape == "bert" else AutoModelForCausalLM
        model = auto.from_config(config).float().eval()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.normal_(0, 0.1)
        return model

    return make


@pytest.fixture
def saved(tmp_path: Path, tiny: Callable[..., Any], tokenizer: PreTrainedTokenizerFast) -> Path:
    """A tied Llama and its tokenizer, saved."""
    from tokgraft.models.io import save_model

    folder = tmp_path / "saved"
    save_model(tiny("tied_llama", len(tokenizer)), tokenizer, folder)
    return folder
