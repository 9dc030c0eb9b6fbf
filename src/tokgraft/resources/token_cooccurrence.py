"""Vectors of source and of target tokens from the same mixed text: GloVe over it, cut once by each of the two tokenizers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from tokgraft.errors import ArtifactError, DataError, UnavailableError
from tokgraft.resources import _glove, _streams
from tokgraft.resources._contract import Inputs, ResourceParams, resource
from tokgraft.resources._pairing import SOURCE, read_source, source_facts
from tokgraft.vocab import Vocabulary

POWER = 0.75  # exponent of the weight of a rare pair; no reference changes it


class TokenCooccurrence(ResourceParams):
    """GloVe vectors of both vocabularies' tokens over target-language and English train pages, with TokAlign's defaults but two.

    TokAlign takes 300 dimensions for a billion tokens; a corpus of some million words fills 100. Its rate of 0.05 holds for updates from
    one pair; ours take many pairs at once and reach the same loss in as many passes with 0.15.
    """

    dim: int = Field(100, ge=2, description="Width of the vectors (300 in the paper, for a billion tokens).")
    window: int = Field(15, ge=1, description="Tokens of context on each side; a pair counts 1 / distance.")
    min_count: int = Field(5, ge=1, description="Rarer tokens are left out of the text and get no vector.")
    x_max: float = Field(10.0, gt=0, description="Count from which on a pair has full weight.")
    iterations: int = Field(15, ge=1, description="Passes over the counted pairs.")
    rate: float = Field(0.15, gt=0, description="Learning rate of AdaGrad (0.05 in the paper, where an update sees one pair).")
    seed: int = Field(0, ge=0, description="Seed of the first numbers and of the order of updates.")
    max_bytes: int | None = Field(
        None, ge=1, description="Text of each language that is read, in bytes of UTF-8; whole pages from the start (default: all)."
    )


def load(folder: Path, size: int) -> dict[str, Any]:
    """What TokAlign aligns.

    Returns:
        "source" and "target", each a pair of ids (n,) and vectors (n, dim), and the fingerprint of the source vocabulary.

    Raises:
        ArtifactError: The arrays do not fit together, or hold NaN.
    """
    found: dict[str, Any] = {SOURCE: read_source(folder)}
    for side in ("source", "target"):
        ids, vectors = (np.load(folder / f"{side}_{name}.npy", allow_pickle=False) for name in ("ids", "vectors"))
        largest = int(ids.max(initial=-1))
        if len(ids) != len(vectors) or (side == "target" and largest >= size) or not np.isfinite(vectors).all():
            raise ArtifactError(
                f"{folder}: {len(ids)} {side} ids up to {largest}, vectors {vectors.shape}, target vocabulary of {size}; NaN or a bad shape",
                "make the resource again",
            )
        found[side] = (ids, vectors)
    return found


@resource(
    "token_cooccurrence",
    TokenCooccurrence,
    load=load,
    version=1,
    needs={"corpus", "english", "tokenizer", "base"},
    libraries=["numpy", "scipy", "tokenizers"],
)
def build(inputs: Inputs, params: TokenCooccurrence, folder: Path) -> Mapping[str, Any]:
    """Write `{source,target}_ids.npy` (int32, n) and `{source,target}_vectors.npy` (float32, n x dim) for the n frequent tokens.

    Raises:
        DataError: The text has too few frequent tokens, or the vectors diverged.
        TokenizerError: A tokenizer cannot be read.
    """
    from tokgraft.models.io import load_tokenizer

    corpora = [Path(str(inputs.corpus)), Path(str(inputs.english))]
    facts: dict[str, Any] = {}
    for side, place in (("source", inputs.base), ("target", inputs.tokenizer)):
        tokenizer = load_tokenizer(Path(str(place)))
        vocabulary = Vocabulary.from_tokenizer(tokenizer)
        ids, vectors, told = _vectors(_streams.read(corpora, tokenizer, params.max_bytes), vocabulary, params)
        np.save(folder / f"{side}_ids.npy", ids, allow_pickle=False)
        np.save(folder / f"{side}_vectors.npy", vectors, allow_pickle=False)
        facts |= source_facts(vocabulary) if side == "source" else {"vocabulary": vocabulary.fingerprint}
        facts[side] = told
    return facts


def _vectors(
    stream: _streams.TokenStream, vocabulary: Vocabulary, params: TokenCooccurrence
) -> tuple[npt.NDArray[np.int32], _glove.Floats, dict[str, Any]]:
    """Ids with a vector in ascending order, their vectors, and facts."""
    places = _streams.ranks(vocabulary)[stream.ids]
    counts = np.bincount(places[places >= 0], minlength=len(vocabulary))
    frequent = np.flatnonzero(counts >= params.min_count)
    if len(frequent) < 2:
        raise UnavailableError(
            f"{len(frequent)} tokens occur {params.min_count} times in the text", "lower min_count of token_cooccurrence, or add text"
        )
    number = np.full(len(counts) + 1, -1, dtype=np.int32)  # its last place is that of special tokens, -1
    number[frequent] = np.arange(len(frequent), dtype=np.int32)
    kept = _streams.TokenStream(number[places], stream.pages).only(number[places] >= 0)
    pairs = _glove.count(kept, len(frequent), params.window)
    vectors, losses = _glove.fit(pairs, _glove.Fit(params.dim, params.x_max, POWER, params.iterations, params.rate, params.seed))
    if not np.isfinite(vectors).all():
        raise DataError("the token vectors diverged", "lower rate of token_cooccurrence")
    ids = np.array(_streams.text_order(vocabulary), dtype=np.int32)[frequent]
    order = np.argsort(ids)
    facts = {
        "tokens": len(stream.ids),
        "vectors": len(frequent),
        "share_with_vector": round(len(frequent) / len(vocabulary.text_ids), 6),
        "pairs": int(pairs.nnz),
        "loss": round(losses[-1], 6),
    }
    return ids[order], vectors[order], facts
