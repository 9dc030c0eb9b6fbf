"""Weighted subword mean: pieces count by length or place, in the input and in the output table by rules of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from tokgraft.config.base import Strict
from tokgraft.methods import Composition, Mixtures, Params, Transplant, given, method
from tokgraft.token_strings import characters


class Plain(Strict):
    """Weights without a parameter."""

    kind: Literal["mean", "first", "last"] = Field(description="All pieces alike, the first alone, the last alone.")


class Length(Strict):
    """Weights by the length of a piece."""

    kind: Literal["length"]
    unit: Literal["bytes", "characters"] = Field("bytes", description="What is counted; a character counts where it begins.")


class Linear(Strict):
    """Weights 1, 2, ..., n."""

    kind: Literal["linear"]
    heavy: Literal["first", "last"] = Field("last", description="Which end gets the weight n.")


class Exponential(Strict):
    """Weights exp(rate * i) of piece i."""

    kind: Literal["exponential"]
    rate: float = Field(2.0, ge=-50, le=50, description="Above 0 the last piece counts most, below 0 the first.")


Weighting = Annotated[Plain | Length | Linear | Exponential, Field(discriminator="kind")]
Preset = Literal[
    "mean", "fvt", "retok", "redwhale", "weighted_fvt", "adaptivocab", "adaptivocab_code", "asymmetric", "eeve", "first_last",
    "weighted_mean", "mergekit_weighted_mean",
]  # fmt: skip
MEAN, FIRST, LAST = Plain(kind="mean"), Plain(kind="first"), Plain(kind="last")
CHARACTERS = Length(kind="length", unit="characters")
PRESETS: dict[Preset, tuple[Weighting, Weighting]] = {
    "mean": (MEAN, MEAN),
    "fvt": (MEAN, MEAN),
    "retok": (MEAN, MEAN),
    "redwhale": (MEAN, MEAN),
    "weighted_fvt": (CHARACTERS, CHARACTERS),
    "adaptivocab": (Exponential(kind="exponential", rate=2), Exponential(kind="exponential", rate=-2)),
    "adaptivocab_code": (Exponential(kind="exponential", rate=np.log(2)), Exponential(kind="exponential", rate=-np.log(2))),
    "asymmetric": (MEAN, CHARACTERS),
    "eeve": (MEAN, FIRST),
    "first_last": (LAST, FIRST),
    "weighted_mean": (Linear(kind="linear", heavy="last"), Linear(kind="linear", heavy="first")),
    "mergekit_weighted_mean": (Linear(kind="linear", heavy="first"), Linear(kind="linear", heavy="last")),
}


class Subword(Params):
    """Weighted mean of the source rows of a token's pieces; tokens of both vocabularies are copied."""

    preset: Preset = Field("asymmetric", description="Sets both weightings: those of a paper or program.")
    input: Weighting | None = Field(None, description="Weights for the input table, instead of the preset's.")
    output: Weighting | None = Field(None, description="Weights for the output table, instead of the preset's.")
    compatibility: Literal["none", "mergekit"] = Field(
        "none", description="mergekit: pieces of vocabulary strings read as text, and not of the tokens' bytes (for comparison)."
    )


@method("subword", Subword, version=1, paper="arXiv:2503.19693, arXiv:2608.03494 and others: see presets", copies_overlap=True, convex=True)
def build(task: Transplant, params: Subword) -> Composition:
    """Copy the overlap; for the rest sum_i w_i E[p_i] and sum_i v_i U[p_i]; of a tied model the mean of both; global mean without pieces."""
    preset = PRESETS[params.preset]
    weighting = {"input": params.input or preset[0], "output": params.output or preset[1]}
    found = task.new_pieces if params.compatibility == "none" else _pieces_of_strings(task)
    pieces = {number: ids for number, ids in found.items() if ids}
    mixtures = _mixtures(task, weighting["input"], pieces)
    output = None if weighting["input"] == weighting["output"] else _mixtures(task, weighting["output"], pieces)
    if task.tied and output is not None:
        mixtures = mixtures.blend(output, 0.5)
    counts = [len(ids) for ids in pieces.values()]
    stats = {
        "pieces_per_token": round(sum(counts) / len(counts), 4) if counts else 0.0,
        **{part: rule.model_dump(mode="json") for part, rule in weighting.items()},
    }
    return Composition(task.overlap, mixtures, output, stats=stats)


def _pieces_of_strings(task: Transplant) -> dict[int, tuple[int, ...]]:
    """Target id -> pieces of the vocabulary string, read as text; only the marker of a space before it is understood."""
    segmenter = given(task.segmenter, "segmenter")
    ids = [number for number in task.target.text_ids if number not in task.overlap]
    texts = [task.target[number].surface for number in ids]
    spaced = [" " + text[1:] if text.startswith("Ġ") else text for text in texts]
    return {number: tuple(found) for number, found in zip(ids, segmenter.pieces_many([text.encode() for text in spaced]))}


def _mixtures(task: Transplant, rule: Weighting, pieces: Mapping[int, tuple[int, ...]]) -> Mixtures:
    """The mixture of each token by a rule."""
    if rule == MEAN:
        return Mixtures.means(pieces)
    return Mixtures.of({number: (ids, weights(rule, [task.source[piece].text for piece in ids])) for number, ids in pieces.items()})


def weights(rule: Weighting, texts: Sequence[bytes]) -> list[float]:
    """Weights of the pieces `texts` of one token, at least 0 and not all 0, not scaled."""
    count = len(texts)
    if isinstance(rule, Length):
        found = [float(len(text) if rule.unit == "bytes" else characters(text)) for text in texts]
        return found if any(found) else [1.0] * count  # the middle of one character
    if isinstance(rule, Linear):
        found = [float(place + 1) for place in range(count)]
        return found if rule.heavy == "last" else found[::-1]
    if isinstance(rule, Exponential):
        last = count - 1 if rule.rate > 0 else 0
        return [float(np.exp(rule.rate * (place - last))) for place in range(count)]
    if rule.kind == "mean":
        return [1.0] * count
    return [float(place == (0 if rule.kind == "first" else count - 1)) for place in range(count)]
