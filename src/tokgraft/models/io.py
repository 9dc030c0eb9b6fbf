"""Load and save base models: safetensors or GGUF in, a complete Hugging Face folder with deterministic bytes out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from tokgraft.errors import ModelError
from tokgraft.library import first_line, quiet, rewrite
from tokgraft.logs import log
from tokgraft.models.checks import align_special_ids, check_model, padded_rows
from tokgraft.models.dtypes import as_stored
from tokgraft.models.kinds import NEEDS, architecture, kind_of
from tokgraft.models.tables import embedding_tables, head_bias, is_tied, set_embedding_tables, untie
from tokgraft.models.tokenizer_io import load_tokenizer, save_tokenizer
from tokgraft.models.weights import AGAIN, check_folder

__all__ = [
    "align_special_ids",
    "check_model",
    "embedding_tables",
    "head_bias",
    "is_tied",
    "load_model",
    "load_tokenizer",
    "padded_rows",
    "save_model",
    "set_embedding_tables",
    "untie",
]


def load_model(folder: Path, *, trust_remote_code: bool = False) -> PreTrainedModel:
    """A model in float32 and eval mode, from a local folder with safetensors or from a .gguf file.

    Args:
        folder: Hugging Face model folder, or a GGUF file (dequantised).
        trust_remote_code: Run Python code that the folder brings.

    Returns:
        A causal or a masked language model, as the config's `architectures` says; attention is SDPA where the architecture has it.

    Raises:
        ModelError: Nothing there, pickled weights only, weights missing or of another shape than the config says, unknown architecture, or one
            that is no causal or masked language model.
    """
    folder = Path(folder)
    if folder.suffix == ".gguf":
        from tokgraft.models.gguf import load_gguf_model

        return _neutral(load_gguf_model(folder))
    values = check_folder(folder)
    common = {"local_files_only": True, "trust_remote_code": trust_remote_code}
    with _errors(folder, trust_remote_code):
        config = AutoConfig.from_pretrained(folder, **common)
        published = architecture(config)
        auto = AutoModelForMaskedLM if kind_of(folder, config) == "masked" else AutoModelForCausalLM
        _check_sizes(folder, config, values)
        model, report = auto.from_pretrained(
            folder, config=config, dtype=torch.float32, use_safetensors=True, output_loading_info=True, **common
        )
    if missing := sorted(report["missing_keys"]):
        # transformers would fill these with random numbers and go on.
        what, do = f"{len(missing)} weights are missing", "the download or export is incomplete"
        if published not in ("", type(model).__name__):
            what, do = f"a {published} lacks {len(missing)} weights of a {type(model).__name__}", NEEDS
        raise ModelError(f"{folder}: {what}, among them {', '.join(missing[:3])}", do)
    if unexpected := sorted(report["unexpected_keys"]):
        log.warning("%s: %d weights are not used by %s, among them %s", folder, len(unexpected), type(model).__name__, unexpected[0])
    return _neutral(model)


def _check_sizes(folder: Path, config: Any, values: int) -> None:
    """Compare the sizes of a config with the numbers in the weight files, before a model of those sizes is made.

    Raises:
        ModelError: The config describes a model of which the files hold only a part.
    """
    text = config.get_text_config()
    sizes = {name: getattr(text, name, 1) for name in ("vocab_size", "hidden_size", "num_hidden_layers")}
    wrong = [f"{name} {size!r}" for name, size in sizes.items() if type(size) is not int or size < 1]
    if wrong or max(sizes["vocab_size"], sizes["num_hidden_layers"]) * sizes["hidden_size"] > values:
        shown = ", ".join(wrong) or ", ".join(f"{name} {size}" for name, size in sizes.items())
        raise ModelError(f"{folder}: config.json says {shown}; the weights are {values:,} numbers", AGAIN)


def _neutral(model: PreTrainedModel) -> PreTrainedModel:
    """Eval mode, and no row of the input table shut out from learning.

    A `padding_idx` changes no output, but its row gets no gradient; where pad and end token are one, as in many models, the end token would
    not be trained.
    """
    model.get_input_embeddings().padding_idx = None
    return model.eval()


def save_model(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, folder: Path, dtype: str = "float32") -> None:
    """Write a complete model folder: config, generation config, safetensors, tokenizer.

    Special ids of both configs are set to the tokenizer's. The same model and tokenizer give the same bytes; the files hold no path
    and no trace of a quantised origin.

    Args:
        model: The model; its special ids are updated in place.
        tokenizer: The tokenizer whose ids the model's rows follow.
        folder: Folder to fill (made if missing).
        dtype: Floating type of the files ("float32", "bfloat16", "float16"). A weight that it cannot hold exactly is written in float32:
            `dtypes.round_weights` makes sure that there is none.

    Raises:
        ModelError: The tokenizer has ids without a row.
    """
    folder = Path(folder)
    padded_rows(model, tokenizer)
    align_special_ids(model, tokenizer)
    _mend_generation_config(model)
    with quiet():
        model.save_pretrained(folder, max_shard_size="1000GB", state_dict=as_stored(model, dtype))
    save_tokenizer(tokenizer, folder)
    rewrite(
        folder / "config.json",
        drop=("_name_or_path", "_model_name_or_path", "_commit_hash", "quantization_config"),
        set_={"dtype": dtype},
    )
    rewrite(folder / "generation_config.json", drop=("_from_model_config",))
    for path in folder.rglob("*"):
        if path.is_file():
            path.chmod(0o644)  # safetensors makes its files readable for the owner alone


def _mend_generation_config(model: PreTrainedModel) -> None:
    """Published generation configs may contradict themselves (a temperature without sampling); transformers refuses to write them."""
    generation = getattr(model, "generation_config", None)
    if generation is None:
        return
    try:
        generation.validate(strict=True)
    except ValueError as error:
        log.warning("the generation config contradicts itself and is reduced to its special ids: %s", first_line(error))
        ids = {key: getattr(generation, key) for key in ("bos_token_id", "eos_token_id", "pad_token_id")}
        model.generation_config = GenerationConfig(**ids)


@contextmanager
def _errors(folder: Path, trust_remote_code: bool) -> Iterator[None]:
    """Turn what transformers raises while loading into a ModelError."""
    try:
        with quiet():
            yield
    except ModelError:
        raise
    except Exception as error:
        text = first_line(error)
        if "trust_remote_code" in str(error) and not trust_remote_code:
            hint = "read that code, then set `trust_remote_code: true` in the model's config file"
            raise ModelError(f"{folder} brings its own Python code, which is not run", hint) from error
        do = AGAIN
        if isinstance(error, ValueError) and "model type" in str(error):
            do = "this transformers version does not know the architecture"
        raise ModelError(f"{folder} cannot be loaded: {text}", do) from error
