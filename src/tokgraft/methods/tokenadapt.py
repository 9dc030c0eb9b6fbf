"""TokenAdapt: a new token is a mixture of its own pieces and of source tokens with a similar meaning to a sentence encoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from tokgraft.errors import ConfigError, UnavailableError
from tokgraft.methods import Composition, Doubles, Floats, Ints, Mixtures, Params, Transplant, method
from tokgraft.numerics.nearest import nearest
from tokgraft.numerics.similarity import softmax
from tokgraft.token_strings import characters
from tokgraft.vocab import Vocabulary

Parts = tuple[Sequence[int], Doubles]  # source ids and their weights
TINY = 1e-5  # added to the temperature of the local part
THRESHOLD = {"tokenadapt": 0.0, "aloobun": 0.6}


class TokenAdapt(Params):
    """Mix pieces (by similarity and length) with the nearest source tokens (by similarity); tokens of both vocabularies are copied."""

    mode: Literal["hybrid", "local", "global"] = Field("hybrid", description="Both parts, pieces only, or neighbours only.")
    variant: Literal["tokenadapt", "aloobun"] = Field(
        "tokenadapt",
        description="tokenadapt: similarities of pieces pass a softmax of their own; aloobun, the earlier program: they do not.",
    )
    temperature: float = Field(0.3, gt=0, description="Of both softmaxes.")
    neighbours: int = Field(3, ge=1, description="Source tokens of the global part.")
    share: float = Field(0.3, ge=0, le=1, description="Weight of the global part in a hybrid.")
    threshold: float | None = Field(
        None, ge=-1, le=1, description="Neighbours less similar do not count (default: 0 of tokenadapt, 0.6 of aloobun)."
    )


@method("tokenadapt", TokenAdapt, version=1, paper="arXiv:2505.09738", requires={"sentence_embedder"}, copies_overlap=True, convex=True)
def build(task: Transplant, params: TokenAdapt) -> Composition:
    """Copy the overlap; (1 - share) * local + share * global for the rest, or the one part that there is; N(mean, std) without any.

    Raises:
        ConfigError: The vectors were made for other tokenizers, or there are fewer source tokens than neighbours.
    """
    index, vectors = task.resources["sentence_embedder"]
    usable = vectors.any(axis=1)
    target, source = _rows(task.target, index, usable), _rows(task.source, index, usable)
    pieces = task.new_pieces
    known = [number for number in pieces if target[number] >= 0]
    near: dict[int, Parts] = {}
    if params.mode != "local":
        near = neighbour_mixtures(known, target, source, vectors, params)
    own: dict[int, Parts] = {}
    if params.mode != "global":
        for number in known:
            if ids := pieces[number]:
                a = _cosines(vectors, target[number], [source[piece] for piece in ids])
                lengths = [characters(task.source[piece].text) for piece in ids]
                own[number] = ids, local_weights(a, lengths, characters(task.target[number].text), params)
    rest = Mixtures.means({number: ids for number, ids in pieces.items() if number not in own and number not in near})
    mixtures = Mixtures.joined(Mixtures.of(own).blend(Mixtures.of(near), params.share), rest)
    made = set(mixtures.ids.tolist())
    drawn = [number for number in task.target.canonical_order if number in pieces and number not in made]
    both = len(own.keys() & near.keys())
    stats = {
        "hybrid": both,
        "local": len(own) - both,
        "global": len(near) - both,
        "by_pieces": len(rest),
        "without_vector": len(pieces) - len(known),
    }
    return Composition(task.overlap, mixtures, drawn=drawn, stats=stats)


def local_weights(cosines: Doubles, lengths: Sequence[int], whole: int, params: TokenAdapt) -> Doubles:
    """softmax(z / temperature) with z the mean of similarity and share of the length, (n,); `tokenadapt` first puts similarities through a softmax."""
    similarity = softmax(cosines) if params.variant == "tokenadapt" else cosines
    return softmax((similarity + np.array(lengths, dtype=np.float64) / max(whole, 1)) / 2 / (params.temperature + TINY))


def neighbour_mixtures(numbers: Sequence[int], target: Ints, source: Ints, vectors: Floats, params: TokenAdapt) -> dict[int, Parts]:
    """Target id -> softmax(cos / temperature) over its nearest source tokens, those under the threshold left out.

    Raises:
        ConfigError: There are fewer source tokens with a vector than neighbours.
    """
    anchors = np.flatnonzero(source >= 0)
    if len(anchors) < params.neighbours:
        raise UnavailableError(
            f"{len(anchors)} source tokens have a sentence vector, fewer than neighbours ({params.neighbours})",
            "lower neighbours of tokenadapt, or make sentence_embedder with another encoder",
        )
    threshold = THRESHOLD[params.variant] if params.threshold is None else params.threshold
    places, cosines = nearest(vectors[target[list(numbers)]], vectors[source[anchors]], params.neighbours)
    found = {}
    for number, ids, row in zip(numbers, anchors[places].tolist(), cosines):
        weights = np.where(row >= threshold, softmax(row / params.temperature), 0.0)
        if weights.any():
            found[number] = ids, weights
    return found


def _cosines(vectors: Floats, token: int, pieces: Sequence[int]) -> Doubles:
    """Cosines of a text with others; 0 for those without a vector."""
    places = np.array(pieces)
    values = vectors[np.maximum(places, 0)].astype(np.float64) @ vectors[token].astype(np.float64)
    found: Doubles = np.where(places >= 0, values, 0.0)
    return found


def _rows(vocabulary: Vocabulary, index: dict[str, Any], usable: npt.NDArray[np.bool_]) -> Ints:
    """Per id the row of its text, -1 where it has none: special, no UTF-8, white space alone, nothing that the encoder knows."""
    found = np.full(len(vocabulary), -1, dtype=np.int64)
    for number in vocabulary.text_ids:
        try:
            text = vocabulary[number].text.decode()
        except UnicodeDecodeError:
            continue
        if text.strip():
            if text not in index:
                raise ConfigError(
                    f"sentence_embedder has no vector of {text!r}: it was made for other tokenizers",
                    "make it again: tokgraft resource --name sentence_embedder --tokenizer DIR --base DIR ...",
                )
            if usable[index[text]]:
                found[number] = index[text]
    return found
