"""Load and save tokenizers: exactly what tokenizer.json says, in both directions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer, PreTrainedTokenizerFast

from tokgraft import jsonl
from tokgraft.errors import TokenizerError
from tokgraft.library import first_line, quiet, rewrite
from tokgraft.roles import find_roles, named_roles, read_json
from tokgraft.token_strings import check_ids, check_spec
from tokgraft.vocab import ROLES

CONFIG = "tokenizer_config.json"
NEUTRAL = "PreTrainedTokenizerFast"  # transformers 5 calls it TokenizersBackend; every version knows the older name
CODE = "AutoTokenizer_needs_no_trust_remote_code.here"
"""Names code that is not there, beside a tokenizer.json that needs none.

For some architectures (Qwen2 among them) transformers 5 has a list of published folders with a wrong tokenizer class, and puts its own class
in the place of whatever the folder names, unless it names code of its own. Without trust_remote_code that code is not looked for, and the
named class is taken. With it, loading ends with an error that shows this name.
"""
SAMPLES = (
    "Über 12,5 % der Größe ändern sich nicht; she'll don't WE'VE 3,141.59 x1y2",
    "  leading, inner   runs\n\n\nof\tspaces \r\n and a trailing one ",
    "def f(x):\n    return {'a': [1, 22, 333, 4444]}  # ok?!...\u00a0\u2026",
    "Ο πίνακας δείχνει 日本語のテキスト 한국어 हिन्दी ไทย العربية עברית",
    "e\u0301 \u00e9 ﬁ ① ½ Ǆ \ufeff\u200b\u200d 👩‍👩‍👧 🇩🇪 ☃ <s> </s> <unk> [CLS] <|endoftext|> ▁ Ġ ## <0x0A>",
)


def load_tokenizer(folder: Path, *, trust_remote_code: bool = False) -> PreTrainedTokenizerFast:
    """The tokenizer of a local folder, exactly as its tokenizer.json says.

    A tokenizer class named in the config may rebuild the pipeline (pre-tokenizer, normalizer) from vocabulary and merges with its own
    defaults, so tokenizer.json is read as it stands; the class counts only where there is no such file, and for the roles of special tokens
    where no file names them (`tokgraft.roles`).

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
    own_code = trust_remote_code and has_code(folder)
    known: dict[str, Any] = {}
    if file.is_file():
        spec = jsonl.read_object(file, "get the file again", error=TokenizerError)
        check_spec(spec, str(file))
        if not named_roles(folder):
            known = {f"{role}_token": token for role, token in find_roles(folder, spec).items()}
        if not own_code:
            known |= _added_tokens(folder, spec)
    kind = PreTrainedTokenizerFast if file.is_file() and not own_code else AutoTokenizer
    try:
        with quiet():
            tokenizer = kind.from_pretrained(folder, local_files_only=True, trust_remote_code=own_code, **known)
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


def _added_tokens(folder: Path, spec: Mapping[str, Any]) -> dict[str, Any]:
    """The added tokens of a parsed tokenizer.json as transformers wants to be told them, so that it does not parse the file for them again.

    Nothing where other files of the folder name some, which it would not read then.
    """
    if any((folder / name).is_file() for name in ("special_tokens_map.json", "added_tokens.json")):
        return {}
    if "added_tokens_decoder" in (read_json(folder / CONFIG) or {"added_tokens_decoder": {}}):
        return {}
    added = spec.get("added_tokens")
    if not isinstance(added, list) or not all(isinstance(token, dict) and {"id", "content"} <= token.keys() for token in added):
        return {}  # the library says what is wrong
    return {"added_tokens_decoder": {token["id"]: {key: token[key] for key in token if key != "id"} for token in added}}


def has_code(folder: Path) -> bool:
    """Whether a folder brings a tokenizer class of its own."""
    return any(reference != CODE for reference in _references((read_json(folder / CONFIG) or {}).get("auto_map")))


def _references(auto_map: Any) -> Iterator[str]:
    found = auto_map.get("AutoTokenizer") if isinstance(auto_map, dict) else auto_map
    for reference in found if isinstance(found, (list, tuple)) else [found]:
        if isinstance(reference, str):
            yield reference


def save_tokenizer(tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write the files of a tokenizer into a folder, so that plain `AutoTokenizer` gives this tokenizer; no file holds a path.

    `AutoTokenizer` picks a class by the model's config.json, which must lie there already, and many classes build a pipeline of their own. So
    the neutral class is named, and where that is not enough, `CODE`; then the folder is loaded and compared.

    Raises:
        TokenizerError: `AutoTokenizer` makes another tokenizer of it all the same.
    """
    with quiet():
        tokenizer.save_pretrained(folder)
    own_code = any(reference != CODE for reference in _references(tokenizer.init_kwargs.get("auto_map")))
    drop = ("name_or_path", "is_local", "local_files_only", "gguf_file", "trust_remote_code", *(() if own_code else ("auto_map",)))
    rewrite(folder / CONFIG, drop=drop, set_={} if own_code else {"tokenizer_class": NEUTRAL})
    if own_code or not (difference := _difference(tokenizer, folder)):
        return
    rewrite(folder / CONFIG, drop=(), set_={"auto_map": {"AutoTokenizer": [CODE, CODE]}})
    if difference := _difference(tokenizer, folder):
        raise TokenizerError(
            f"AutoTokenizer makes another tokenizer of what was written: {difference}",
            "use a tokenizer that the model's tokenizer class can express",
        )


def _difference(tokenizer: PreTrainedTokenizerFast, folder: Path) -> str:
    """What plain `AutoTokenizer` does otherwise; empty where it is the same tokenizer."""
    try:
        with quiet():
            auto = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:
        return f"it fails with {first_line(error)}"
    name = type(auto).__name__
    vocabulary = tokenizer.get_vocab()
    if auto.get_vocab() != vocabulary:
        return f"{name} has {len(auto)} tokens, not {len(tokenizer)}, or other ids"
    for role in ROLES:
        if (its := getattr(auto, f"{role}_token", None)) != (ours := getattr(tokenizer, f"{role}_token", None)):
            return f"{name} has {its!r} as {role}, not {ours!r}"
    ids = sorted(vocabulary.values())
    for text in (*SAMPLES, tokenizer.decode(ids[:: max(1, len(ids) // 200)])):
        for special in (False, True):
            ours = tokenizer(text, add_special_tokens=special)["input_ids"]
            if auto(text, add_special_tokens=special)["input_ids"] != ours:
                return f"{name} encodes {text[:40]!r} otherwise"
            if auto.decode(ours) != tokenizer.decode(ours):
                return f"{name} decodes the ids of {text[:40]!r} otherwise"
    return ""
