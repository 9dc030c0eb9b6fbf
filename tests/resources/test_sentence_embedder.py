"""Sentence vectors: pooling beside a plain forward pass, local and packaged encoders, the Hub without a network, bad folders."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import BertModel

import toys
import toytasks
from tokgraft import artifacts, resources
from tokgraft.errors import ArtifactError, ConfigError, DataError, ModelError
from tokgraft.models.io import save_model
from tokgraft.resources.sentence_embedder import token_texts
from tokgraft.vocab import Vocabulary


@pytest.fixture
def place(tmp_path: Path) -> Path:
    tokenizer = toys.tokenizer("wordpiece")
    save_model(toys.encoder(len(tokenizer)), tokenizer, tmp_path / "encoder")
    toys.tokenizer("sp_bpe", 600, "both").save_pretrained(tmp_path / "tokenizer")
    return tmp_path


def make(place: Path, out: str = "out", **params: object) -> Path:
    given = {"source": {"kind": "local", "path": str(place / "encoder")}, **params}
    inputs = resources.Inputs(tokenizer=place / "tokenizer", base=toytasks.base_of(toys.tokenizer("byte_level")))
    resources.make("sentence_embedder", inputs, given, place / out)
    return place / out


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_vectors_are_those_of_the_encoder(place: Path, pooling: str) -> None:
    folder = make(place, pooling=pooling, prefix="query: ", batch=7)
    target = Vocabulary.from_tokenizer(toys.tokenizer("sp_bpe", 600, "both"))
    index, vectors = resources.load("sentence_embedder", folder, len(target), target.fingerprint)
    source = Vocabulary.from_tokenizer(toys.tokenizer("byte_level"))
    assert set(index) == token_texts(target) | token_texts(source) and vectors.dtype == np.float32
    tokenizer, model = toys.tokenizer("wordpiece"), BertModel.from_pretrained(place / "encoder").eval()
    for text in list(index)[::40]:
        states = model(**tokenizer("query: " + text, return_tensors="pt")).last_hidden_state[0]
        expected = states.mean(dim=0) if pooling == "mean" else states[0]
        assert torch.allclose(torch.from_numpy(vectors[index[text]]), expected / expected.norm(), atol=1e-5)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_same_inputs_same_bytes(place: Path) -> None:
    first, second, third = make(place, "a"), make(place, "b"), make(place, "c", batch=3)
    assert artifacts.fingerprint(first) == artifacts.fingerprint(second) != artifacts.fingerprint(third)
    one, other = (np.load(folder / "vectors.npy") for folder in (first, third))
    assert np.allclose(one, other, atol=1e-6), "batches change no more than the last bits"


def test_texts_without_words_have_no_vector() -> None:
    texts = token_texts(Vocabulary.from_tokenizer(toys.tokenizer("byte_level")))
    assert " the" in texts and all(text.strip() and "�" not in text for text in texts)


def test_bad_encoders_are_explained(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelError, match=r"no config\.json"):
        make(place, source={"kind": "local", "path": str(place / "nowhere")})
    (place / "encoder" / "model.safetensors").rename(place / "weights")
    with pytest.raises(ModelError, match="no weights"):
        make(place)
    monkeypatch.setenv("TOKGRAFT_CACHE", str(place / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(DataError, match="Hub cannot be reached"):
        make(place, source={"kind": "hub", "id": "some/encoder", "revision": "0" * 40})
    with pytest.raises(ConfigError, match="revision"):
        make(place, source={"kind": "hub", "id": "some/encoder", "revision": "main"})
    assert not (place / "out").exists()


def test_nan_and_damage_are_refused(place: Path) -> None:
    folder = make(place)
    entry = resources.RESOURCES.get("sentence_embedder")
    texts = json.loads((folder / "texts.json").read_text())
    (folder / "texts.json").write_text(json.dumps(texts[1:]))
    with pytest.raises(ArtifactError, match="make the resource again"):
        entry.load(folder, 600)
    model = toys.encoder(len(toys.tokenizer("wordpiece")))
    with torch.no_grad():
        model.bert.embeddings.LayerNorm.weight[0] = float("nan")
    save_model(model, toys.tokenizer("wordpiece"), place / "encoder")
    with pytest.raises(ModelError, match="NaN"):
        make(place, "bad")


@pytest.mark.network
@pytest.mark.slow
def test_the_packaged_encoder_knows_meanings(tmp_path: Path) -> None:
    from tokgraft.resources.sentence_embedder import SentenceEmbedder, encode, encoder_folder

    params = SentenceEmbedder()
    from contextlib import ExitStack

    with ExitStack() as stack:
        vectors = encode(encoder_folder(params, stack), [" picture", " image", " seven"], params)
    assert vectors.shape == (3, 384)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.2
