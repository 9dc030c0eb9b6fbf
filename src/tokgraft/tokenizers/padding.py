"""Fill a vocabulary up to a round size, which hardware likes, with special tokens that no text contains."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Literal

from tokgraft.token_strings import vocabulary_of
from tokgraft.tokenizers.growing import with_added_tokens

UNUSED = "<|unused_{}|>"


def round_size(size: int, to: int | Literal["power_of_two"]) -> int:
    """The least round size that is not below `size`."""
    return 1 << (size - 1).bit_length() if to == "power_of_two" else -(-size // to) * to


def padded(files: Mapping[str, bytes], to: int | Literal["power_of_two"]) -> dict[str, bytes]:
    """The files of a tokenizer with as many unused special tokens behind it as a round size needs; other ids stay."""
    spec, config = json.loads(files["tokenizer.json"]), json.loads(files["tokenizer_config.json"])
    known = vocabulary_of(spec)
    size = max(known.values()) + 1
    free = (name for name in map(UNUSED.format, range(size + len(known))) if name not in known)
    names = [next(free) for _ in range(round_size(size, to) - size)]
    tokenizer = with_added_tokens(spec, names, special=True)
    if names:
        config["additional_special_tokens"] = [*config.get("additional_special_tokens", []), *names]
    return {
        **files,
        "tokenizer.json": tokenizer.to_str(pretty=True).encode() + b"\n",
        "tokenizer_config.json": json.dumps(config, indent=2, sort_keys=True, ensure_ascii=False).encode() + b"\n",
    }
