"""Text of corpora as token ids: the training text of a language and English, read in one order by any tokenizer."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tokgraft.errors import DataError
from tokgraft.logs import Heartbeat
from tokgraft.vocab import Vocabulary

BATCH = 256


@dataclass(frozen=True)
class Stream:
    """Pages as token ids.

    Attributes:
        ids: Ids of all pages, one page after the other, (tokens,), int32.
        pages: Number of the page of each token, (tokens,), int32.
    """

    ids: npt.NDArray[np.int32]
    pages: npt.NDArray[np.int32]

    def only(self, keep: npt.NDArray[np.bool_]) -> Stream:
        """The stream without the tokens that `keep`, (tokens,), leaves out: what stood on both sides of them becomes adjacent."""
        return Stream(self.ids[keep], self.pages[keep])


def read(corpora: Sequence[Path], tokenizer: Any) -> Stream:
    """Token ids of the train pages of `corpora`, in their order; the paragraphs of a page are joined by line ends, special tokens left out.

    Args:
        corpora: Folders of corpus artifacts.
        tokenizer: A fast tokenizer.

    Raises:
        DataError: A folder has no train split, or the text has no token.
    """
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()
    backend.no_padding()
    pages = [np.array(ids, dtype=np.int32) for corpus in corpora for ids in _encoded(corpus, backend)]
    lengths = [len(page) for page in pages]
    if not sum(lengths):
        raise DataError(f"the train pages of {', '.join(map(str, corpora))} have no token", "give corpora with text")
    return Stream(np.concatenate(pages), np.repeat(np.arange(len(pages), dtype=np.int32), lengths))


def text_order(vocabulary: Vocabulary) -> list[int]:
    """Ids of the tokens that stand for text, in `canonical_order`.

    Training counts in places of this order and not in ids, so that equal tokens give equal bytes whatever their ids are.
    """
    return [number for number in vocabulary.canonical_order if vocabulary[number].kind != "special"]


def ranks(vocabulary: Vocabulary) -> npt.NDArray[np.int32]:
    """Place of each id in `text_order`, -1 for special tokens and ids without one, (ids,)."""
    places = np.full(len(vocabulary), -1, dtype=np.int32)
    order = text_order(vocabulary)
    places[order] = np.arange(len(order), dtype=np.int32)
    return places


def _encoded(corpus: Path, backend: Any) -> Iterator[list[int]]:
    path = corpus / "train.jsonl"
    if not path.is_file():
        raise DataError(f"{path} does not exist", "give the folder of a corpus artifact")
    heartbeat = Heartbeat(f"tokenizing {corpus.name}", path.stat().st_size, "bytes")
    batch: list[str] = []
    done = 0
    with path.open(encoding="utf-8") as handle:
        for line in handle:
            batch.append("\n".join(paragraph["text"] for paragraph in json.loads(line)["paragraphs"]))
            done += len(line.encode())
            if len(batch) == BATCH:
                yield from (item.ids for item in backend.encode_batch(batch, add_special_tokens=False))
                heartbeat.beat(done)
                batch = []
    yield from (item.ids for item in backend.encode_batch(batch, add_special_tokens=False))
    heartbeat.beat(done)
