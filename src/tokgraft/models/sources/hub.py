"""Source kind `hub`: a pinned revision of a model repository."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from tokgraft.config.model import HubModel
from tokgraft.errors import DataError
from tokgraft.logs import log
from tokgraft.models.sources import MODEL_SOURCES, FetchedModel, ModelRequest

# Weights as safetensors only: pickles are not even downloaded.
PATTERNS = ["*.safetensors", "*.safetensors.index.json", "*.json", "*.jinja", "*.model", "merges.txt", "vocab.txt"]
TEMPLATES = "additional_chat_templates/*.jinja"


@MODEL_SOURCES.register("hub")
def fetch(request: ModelRequest) -> FetchedModel:
    """Download the files that are needed, load and hand over.

    Raises:
        DataError: The Hub cannot be reached, or has no such repository or revision, or wants a login.
        ModelError: The files cannot be loaded safely.
    """
    source = request.config.source
    assert isinstance(source, HubModel)
    folder = snapshot(source, request.cache, request.config.trust_remote_code)
    from tokgraft.models.io import load_model, load_tokenizer
    from tokgraft.models.weights import stored_dtype

    trust = request.config.trust_remote_code
    tokenizer = load_tokenizer(request.tokenizer) if request.tokenizer else load_tokenizer(folder, trust_remote_code=trust)
    return FetchedModel(load_model(folder, trust_remote_code=trust), tokenizer, dtype=stored_dtype(folder))


def snapshot(source: HubModel, cache: Path, code: bool) -> Path:
    """Folder of a repository's weights (safetensors), configs and tokenizer; its own Python code only if `code`.

    Raises:
        DataError: The Hub cannot be reached, or has no such repository or revision, or wants a login.
    """
    from huggingface_hub import errors, snapshot_download

    log.info("downloading %s at revision %s", source.id, source.revision)
    patterns = [*PATTERNS, "*.py"] if code else PATTERNS
    what = f"model {source.id} at revision {source.revision[:12]}"
    try:
        get = partial(snapshot_download, source.id, revision=source.revision, cache_dir=cache / "hub")
        get(allow_patterns=patterns, ignore_patterns=["*/*"])  # folders hold the model in other forms
        return Path(get(allow_patterns=[TEMPLATES]))
    except errors.GatedRepoError as error:
        raise DataError(
            f"{what} is only for logged-in users who accepted its terms", "accept them and log in with `hf auth login`"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise DataError(f"{what}: there is no such revision", "copy the full commit hash from the repository's history") from error
    except errors.RepositoryNotFoundError as error:
        raise DataError(f"{what}: there is no such repository, or it is private", "check `id`; log in with `hf auth login`") from error
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled, OSError) as error:
        do = "connect (and unset HF_HUB_OFFLINE), or download it elsewhere and use a source of kind local"
        raise DataError(f"{what}: the Hub cannot be reached, and the files are not in the cache", do) from error
