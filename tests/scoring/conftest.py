"""A small corpus written by hand, tokenizers of several families, and small models, as folders that the stage can read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tokgraft import artifacts

OBJECTS = {
    "Tabelle": "table", "Zeile": "row", "Spalte": "column", "Zelle": "cell", "Formel": "formula", "Grafik": "image", "Folie": "slide",
    "Notiz": "note", "Vorlage": "template", "Datei": "file", "Seite": "page", "Fußzeile": "footer", "Liste": "list", "Abfrage": "query",
}  # fmt: skip
ACTIONS = {"löschen": "delete", "einfügen": "insert", "kopieren": "copy", "öffnen": "open", "drucken": "print", "teilen": "share"}


def german_page(thing: str, module: str) -> tuple[str, list[dict[str, str]], list[dict[str, str]]]:
    """(id, paragraphs, pairs with English) of one page about a thing."""
    name = f"text/{module}/{OBJECTS[thing]}.html"
    paragraphs = [{"key": "h1:head:0", "tag": "h1", "text": f"Arbeiten mit {thing}"}]
    pairs = []
    for number, (action, english) in enumerate(ACTIONS.items()):
        heading = f"Eine {thing} {action}"
        first = f"Wählen Sie im Menü Bearbeiten den Befehl {action.capitalize()}, wenn Sie das Objekt {number} nicht mehr so brauchen."
        second = f"Danach zeigt das Programm eine Meldung zu Ihrer {thing} an, und Sie bestätigen mit der Taste {number} oder {chr(65 + number)}."
        paragraphs += [
            {"key": f"h2:h{number}:0", "tag": "h2", "text": heading},
            {"key": f"p:a{number}:0", "tag": "p", "text": first},
            {"key": f"p:b{number}:0", "tag": "p", "text": second},
        ]
        origin = f"The program then shows a message about your {OBJECTS[thing]}, and you confirm with key {number} to {english} it."
        pairs.append({"page": name, "key": f"p:b{number}:0", "english": origin, "text": second})
    return name, paragraphs, pairs


def lines(path: Path, rows: list[dict]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


@pytest.fixture(scope="session")
def make_corpus(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Write a corpus artifact from pages."""

    def make(slug: str, name: str, pages: list[tuple[str, list[dict]]], pairs: list[dict] = ()) -> Path:
        out = tmp_path_factory.mktemp("corpora") / slug
        settings = {"slug": slug, "language": {"name": name}}
        with artifacts.create(out, "corpus", settings) as folder:
            for split in ("train", "dev"):
                lines(folder / f"{split}.jsonl", [])
            lines(folder / "test.jsonl", [{"id": page, "paragraphs": paragraphs} for page, paragraphs in pages])
            lines(folder / "pairs_test.jsonl", list(pairs))
        return out

    return make


@pytest.fixture(scope="session")
def german(make_corpus: Callable[..., Path]) -> Path:
    """Test pages in German, with pairs."""
    made = [german_page(thing, "scalc" if number % 2 else "swriter") for number, thing in enumerate(OBJECTS)]
    return make_corpus("deu_Latn", "German", [one[:2] for one in made], [pair for one in made for pair in one[2]])


@pytest.fixture(scope="session")
def english(make_corpus: Callable[..., Path]) -> Path:
    """Test pages in English, without pairs."""
    pages = []
    for number, thing in enumerate(OBJECTS.values()):
        text = (
            f"To print a {thing}, choose File and then Print. The dialog shows how many pages the {thing} takes, and which printer is used."
        )
        pages.append((f"text/shared/{thing}.html", [{"key": "h1:x:0", "tag": "h1", "text": f"Printing a {thing}"}, {"key": f"p:{number}:0", "tag": "p", "text": text}]))  # fmt: skip
    return make_corpus("eng_Latn", "English", pages)


@pytest.fixture(scope="session")
def texts(german: Path, english: Path) -> list[str]:
    """All paragraphs, to train tokenizers on."""
    rows = [json.loads(line) for folder in (german, english) for line in (folder / "test.jsonl").read_text().splitlines()]
    return [paragraph["text"] for row in rows for paragraph in row["paragraphs"]]


@pytest.fixture(scope="session")
def make_tokenizer(texts: list[str]) -> Callable[..., object]:
    """A tokenizer of a family: bytes (256 bytes and BOS), bpe (byte-level), sentencepiece (byte fallback), unigram."""
    from transformers import PreTrainedTokenizerFast

    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

    def make(family: str, adds_bos: bool = False, size: int = 400) -> PreTrainedTokenizerFast:
        special = ["<s>", "</s>"]
        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
        if family == "bytes":
            inner = Tokenizer(models.BPE({piece: number for number, piece in enumerate([*alphabet, *special])}, []))
        elif family == "bpe":
            inner = Tokenizer(models.BPE())
        elif family == "sentencepiece":
            inner = Tokenizer(models.BPE(byte_fallback=True, unk_token=None))
        else:
            inner = Tokenizer(models.Unigram([("<unk>", 0.0)], unk_id=0, byte_fallback=True))
        if family in ("bytes", "bpe"):
            inner.pre_tokenizer, inner.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
        else:
            inner.normalizer = normalizers.Replace(" ", "▁")
            inner.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
            inner.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
        fallback = [f"<0x{number:02X}>" for number in range(256)]
        if family == "bpe":
            inner.train_from_iterator(
                texts, trainers.BpeTrainer(vocab_size=size, special_tokens=special, initial_alphabet=alphabet, show_progress=False)
            )
        elif family == "sentencepiece":
            inner.train_from_iterator(
                texts, trainers.BpeTrainer(vocab_size=size + 256, special_tokens=[*special, *fallback], show_progress=False)
            )
        elif family == "unigram":
            trainer = trainers.UnigramTrainer(
                vocab_size=size, special_tokens=["<unk>", *special, *fallback], unk_token="<unk>", show_progress=False
            )
            inner.train_from_iterator(texts, trainer)
        if adds_bos:
            bos = inner.token_to_id("<s>")
            inner.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", bos)])
        return PreTrainedTokenizerFast(tokenizer_object=inner, bos_token="<s>", eos_token="</s>")

    return make


@pytest.fixture(scope="session")
def make_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Write a small Llama for a tokenizer; `change` edits it in place first."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from tokgraft.models.io import save_model

    def make(
        tokenizer: object, change: Callable[[object], None] | None = None, *, tied: bool = True, context: int = 1024, seed: int = 0
    ) -> Path:
        torch.manual_seed(seed)
        config = LlamaConfig(
            vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=context, tie_word_embeddings=tied, initializer_range=0.2,
            bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
        )  # fmt: skip
        model = LlamaForCausalLM(config).eval()
        if change is not None:
            with torch.no_grad():
                change(model)
        out = tmp_path_factory.mktemp("models") / "model"
        out.mkdir()
        save_model(model, tokenizer, out)
        return out

    return make
