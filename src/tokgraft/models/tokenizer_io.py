"""Load and save tokenizers: exactly what tokenizer.json says, in both directions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import AutoTokenizer, PreTrainedTokenizerFast

from tokgraft import jsonl
from tokgraft.errors import TokenizerError
from tokgraft.logs import log
from tokgraft.models.library import first_line, quiet, rewrite
from tokgraft.vocab import check_ids, check_spec


def load_tokenizer(folder: Path, *, trust_remote_code: bool = False) -> PreTrainedTokenizerFast:
    """The tokenizer of a local folder, exactly as its tokenizer.json says.

    A tokenizer class named in the config may rebuild the pipeline (pre-tokenizer, normalizer) from vocabulary and merges with its own
    defaults, so tokenizer.json is read as it stands; the class counts only where there is no such file.

    Raises:
        TokenizerError: The folder holds no tokenizer, or one that cannot be read or has no fast form.
    """
    folder = Path(folder)
    if folder.suffix == ".gguf":
        from tokgraft.models.gguf import load_gguf_tokenizer

        return load_gguf_tokenizer(folder)
    if not folder.is_dir():
        raise TokenizerError(f"tokenizer folder {folder} does not exist", "give a folder that holds a tokenizer.json")
    file = folder / "tokenizer.json"
    if file.is_file():
        check_spec(jsonl.read_object(file, "get the file again", error=TokenizerError), str(file))
    kind = PreTrainedTokenizerFast if file.is_file() and not trust_remote_code else AutoTokenizer
    try:
        with quiet():
            tokenizer = kind.from_pretrained(folder, local_files_only=True, trust_remote_code=trust_remote_code)
    except Exception as error:  # the loaders raise anything from KeyError to a bare Exception of the Rust side
        raise TokenizerError(
            f"{folder}: the tokenizer cannot be read ({first_line(error)})", "give a folder with a tokenizer.json"
        ) from error
    if not getattr(tokenizer, "is_fast", False):
        raise TokenizerError(
            f"{folder}: {type(tokenizer).__name__} has no fast form (tokenizer.json)", "convert it to a tokenizer.json first"
        )
    check_ids(tokenizer.get_vocab(), str(folder))
    return tokenizer


def save_tokenizer(tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write the files of a tokenizer into a folder; no file holds a path."""
    with quiet():
        tokenizer.save_pretrained(folder)
    # "TokenizersBackend" is the name that transformers 5 gives this class; every version knows the older one.
    renamed = (
        {"tokenizer_class": "PreTrainedTokenizerFast"}
        if type(tokenizer).__name__ in {"TokenizersBackend", "PreTrainedTokenizerFast"}
        else {}
    )
    rewrite(
        folder / "tokenizer_config.json",
        drop=("name_or_path", "is_local", "local_files_only", "gguf_file", "trust_remote_code"),
        set_=renamed,
    )
    _warn_of_rebuilding(tokenizer, folder)


def _warn_of_rebuilding(tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Warn when plain AutoTokenizer would not give this tokenizer: for some architectures it puts its own pre-tokenizer in."""
    if getattr(tokenizer, "_auto_map", None):
        return
    with quiet():
        auto = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    if _pipeline(auto) != _pipeline(tokenizer):
        log.warning(
            "AutoTokenizer makes a %s of this tokenizer, which splits text in its own way; load it with PreTrainedTokenizerFast.from_pretrained",
            type(auto).__name__,
        )


def _pipeline(tokenizer: Any) -> list[str]:
    backend = tokenizer.backend_tokenizer
    return [repr(part) for part in (backend.normalizer, backend.pre_tokenizer, backend.decoder)]
