"""Source kind `local`: a model folder of the user's, or a GGUF file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tokgraft.artifacts import file_sha256
from tokgraft.config.model import LocalModel
from tokgraft.errors import ModelError
from tokgraft.models.sources import MODEL_SOURCES, FetchedModel, ModelRequest


@MODEL_SOURCES.register("local")
def fetch(request: ModelRequest) -> FetchedModel:
    """Load the folder or file; the path itself is no setting of the artifact, its content is.

    Raises:
        ModelError: Nothing there, or nothing that can be loaded safely.
    """
    source = request.config.source
    assert isinstance(source, LocalModel)
    from tokgraft.models.io import load_model, load_tokenizer
    from tokgraft.models.weights import stored_dtype

    path, trust = Path(source.path).expanduser(), request.config.trust_remote_code
    if not path.exists():
        raise ModelError(f"{path} does not exist", "give the folder or .gguf file of a model (relative to the working folder, or absolute)")
    gguf = path.suffix == ".gguf"
    facts: dict[str, Any] = {"sha256": file_sha256(path)} if gguf else {}
    tokenizer = load_tokenizer(request.tokenizer) if request.tokenizer else load_tokenizer(path, trust_remote_code=trust)
    model = load_model(path, trust_remote_code=trust)
    if gguf and file_sha256(path) != facts["sha256"]:
        raise ModelError(f"{path} was changed while it was read", "run again")
    return FetchedModel(model, tokenizer, facts, stored_dtype(path), ("gguf",) if gguf else ())
