"""The tokenizer of a base model: its parts, the roles of its special tokens, and the files that carry them on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokgraft import jsonl
from tokgraft.errors import TokenizerError
from tokgraft.vocab import SUBSTITUTES, Layout, check_spec

if TYPE_CHECKING:
    from tokenizers import Tokenizer

ROLES = ("bos_token", "eos_token", "pad_token", "unk_token", "mask_token", "cls_token", "sep_token")
FILES = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "chat_template.jinja",
    "vocab.json", "vocab.txt", "merges.txt", "tokenizer.model", "spiece.model", "sentencepiece.bpe.model",
)  # fmt: skip
CARRIED = ("model_max_length", "padding_side", "truncation_side", "chat_template")


@dataclass(frozen=True)
class Special:
    """A special token: its string, how it takes the spaces beside it, and whether words may touch it."""

    content: str
    lstrip: bool = False
    rstrip: bool = False
    single_word: bool = False


@dataclass(frozen=True)
class Base:
    """The tokenizer of a base model.

    Args:
        folder: Where it was read.
        spec: Parsed `tokenizer.json`, in the form that the library writes.
        config: Parsed `tokenizer_config.json` (empty when there is none).
        kind: Its layout.
        roles: Role ("bos_token", ...) -> string of the special token.
        specials: All special tokens, in the order of their ids.
        prefix: Special tokens that encoding puts before a text.
        suffix: Special tokens that encoding puts after it.
        chat_template: The chat template, if any.
    """

    folder: Path
    spec: dict[str, Any]
    config: dict[str, Any]
    kind: Layout
    roles: dict[str, str]
    specials: tuple[Special, ...]
    prefix: tuple[str, ...]
    suffix: tuple[str, ...]
    chat_template: str | None


def load_base(folder: Path) -> Base:
    """Read the tokenizer of a model folder.

    Raises:
        TokenizerError: The folder has no readable `tokenizer.json`.
    """
    folder = Path(folder)
    raw = _read_json(folder / "tokenizer.json")
    if raw is None:
        raise TokenizerError(
            f"{folder} has no tokenizer.json",
            "give a model folder with a fast tokenizer (load a slow one with AutoTokenizer and save it once with save_pretrained)",
        )
    check_spec(raw, str(folder / "tokenizer.json"))
    config = _read_json(folder / "tokenizer_config.json") or {}
    tokenizer = to_tokenizer(raw, str(folder))
    roles = _roles(folder, config, tokenizer)
    _mark_special(tokenizer, roles)
    spec = json.loads(tokenizer.to_str())
    added = sorted(spec["added_tokens"], key=lambda token: int(token["id"]))
    specials = [Special(token["content"], token["lstrip"], token["rstrip"], token["single_word"]) for token in added if token["special"]]
    prefix, suffix = habit(tokenizer)
    template_file = folder / "chat_template.jinja"
    try:
        template = template_file.read_text(encoding="utf-8") if template_file.is_file() else None
    except UnicodeDecodeError as error:
        raise TokenizerError(f"{template_file} is not UTF-8: {error.reason} at byte {error.start}", "get the file again") from None
    return Base(folder, spec, config, Layout.of(spec), roles, tuple(specials), prefix, suffix, template)


def to_tokenizer(spec: Mapping[str, Any], where: str = "tokenizer.json", merges_only: bool = False) -> Tokenizer:
    """A `tokenizers.Tokenizer` from a parsed `tokenizer.json`.

    Args:
        spec: The parsed file.
        where: Its place, for messages.
        merges_only: Switch off what hides the merges: `ignore_merges` (a word found whole skips them) and dropout.

    Raises:
        TokenizerError: The file is not one that the library can read.
    """
    from tokenizers import Tokenizer

    if merges_only and spec["model"]["type"] == "BPE":
        spec = {**spec, "model": {**spec["model"], "ignore_merges": False, "dropout": None}}
    try:
        tokenizer: Tokenizer = Tokenizer.from_str(json.dumps(spec, ensure_ascii=False))
    except Exception as error:
        raise TokenizerError(f"{where} cannot be read: {error}", "check that the file is whole and made by a known version") from None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def vocabulary_of(spec: Mapping[str, Any]) -> dict[str, int]:
    """Token -> id of the whole vocabulary, added tokens included."""
    entries = spec["model"]["vocab"]
    tokens = {entry[0]: index for index, entry in enumerate(entries)} if isinstance(entries, list) else dict(entries)
    tokens.update((added["content"], added["id"]) for added in spec["added_tokens"])
    return tokens


def config_for(roles: Mapping[str, str], specials: tuple[Special, ...], base: Base | None) -> dict[str, Any]:
    """The `tokenizer_config.json` of a tokenizer of ours.

    The class is the generic one, so that loading keeps exactly what `tokenizer.json` says (classes named after a model rebuild
    its pre-tokenizer), and no flag tells it to add BOS: the post-processor in that file does. Cleaning up spaces is off, since it
    would break the round trip.
    """
    config: dict[str, Any] = {name: base.config[name] for name in CARRIED if base and name in base.config}
    config.update(roles)
    others = [special.content for special in specials if special.content not in roles.values()]
    if others:
        config["additional_special_tokens"] = others
    config.update(
        tokenizer_class="PreTrainedTokenizerFast",
        clean_up_tokenization_spaces=False,
        model_input_names=["input_ids", "attention_mask"],
    )
    return config


def tokenizer_files(tokenizer: Tokenizer, config: Mapping[str, Any], base: Base | None) -> dict[str, bytes]:
    """The folder's files: tokenizer.json, tokenizer_config.json and the base's chat template."""
    files = {
        "tokenizer.json": tokenizer.to_str(pretty=True).encode() + b"\n",
        "tokenizer_config.json": json.dumps(config, indent=2, sort_keys=True, ensure_ascii=False).encode() + b"\n",
    }
    if base and base.chat_template is not None:
        files["chat_template.jinja"] = base.chat_template.encode()
    return files


def with_bos(roles: Mapping[str, str], where: str) -> dict[str, str]:
    """`roles` with a BOS token: a tokenizer that lacks one borrows the token with which its model saw texts begin or end.

    Raises:
        TokenizerError: There is none to borrow.
    """
    if "bos_token" in roles:
        return dict(roles)
    for substitute in SUBSTITUTES["bos"]:
        if f"{substitute}_token" in roles:
            return {"bos_token": roles[f"{substitute}_token"], **roles}
    raise TokenizerError(f"the tokenizer of {where} names neither a BOS nor an EOS token", "set bos_token in its tokenizer_config.json")


def _read_json(path: Path) -> dict[str, Any] | None:
    return jsonl.read_object(path, "get the file again", error=TokenizerError) if path.is_file() else None


def _roles(folder: Path, config: Mapping[str, Any], tokenizer: Tokenizer) -> dict[str, str]:
    """Roles from tokenizer_config.json, else special_tokens_map.json, else the ids in the model's own configuration."""
    named = _read_json(folder / "special_tokens_map.json") or {}
    numbered = (_read_json(folder / "generation_config.json") or {}, _read_json(folder / "config.json") or {})
    found = {}
    for role in ROLES:
        value = config.get(role) or named.get(role)
        content = value.get("content") if isinstance(value, dict) else value
        for ids in numbered:
            index = ids.get(f"{role}_id")
            index = index[0] if isinstance(index, list) and index else index
            if not content and type(index) is int and 0 <= index < 2**32:
                content = tokenizer.id_to_token(index)
        if isinstance(content, str) and content and tokenizer.token_to_id(content) is not None:
            found[role] = content
    return found


