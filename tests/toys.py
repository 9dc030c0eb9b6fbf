"""Small real tokenizers and models of every kind, trained in a second on the docstrings of a pinned package and a few sentences of ours."""

from __future__ import annotations

import ast
import json
from functools import lru_cache
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import torch
from transformers import BertConfig, BertForMaskedLM, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

GERMAN = """Die Tabelle zeigt alle Werte, die sich seit dem letzten Speichern geändert haben.
Wählen Sie zuerst eine Zelle aus und drücken Sie dann die Eingabetaste.
Über das Menü lässt sich die Größe der Überschriften ändern; Maße stehen in Zentimetern.
Schließen Sie das Fenster, wenn Sie fertig sind, und öffnen Sie die Datei später wieder.
Für jede Zeile wird ein Ergebnis berechnet, das von der vorigen Zeile abhängt.
Möchten Sie 12,5 % oder 1.000 € eingeben? Beides ist möglich.
"""
# The English side of the German lines.
TRANSLATED = """The table shows all values that have changed since the last save.
First select a cell and then press the enter key.
Use the menu to change the size of the headings; measures are in centimetres.
Close the window when you are done, and open the file again later.
For every row a result is computed that depends on the row before it.
Do you want to enter 12.5 % or 1,000 €? Both are possible.
"""
GREEK = """Ο πίνακας δείχνει όλες τις τιμές που άλλαξαν από την τελευταία αποθήκευση.
Επιλέξτε πρώτα ένα κελί και μετά πατήστε το πλήκτρο εισαγωγής.
Το μέγεθος των επικεφαλίδων αλλάζει από το μενού· οι διαστάσεις είναι σε εκατοστά.
"""
KINDS = ("byte_level", "sp_bpe", "sp_bpe_metaspace", "unigram", "wordpiece")


@lru_cache
def english() -> tuple[str, ...]:
    """About 50 kB of English prose with some code: the docstrings of click/core.py, which envs/lock.txt pins (what ships with Python differs)."""
    path = Path(str(distribution("click").locate_file("click/core.py")))
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    nodes = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, documented)]
    return tuple(line for node in nodes for line in (ast.get_docstring(node) or "").splitlines() if line.strip())


def german() -> tuple[str, ...]:
    """German lines, a few Greek ones among them."""
    return tuple((GERMAN * 4 + GREEK).splitlines())


@lru_cache
def tokenizer(kind: str, size: int = 800, text: str = "english") -> PreTrainedTokenizerFast:
    """A tokenizer of one of `KINDS`, trained on "english", "german" or "both"."""
    lines = {"english": english(), "german": german(), "both": english()[:1200] + german()}[text]
    return {
        "byte_level": _byte_level, "sp_bpe": _sp_bpe, "sp_bpe_metaspace": _sp_metaspace, "unigram": _unigram, "wordpiece": _wordpiece,
    }[kind](lines, size)  # fmt: skip


def _byte_level(lines: tuple[str, ...], size: int) -> PreTrainedTokenizerFast:
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    specials = ["<|begin|>", "<|end|>", "<|pad|>", "<|tool|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    backend.train_from_iterator(
        lines, trainers.BpeTrainer(vocab_size=size, special_tokens=specials, initial_alphabet=alphabet, show_progress=False)
    )
    return PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<|begin|>", eos_token="<|end|>", pad_token="<|pad|>")


def _sp_parts(lines: tuple[str, ...], size: int) -> dict[str, Any]:
    backend = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    specials = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    backend.train_from_iterator(
        lines, trainers.BpeTrainer(vocab_size=size + 256, special_tokens=specials, limit_alphabet=90, show_progress=False)
    )
    spec = json.loads(backend.to_str())
    spec["added_tokens"] = spec["added_tokens"][:3]
    return spec


def _sp_finish(spec: dict[str, Any]) -> PreTrainedTokenizerFast:
    backend = Tokenizer.from_str(json.dumps(spec))
    backend.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    backend.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def _sp_bpe(lines: tuple[str, ...], size: int) -> PreTrainedTokenizerFast:
    spec = _sp_parts(lines, size)
    backend = Tokenizer.from_str(json.dumps({**spec, "pre_tokenizer": None}))
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    return _sp_finish(json.loads(backend.to_str()))


def _sp_metaspace(lines: tuple[str, ...], size: int) -> PreTrainedTokenizerFast:
    return _sp_finish(_sp_parts(lines, size))


def _unigram(lines: tuple[str, ...], size: int) -> PreTrainedTokenizerFast:
    backend = Tokenizer(models.Unigram())
    backend.normalizer = normalizers.NFKC()
    backend.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    backend.decoder = decoders.Metaspace()
    specials = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    backend.train_from_iterator(
        lines, trainers.UnigramTrainer(vocab_size=size, unk_token="<unk>", special_tokens=specials, show_progress=False)
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", cls_token="<s>", eos_token="</s>", sep_token="</s>", pad_token="<pad>",
        unk_token="<unk>", mask_token="<mask>",
    )  # fmt: skip


def _wordpiece(lines: tuple[str, ...], size: int) -> PreTrainedTokenizerFast:
    backend = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=False)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    backend.train_from_iterator(lines, trainers.WordPieceTrainer(vocab_size=size, special_tokens=specials, show_progress=False))
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, cls_token="[CLS]", sep_token="[SEP]", pad_token="[PAD]", unk_token="[UNK]", mask_token="[MASK]"
    )


def permuted(original: PreTrainedTokenizerFast, seed: int = 1) -> tuple[PreTrainedTokenizerFast, list[int]]:
    """A BPE or WordPiece tokenizer with its ids shuffled; `order[new id]` is the old id."""
    size = len(original)
    order = torch.randperm(size, generator=torch.Generator().manual_seed(seed)).tolist()
    new = {old: number for number, old in enumerate(order)}
    spec = json.loads(original.backend_tokenizer.to_str())
    spec["model"]["vocab"] = {token: new[number] for token, number in spec["model"]["vocab"].items()}
    for entry in spec["added_tokens"]:
        entry["id"] = new[entry["id"]]
    spec["added_tokens"].sort(key=lambda entry: entry["id"])
    spec["post_processor"] = None
    names = {f"{role}_token": getattr(original, f"{role}_token") for role in ("bos", "eos", "pad", "unk", "mask", "cls", "sep")}
    backend = Tokenizer.from_str(json.dumps(spec))
    return PreTrainedTokenizerFast(tokenizer_object=backend, **{key: value for key, value in names.items() if value}), order


def decoder(rows: int, tied: bool, width: int = 24, seed: int = 0, **ids: int | None) -> LlamaForCausalLM:
    """A tiny random Llama."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=rows, hidden_size=width, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, max_position_embeddings=256,
        tie_word_embeddings=tied, bos_token_id=ids.get("bos"), eos_token_id=ids.get("eos"), pad_token_id=ids.get("pad"),
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()


def encoder(rows: int, width: int = 24, seed: int = 0, pad: int = 0) -> BertForMaskedLM:
    """A tiny random BERT, whose tied head has a bias that is not zero."""
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=rows, hidden_size=width, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, max_position_embeddings=256,
        pad_token_id=pad,
    )  # fmt: skip
    model = BertForMaskedLM(config).eval()
    torch.nn.init.normal_(model.get_output_embeddings().bias)
    return model
