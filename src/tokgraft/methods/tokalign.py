"""TokAlign: a new token takes the row of the source token that keeps the same company, judged by cosines to shared tokens."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from tokgraft.errors import UnavailableError
from tokgraft.logs import log
from tokgraft.methods import Composition, How, Ints, Mixtures, Params, Transplant, method
from tokgraft.numerics.similarity import BLOCK, unit_rows
from tokgraft.rows.pairing import made_for

LEAST = 10  # fewer pivots than this say too little about a token


class TokAlign(Params):
    """Copy the overlap; every other token copies the source token whose GloVe vector has the most similar cosines to shared pivots."""

    pivots: int = Field(300, ge=2, description="Shared tokens that both spaces are described by; all of them where there are fewer.")
    compatibility: Literal["none", "tokalign"] = Field(
        "none",
        description="tokalign: as published, dot products of the cosines to pivots, and a random source row for a token without a vector.",
    )


@method(
    "tokalign",
    TokAlign,
    version=1,
    paper="arXiv:2506.03523",
    requires={"token_cooccurrence"},
    copies_overlap=True,
    convex=True,
    shares_rows=True,
)
def build(task: Transplant, params: TokAlign) -> Composition:
    """E'[t] = E[m(t)], U'[t] = U[m(t)]: m(t) the same token, else the most similar; the mean over pieces for tokens without a vector.

    Raises:
        ConfigError: The vectors were made for another base.
        DataError: Too few shared tokens have vectors in both spaces.
    """
    found = made_for(task, "token_cooccurrence")
    known = dict(zip(found["target"][0].tolist(), found["target"][1]))
    order = task.others(task.overlap)
    new = [number for number in order if number in known]
    unseen = [number for number in order if number not in known]
    mapped, pivots = _align(task, params, new) if new else ({}, 0)
    how: dict[int, How] = dict.fromkeys(mapped, "mapped")
    if params.compatibility == "tokalign":
        drawn = task.rng("tokalign unseen").choice(task.live, size=len(unseen))
        mapped |= dict(zip(unseen, drawn.tolist()))
        how |= dict.fromkeys(unseen, "random")
    pieces = {number: task.pieces.get(number, ()) for number in unseen if number not in mapped}
    how |= dict.fromkeys(pieces, "fallback")
    used = {*mapped.values(), *(match.source for match in task.overlap.values())}
    stats = {"pivots": pivots, "unseen": len(unseen), "source_rows_used": len(used)}
    return Composition(task.overlap, Mixtures.joined(Mixtures.copies(mapped), Mixtures.means(pieces)), how=how, stats=stats)


def most_similar(
    target: npt.NDArray[np.floating], source: npt.NDArray[np.floating], pivots: tuple[Ints, Ints], cosine: bool = True
) -> Ints:
    """For each target vector the place of the source vector with the most similar relative representation.

    A relative representation is the vector of cosines to the pivots of its own space (Moschella 2023). Among equals the first wins.

    Args:
        target: (n, k).
        source: (m, l); l may be another width than k.
        pivots: Places of the same tokens in `target` and in `source`.
        cosine: Compare by cosine; otherwise by dot product, which favours tokens that are near to many pivots whatever they are.

    Returns:
        (n,).
    """
    left, right = unit_rows(target), unit_rows(source)
    left, right = left @ left[pivots[0]].T, right @ right[pivots[1]].T
    right = unit_rows(right) if cosine else right
    places = np.empty(len(left), dtype=np.int64)
    step = max(1, BLOCK // len(right))
    for begin in range(0, len(left), step):
        places[begin : begin + step] = np.argmax(left[begin : begin + step] @ right.T, axis=1)
    return places


def _align(task: Transplant, params: TokAlign, new: list[int]) -> tuple[dict[int, int], int]:
    """Source id for each id of `new`, and the number of pivots."""
    (ids, vectors), (source_ids, source_vectors) = (task.resources["token_cooccurrence"][side] for side in ("target", "source"))
    place = {number: at for at, number in enumerate(ids.tolist())}
    source_place = {number: at for at, number in enumerate(source_ids.tolist())}
    shared = [
        (place[number], source_place[task.overlap[number].source])
        for number in task.target.canonical_order
        if number in place and number in task.overlap and task.overlap[number].source in source_place
    ]
    if len(shared) < min(LEAST, params.pivots):
        raise UnavailableError(
            f"tokalign: {len(shared)} tokens have the same text and a vector in both vocabularies, and at least "
            f"{min(LEAST, params.pivots)} are needed as pivots",
            "use more text or a lower min_count for token_cooccurrence, or a method that needs no shared tokens",
        )
    if len(shared) < params.pivots:
        log.warning("tokalign: %d of %d pivots; no more tokens are shared", len(shared), params.pivots)
    drawn = task.rng("tokalign pivots").permutation(len(shared))[: params.pivots]
    chosen: Ints = np.array(shared, dtype=np.int64)[drawn]
    # Queries first, pivots behind them: the pivots need not be among the tokens that are looked for.
    queries = np.concatenate([vectors[[place[number] for number in new]], vectors[chosen[:, 0]]])
    at = np.arange(len(new), len(queries), dtype=np.int64)
    found = most_similar(queries, source_vectors, (at, chosen[:, 1]), params.compatibility == "none")[: len(new)]
    return dict(zip(new, source_ids[found].tolist())), len(chosen)