def _mark_special(tokenizer: Tokenizer, roles: Mapping[str, str]) -> None:
    """Make tokens that have a role special where the file does not say so, as loading them does."""
    from tokenizers import AddedToken

    special = {token.content for token in tokenizer.get_added_tokens_decoder().values() if token.special}
    missing = [content for content in dict.fromkeys(roles.values()) if content not in special]
    if missing:
        tokenizer.add_special_tokens([AddedToken(content, normalized=False, special=True) for content in missing])


def habit(tokenizer: Tokenizer) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Special tokens that encoding puts before and after a text.

    The file alone decides: transformers ignores add_bos_token and add_eos_token where there is a tokenizer.json.
    """
    encoding = tokenizer.encode("a", add_special_tokens=True)
    marks = encoding.special_tokens_mask
    first = next((i for i, mark in enumerate(marks) if not mark), len(marks))
    last = len(marks) - next((i for i, mark in enumerate(reversed(marks)) if not mark), 0)
    return tuple(encoding.tokens[:first]), tuple(encoding.tokens[last:])


def set_affixes(tokenizer: Tokenizer, prefix: tuple[str, ...], suffix: tuple[str, ...]) -> None:
    """Make encoding put these special tokens before and after a text, and nothing else."""
    from tokenizers.processors import TemplateProcessing

    single = [*(f"{token}:0" for token in prefix), "$A:0", *(f"{token}:0" for token in suffix)]
    second = [*(f"{token}:1" for token in prefix), "$B:1", *(f"{token}:1" for token in suffix)]
    ids = [(name, tokenizer.token_to_id(name)) for name in sorted({*prefix, *suffix})]
    tokenizer.post_processor = TemplateProcessing(single=single, pair=[*single, *second], special_tokens=ids)
