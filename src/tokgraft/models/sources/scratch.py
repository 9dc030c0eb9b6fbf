"""Source kind `scratch`: a small Llama with seeded random weights, to be trained by the pipeline."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np

from tokgraft.config.model import ScratchModel
from tokgraft.errors import ConfigError, TokenizerError
from tokgraft.models.sources import MODEL_SOURCES, FetchedModel, ModelRequest

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

STD = 0.02


@MODEL_SOURCES.register("scratch")
def fetch(request: ModelRequest) -> FetchedModel:
    """The untrained model around the tokenizer that was trained for it.

    Raises:
        ConfigError: No tokenizer was given, or the sizes do not fit each other.
    """
    source = request.config.source
    assert isinstance(source, ScratchModel)
    if request.tokenizer is None:
        raise ConfigError(f"model {request.config.name!r} is made from scratch and needs a tokenizer", "give its folder with --tokenizer")
    _check(source, request.config.name)
    from tokgraft.models.io import load_tokenizer

    tokenizer = load_tokenizer(request.tokenizer)
    return FetchedModel(build(source, tokenizer), tokenizer, libraries=("numpy",))


def build(source: ScratchModel, tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    """A Llama of the given shape with one row per token id.

    Matrices are N(0, 0.02), each drawn from a generator of its own that is seeded with the model's seed and the tensor's name, so that
    the bytes depend neither on the order of parameters nor on the number of threads; norms are 1.

    Raises:
        TokenizerError: The tokenizer has no end token.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    if tokenizer.eos_token_id is None:
        raise TokenizerError("the tokenizer has no end token, so the model could not learn where a page ends", "train it with an eos role")
    kv_heads = source.kv_heads or source.heads
    config = LlamaConfig(
        vocab_size=max(tokenizer.get_vocab().values()) + 1,
        hidden_size=source.hidden,
        intermediate_size=source.intermediate,
        num_hidden_layers=source.layers,
        num_attention_heads=source.heads,
        num_key_value_heads=kv_heads,
        head_dim=source.hidden // source.heads,
        max_position_embeddings=source.context,
        tie_word_embeddings=source.tied,
        initializer_range=STD,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    config.dtype = torch.float32
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(torch.from_numpy(_values(name, tuple(parameter.shape), source.seed)))
    model.tie_weights()
    return model.eval()


def _values(name: str, shape: tuple[int, ...], seed: int) -> Any:
    if len(shape) == 1:
        return np.ones(shape, dtype=np.float32)
    key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
    return np.random.Generator(np.random.PCG64([seed, key])).standard_normal(shape, dtype=np.float32) * np.float32(STD)


def _check(source: ScratchModel, name: str) -> None:
    if source.hidden % source.heads or (source.hidden // source.heads) % 2:
        raise ConfigError(
            f"model {name!r}: hidden {source.hidden} does not split into {source.heads} heads of even width", "change one of them"
        )
    if source.heads % (source.kv_heads or source.heads):
        raise ConfigError(
            f"model {name!r}: {source.heads} heads cannot share {source.kv_heads} key/value heads", "make heads a multiple of them"
        )
