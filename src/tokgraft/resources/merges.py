"""The merge rules of the target tokenizer, as ids."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tokgraft.errors import ArtifactError, UnsupportedError
from tokgraft.resources._contract import Inputs, ResourceParams, resource
from tokgraft.token_strings import Layout
from tokgraft.vocab import Vocabulary


class Merges(ResourceParams):
    """Which two tokens a BPE tokenizer joins to which third one."""


def load(folder: Path, size: int) -> npt.NDArray[np.int32]:
    """(n, 3): left id, right id, id of what they make.

    Raises:
        ArtifactError: The array does not fit the vocabulary.
    """
    merges: npt.NDArray[np.int32] = np.load(folder / "merges.npy", allow_pickle=False)
    if merges.ndim != 2 or merges.shape[1] != 3 or (merges.size and not 0 <= int(merges.min()) <= int(merges.max()) < size):
        raise ArtifactError(f"{folder}: the merges do not fit a vocabulary of {size}", "make the resource again")
    return merges


@resource("merges", Merges, load=load, version=1, needs={"tokenizer"}, libraries=["tokenizers"])
def build(inputs: Inputs, params: Merges, folder: Path) -> Mapping[str, Any]:
    """Write `merges.npy`: (n, 3) int32, left id, right id, id of what they make, in order of rank.

    Raises:
        TokenizerError: The tokenizer has no merge rules, because it is not a BPE tokenizer.
    """
    from tokgraft.models.io import load_tokenizer

    tokenizer = load_tokenizer(Path(str(inputs.tokenizer)))
    layout = Layout.of(json.loads(tokenizer.backend_tokenizer.to_str()))  # `Layout.read` leaves the merges out
    if layout.model["type"] != "BPE":
        raise UnsupportedError(
            f"{inputs.tokenizer} is a {layout.model['type']} tokenizer, which has no merge rules",
            "choose a BPE tokenizer, or a method that needs no merges (vipi, subword, mean)",
        )
    vocab: dict[str, int] = tokenizer.get_vocab()
    prefix = layout.model.get("continuing_subword_prefix") or ""
    rules = []
    for merge in layout.model["merges"]:
        left, right = merge.split(" ") if isinstance(merge, str) else merge
        made = left + right.removeprefix(prefix)
        if left in vocab and right in vocab and made in vocab:
            rules.append((vocab[left], vocab[right], vocab[made]))
    np.save(folder / "merges.npy", np.array(rules, dtype=np.int32).reshape(-1, 3), allow_pickle=False)
    return {"vocabulary": Vocabulary.from_tokenizer(tokenizer).fingerprint, "merges": len(rules)}
