"""Text of the target language in target tokens: how often each token occurs, and pages to fit a head on and to stop the fit by."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from tokgraft.errors import ArtifactError, UnavailableError
from tokgraft.resources._contract import Inputs, ResourceParams, resource
from tokgraft.vocab import Vocabulary

BATCH = 256
LEAST = 200  # predicted tokens of a split below which nothing can be fitted
Ids = npt.NDArray[np.int32]


class TargetText(ResourceParams):
    """Unigram counts of target tokens over the train pages, and token ids of some train and dev pages."""

    tokens: int = Field(40_000, ge=LEAST, description="Predicted tokens of train text.")
    dev_tokens: int = Field(15_000, ge=LEAST, description="Predicted tokens of dev text.")
    length: int = Field(256, ge=8, description="Longest document in tokens; longer pages are cut.")
    count_bytes: int = Field(200_000_000, ge=1, description="Bytes of train text that tokens are counted in, from the first page on.")


def load(folder: Path, size: int) -> dict[str, Any]:
    """`counts` (size,), int64; `train` and `dev`: lists of documents, each an int32 array of ids that starts with what it is predicted from.

    Raises:
        ArtifactError: The arrays do not fit together.
    """
    counts = np.load(folder / "counts.npy", allow_pickle=False)
    if counts.shape != (size,) or counts.min() < 0 or not counts.any():
        raise ArtifactError(f"{folder}: counts of {counts.shape} for a vocabulary of {size}", "make the resource again")
    found: dict[str, Any] = {"counts": counts}
    for name in ("train", "dev"):
        ids = np.load(folder / f"{name}.npy", allow_pickle=False)
        ends = np.load(folder / f"{name}_ends.npy", allow_pickle=False)
        if not len(ends) or ends[-1] != len(ids) or np.diff(ends, prepend=0).min() < 2 or ids.min() < 0 or ids.max() >= size:
            raise ArtifactError(f"{folder}: the documents of {name} do not fit a vocabulary of {size}", "make the resource again")
        found[name] = np.split(ids.astype(np.int32), ends[:-1])
    return found


@resource("target_text", TargetText, load=load, version=1, needs={"corpus", "tokenizer"}, libraries=["tokenizers"])
def build(inputs: Inputs, params: TargetText, folder: Path) -> Mapping[str, Any]:
    """Write `counts.npy` (int64, one count for each id), and for train and dev `<split>.npy` (int32 ids of all documents, one after the
    other) and `<split>_ends.npy` (int64, where each document ends).

    A document is what scoring makes of text: the token that it is predicted from, then up to `length` tokens; the end token where a page
    ends. The first piece of every page comes before the second of any.

    Raises:
        DataError: A split is missing or has too little text.
        TokenizerError: The tokenizer cannot be read, or has neither BOS nor EOS.
    """
    from tokgraft.models.bits import prefix_token
    from tokgraft.models.io import load_tokenizer
    from tokgraft.training.pages import Pages

    tokenizer = load_tokenizer(Path(str(inputs.tokenizer)))
    vocabulary = Vocabulary.from_tokenizer(tokenizer)
    prefix = prefix_token(tokenizer)
    end = prefix if tokenizer.eos_token_id is None else int(tokenizer.eos_token_id)
    facts: dict[str, Any] = {"vocabulary": vocabulary.fingerprint}
    splits = {name: Pages(Path(str(inputs.corpus)), name) for name in ("train", "dev")}
    counts, size = _count(splits["train"], tokenizer, end, len(vocabulary), params.count_bytes)
    np.save(folder / "counts.npy", counts, allow_pickle=False)
    facts |= {"counted_tokens": int(counts.sum()), "counted_bytes": size}
    for name, budget in (("train", params.tokens), ("dev", params.dev_tokens)):
        pages = splits[name]
        documents = list(_documents(_encoded(pages, pages.order(0, 0), tokenizer), prefix, end, params.length, budget))
        predicted = sum(len(document) - 1 for document in documents)
        if predicted < LEAST:
            raise UnavailableError(
                f"{pages.path} has {predicted} tokens of text, too few to fit anything on", f"give at least {LEAST} tokens"
            )
        np.save(folder / f"{name}.npy", np.concatenate(documents), allow_pickle=False)
        np.save(folder / f"{name}_ends.npy", np.cumsum([len(document) for document in documents], dtype=np.int64), allow_pickle=False)
        facts |= {f"{name}_documents": len(documents), f"{name}_tokens": predicted}
    return facts


def _encoded(pages: Any, numbers: Iterable[int], tokenizer: Any) -> Iterator[tuple[str, list[int]]]:
    """Text and token ids of pages."""
    numbers = list(numbers)
    for start in range(0, len(numbers), BATCH):
        texts = pages.texts(numbers[start : start + BATCH])
        yield from zip(texts, tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"])


def _count(pages: Any, tokenizer: Any, end: int, size: int, limit: int) -> tuple[npt.NDArray[np.int64], int]:
    """Counts over pages in the file's order, each with its end token, until `limit` bytes; and the bytes."""
    counts = np.zeros(size, dtype=np.int64)
    done = 0
    for text, ids in _encoded(pages, range(len(pages)), tokenizer):
        counts += np.bincount([*ids, end], minlength=size)
        done += len(text.encode())
        if done >= limit:
            break
    return counts, done


def _documents(encoded: Iterator[tuple[str, list[int]]], prefix: int, end: int, length: int, budget: int) -> Iterator[Ids]:
    """Documents until they have `budget` predicted tokens: the first piece of each page, then the second of each, and so on."""
    later: list[list[int]] = []
    left = budget

    def taken(piece: list[int]) -> Ids:
        nonlocal left
        piece = piece[:left]
        left -= len(piece)
        return np.array([prefix, *piece], dtype=np.int32)

    for _, ids in encoded:
        whole = [*ids, end]
        yield taken(whole[:length])
        later.append(whole[length:])
        if not left:
            return
    while later := [rest for rest in later if rest]:
        for rest in later:
            yield taken(rest[:length])
            if not left:
                return
        later = [rest[length:] for rest in later]
