"""The tokenizer of a base model: its parts, the roles of its special tokens, and the files that carry them on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokgraft.errors import TokenizerError
from tokgraft.overlap import SUBSTITUTES
from tokgraft.roles import find_roles, read_json
from tokgraft.token_strings import Layout, check_spec

if TYPE_CHECKING:
    from tokenizers import Tokenizer

TEMPLATES = ("chat_template.jinja", "additional_chat_templates/*.jinja")
FILES = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json", "vocab.txt", "merges.txt", "tokenizer.model", "spiece.model", "sentencepiece.bpe.model",
)  # fmt: skip
CARRIED = ("model_max_length", "padding_side", "truncation_side", "chat_template")


@dataclass(frozen=True)
class Special:
    """A special token: its string, how it takes the spaces beside it, and whether words may touch it.

    `special` is False for an added token that is kept like one and shows when a text is decoded (`<think>`).
    """

    content: str
    lstrip: bool = False
    rstrip: bool = False
    single_word: bool = False
    special: bool = True


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
        templates: File name -> chat template, for each that lies in a file of its own.
    """

    folder: Path
    spec: dict[str, Any]
    config: dict[str, Any]
    kind: Layout
    roles: dict[str, str]
    specials: tuple[Special, ...]
    prefix: tuple[str, ...]
    suffix: tuple[str, ...]
    templates: dict[str, str]


def load_base(folder: Path) -> Base:
    """Read the tokenizer of a model folder.

    Raises:
        TokenizerError: The folder has no readable `tokenizer.json`.
    """
    folder = Path(folder)
    raw = read_json(folder / "tokenizer.json")
    if raw is None:
        raise TokenizerError(
            f"{folder} has no tokenizer.json",
            "give a model folder with a fast tokenizer (load a slow one with AutoTokenizer and save it once with save_pretrained)",
        )
    check_spec(raw, str(folder / "tokenizer.json"))
    config = read_json(folder / "tokenizer_config.json") or {}
    tokenizer = to_tokenizer(raw, str(folder))
    roles = {f"{role}_token": content for role, content in find_roles(folder, json.loads(tokenizer.to_str())).items()}
    _mark_special(tokenizer, roles)
    spec = json.loads(tokenizer.to_str())
    prefix, suffix = habit(tokenizer)
    specials = tuple(Special(**facts) for facts in added_facts(spec) if facts["special"])
    return Base(folder, spec, config, Layout.of(spec), roles, specials, prefix, suffix, chat_templates(folder))


def added_facts(spec: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The added tokens of a parsed `tokenizer.json` by ascending id, with the fields of `Special`."""
    names = [field.name for field in fields(Special)]
    return [{name: token[name] for name in names} for token in sorted(spec["added_tokens"], key=lambda token: int(token["id"]))]


def chat_templates(folder: Path) -> dict[str, str]:
    """File name -> template of each chat template that lies in a file of its own, as transformers saves them.

    Raises:
        TokenizerError: One is not UTF-8.
    """
    found = {}
    for path in sorted(path for pattern in TEMPLATES for path in folder.glob(pattern) if path.is_file()):
        try:
            found[path.relative_to(folder).as_posix()] = path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise TokenizerError(f"{path} is not UTF-8: {error.reason} at byte {error.start}", "get the file again") from None
    return found


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


def config_for(roles: Mapping[str, str], specials: tuple[Special, ...], base: Base | None) -> dict[str, Any]:
    """The `tokenizer_config.json` of a tokenizer of ours.

    The class is the generic one, so that loading keeps exactly what `tokenizer.json` says (classes named after a model rebuild
    its pre-tokenizer), and no flag tells it to add BOS: the post-processor in that file does. Cleaning up spaces is off, since it
    would break the round trip.
    """
    config: dict[str, Any] = {name: base.config[name] for name in CARRIED if base and name in base.config}
    config.update(roles)
    others = [special.content for special in specials if special.special and special.content not in roles.values()]
    if others:
        config["additional_special_tokens"] = others
    config.update(
        tokenizer_class="PreTrainedTokenizerFast",
        clean_up_tokenization_spaces=False,
        model_input_names=["input_ids", "attention_mask"],
    )
    return config


def tokenizer_files(tokenizer: Tokenizer, config: Mapping[str, Any], base: Base | None) -> dict[str, bytes]:
    """The folder's files: tokenizer.json, tokenizer_config.json and the base's chat templates."""
    files = {
        "tokenizer.json": tokenizer.to_str(pretty=True).encode() + b"\n",
        "tokenizer_config.json": json.dumps(config, indent=2, sort_keys=True, ensure_ascii=False).encode() + b"\n",
    }
    return files | {name: template.encode() for name, template in (base.templates if base else {}).items()}


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
