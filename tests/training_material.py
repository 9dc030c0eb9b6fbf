"""Small corpora, tokenizers and models that the training tests share."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from tokgraft.models.io import save_model

WORDS = ("Die Tabelle enthält eine Zeile und jede Spalte zeigt den Wert der Zelle mit Füllfarbe größer als zuvor").split()  # noqa: SIM905
ENGLISH = ("The table holds a row and every column shows the value of the cell with a fill colour larger than before").split()  # noqa: SIM905


def text(words: list[str], seed: int, sentences: int = 6) -> list[str]:
    generator = torch.Generator().manual_seed(seed)
    return [
        " ".join(words[int(i)] for i in torch.randint(len(words), (9,), generator=generator)) + "." for _ in range(sentences)
    ]  # fmt: skip


def corpus(folder: Path, words: list[str] = WORDS, pages: int = 40) -> Path:
    folder.mkdir(parents=True)
    for split, count, base in (("train", pages, 0), ("dev", 6, 1000), ("test", 2, 2000)):
        rows = [
            {
                "id": f"{split}/{n:03}",
                "paragraphs": [{"key": f"p:{n}:{i}", "tag": "p", "text": line} for i, line in enumerate(text(words, base + n))],
            }
            for n in range(count)
        ]
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return folder


def tokenizer(size: int = 400, bos: str | None = "<s>") -> PreTrainedTokenizerFast:
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=["<s>", "</s>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    inner.train_from_iterator([line for n in range(40) for line in text(WORDS, n) + text(ENGLISH, n)], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=inner, bos_token=bos, eos_token="</s>")


def llama(vocabulary: int, tied: bool = True, layers: int = 2, context: int = 64) -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=vocabulary, hidden_size=32, intermediate_size=64, num_hidden_layers=layers, num_attention_heads=2,
        num_key_value_heads=2, tie_word_embeddings=tied, max_position_embeddings=context, initializer_range=0.1,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()


def model_folder(folder: Path, tied: bool = True, size: int = 400, **more: int) -> Path:
    words = tokenizer(size)
    save_model(llama(len(words), tied, **more), words, folder)
    return folder
