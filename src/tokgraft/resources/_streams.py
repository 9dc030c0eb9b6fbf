"""Text of corpora as token ids: the training text of a language and English, read in one order by any tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tokgraft.errors import DataError
from tokgraft.resources._pages import batches
from tokgraft.vocab import Vocabulary


@dataclass(frozen=True)
class TokenStream:
    """Pages as token ids.

    Attributes:
        ids: Ids of all pages, one page after the other, (tokens,), int32.
        pages: Number of the page of each token, (tokens,), int32.
    """

    ids: npt.NDArray[np.int32]
    pages: npt.NDArray[np.int32]

    def only(self, keep: npt.NDArray[np.bool_]) -> TokenStream:
        """The stream without the tokens that `keep`, (tokens,), leaves out: what stood on both sides of them becomes adjacent."""
        return TokenStream(self.ids[keep], self.pages[keep])


def read(corpora: Sequence[Path], tokenizer: Any, max_bytes: int | None = None) -> TokenStream:
    """Token ids of the train pages of `corpora`, in their order; the paragraphs of a page are joined by line ends, special tokens left out.

    Args:
        corpora: Folders of corpus artifacts.
        tokenizer: A fast tokenizer.
        max_bytes: Text of each corpus that is read, in bytes of UTF-8; None: all.

    Raises:
        DataError: A folder has no train split, or the text has no token.
    """
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()
    backend.no_padding()
    pages = [
        np.array(page.ids, dtype=np.int32)
        for corpus in corpora
        for texts in batches(corpus, f"tokenizing {corpus.name}", max_bytes)
        for page in backend.encode_batch(texts, add_special_tokens=False)
    ]
    lengths = [len(page) for page in pages]
    if not sum(lengths):
        raise DataError(f"the train pages of {', '.join(map(str, corpora))} have no token", "give corpora with text")
    return TokenStream(np.concatenate(pages), np.repeat(np.arange(len(pages), dtype=np.int32), lengths))


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
