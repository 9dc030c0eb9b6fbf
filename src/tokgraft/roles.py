"""Which special token has which role (begin, end, padding, ...) in a folder as people publish it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokgraft import jsonl
from tokgraft.errors import TokenizerError
from tokgraft.logs import log
from tokgraft.token_strings import vocabulary_of
from tokgraft.vocab import ROLES


def find_roles(folder: Path, spec: Mapping[str, Any]) -> dict[str, str]:
    """Role -> string of the special token, in the order of `ROLES`.

    Roles are read from tokenizer_config.json and special_tokens_map.json. Where these name none (GPT-2's folder says nothing but the
    longest text), they are what `AutoTokenizer` takes from the tokenizer's class. Roles that are still missing are taken from the ids in
    generation_config.json and config.json, where these are those of added tokens. What was not read from the first is logged.

    Args:
        folder: Folder of the tokenizer, with the model's configuration beside it or without.
        spec: Its parsed tokenizer.json.

    Raises:
        TokenizerError: A file cannot be read.
    """
    tokens = vocabulary_of(spec)
    found = _known(named_roles(folder), tokens)
    if not found and (found := _known(_roles_of_class(folder), tokens)):
        log.info("%s names no special tokens; as its tokenizer class has it: %s", folder, _listed(found))
    if assumed := {role: token for role, token in _numbered(folder, spec).items() if role not in found}:
        log.info("%s: by the ids in its configuration, %s", folder, _listed(assumed))
    found |= assumed
    return {role: found[role] for role in ROLES if role in found}


def named_roles(folder: Path) -> dict[str, str]:
    """Roles that tokenizer_config.json names, else special_tokens_map.json.

    Raises:
        TokenizerError: A file cannot be read.
    """
    config, named = read_json(folder / "tokenizer_config.json") or {}, read_json(folder / "special_tokens_map.json") or {}
    found = {}
    for role in ROLES:
        value = config.get(f"{role}_token") or named.get(f"{role}_token")
        content = value.get("content") if isinstance(value, dict) else value
        if isinstance(content, str) and content:
            found[role] = content
    return found


def read_json(path: Path) -> dict[str, Any] | None:
    """A JSON object; None where there is no such file.

    Raises:
        TokenizerError: It is none.
    """
    return jsonl.read_object(path, "get the file again", error=TokenizerError) if path.is_file() else None


def _known(roles: Mapping[str, str], tokens: Mapping[str, int]) -> dict[str, str]:
    return {role: token for role, token in roles.items() if token in tokens}


def _roles_of_class(folder: Path) -> dict[str, str]:
    """What `AutoTokenizer` says; nothing where it does not know the folder's model, or needs code of the folder."""
    from transformers import AutoTokenizer

    from tokgraft.library import quiet

    try:
        with quiet():
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception:  # the loaders raise anything; the files alone are read then
        return {}
    return {role: str(token) for role in ROLES if (token := getattr(tokenizer, f"{role}_token", None)) is not None}


def _numbered(folder: Path, spec: Mapping[str, Any]) -> dict[str, str]:
    """Roles by the ids in the model's own configuration."""
    names = {token["id"]: token["content"] for token in spec.get("added_tokens") or ()}
    found: dict[str, str] = {}
    for numbers in (read_json(folder / "generation_config.json") or {}, read_json(folder / "config.json") or {}):
        for role in ROLES:
            number = numbers.get(f"{role}_token_id")
            number = number[0] if isinstance(number, list) and number else number
            if type(number) is int and number in names:
                found.setdefault(role, names[number])
    return found


def _listed(roles: Mapping[str, str]) -> str:
    return ", ".join(f"{role} {token}" for role, token in roles.items())
