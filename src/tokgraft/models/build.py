"""Make the artifact of a base model: fetch, check, align, save, and compare what was saved with what was fetched."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokgraft import artifacts
from tokgraft.config.model import BaseModelConfig
from tokgraft.errors import ModelError
from tokgraft.logs import log
from tokgraft.models.sources import MODEL_SOURCES, ModelRequest, default_cache

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

LIBRARIES = ("safetensors", "tokenizers", "transformers")


def build_model(config: BaseModelConfig, out: Path, *, tokenizer: Path | None = None, cache: Path | None = None) -> None:
    """Write the base model of a configuration as the artifact `out` (kind "model").

    Args:
        config: The model's configuration.
        out: Folder of the artifact.
        tokenizer: Folder of a tokenizer to use instead of the source's; required for a scratch model.
        cache: Folder for downloads (default: `default_cache()`).

    Raises:
        TokgraftError: The source cannot be had, loaded or is not sound; nothing is written then.
    """
    fetch = MODEL_SOURCES.get(config.source.kind)
    begun = artifacts.begin(out, "model", *_reads(config, tokenizer))
    found = fetch(ModelRequest(config, cache or default_cache(), tokenizer))
    from tokgraft.models import dtypes, io

    for change in io.align_special_ids(found.model, found.tokenizer):
        log.warning("special ids follow the tokenizer: %s", change)
    io.check_model(found.model, found.tokenizer)
    if padded := io.padded_rows(found.model, found.tokenizer):
        log.warning("%d rows of the tables have no token (first: row %d); methods leave them out", len(padded), padded[0])
    if config.dtype is not None:
        dtypes.round_weights(found.model, config.dtype)
    with artifacts.create(out, "model", _settings(config, found.facts), begun, (*LIBRARIES, *found.libraries)) as folder:
        io.save_model(found.model, found.tokenizer, folder, config.dtype or found.dtype)
        _compare(found.model, found.tokenizer, folder)
    log.info(
        "%s: %s parameters, %d rows", config.name, f"{found.model.num_parameters():,}", found.model.get_input_embeddings().weight.shape[0]
    )


def _reads(config: BaseModelConfig, tokenizer: Path | None) -> tuple[dict[str, Path], dict[str, Path]]:
    """The folders that the content depends on, and what else is read (a GGUF file, whose hash is among the settings)."""
    folders = {"tokenizer": Path(tokenizer)} if tokenizer else {}
    local = {"source": Path(config.source.path).expanduser()} if config.source.kind == "local" else {}
    return folders | {role: path for role, path in local.items() if path.is_dir()}, local


def _settings(config: BaseModelConfig, facts: Mapping[str, Any]) -> dict[str, Any]:
    """What decides the content: not the name, the licence or the description, and no path of this machine."""
    settings = config.canonical()
    settings["source"].pop("path", None)
    chosen: dict[str, Any] = {key: settings[key] for key in ("dtype", "trust_remote_code") if key in settings}
    return {"source": {**settings["source"], **facts}, **chosen}


def _compare(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Load the folder again the way everyone does and demand equality to the last bit."""
    import torch

    from tokgraft.models import io

    trust = bool(getattr(model.config, "auto_map", None))
    again = io.load_model(folder, trust_remote_code=trust).state_dict()
    for name, tensor in model.state_dict().items():
        if name not in again or not torch.equal(tensor, again[name]):
            raise ModelError(f"{name} is not the same after saving and loading", "this is a defect; please report it with the model's name")
    if io.load_tokenizer(folder).backend_tokenizer.to_str() != tokenizer.backend_tokenizer.to_str():
        raise ModelError(
            "the tokenizer is not the same after saving and loading", "this is a defect; please report it with the model's name"
        )
