"""TokAlign: a new token takes the row of the source token that keeps the same company, judged by cosines to shared tokens."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from tokgraft.errors import UnavailableError
from tokgraft.logs import log
from tokgraft.methods._contract import Params, Provenance, Rows, Transplant, method
from tokgraft.methods._pairing import made_for
from tokgraft.methods._rows import combine_mean, copy_matches, head_bias, provenance, start, tables
from tokgraft.numerics.similarity import BLOCK, unit_rows
from tokgraft.overlap import Match

LEAST = 10  # fewer pivots than this say too little about a token
Ids = npt.NDArray[np.int64]


@method(
    "tokalign", version=1, paper="arXiv:2506.03523", requires={"token_cooccurrence"}, copies_overlap=True, convex=True, shares_rows=True
)
class TokAlign(Params):
    """Copy the overlap; every other token copies the source token whose GloVe vector has the most similar cosines to shared pivots."""

    pivots: int = Field(300, ge=2, description="Shared tokens that both spaces are described by; all of them where there are fewer.")
    compatibility: Literal["none", "tokalign"] = Field(
        "none",
        description="tokalign: as published, dot products of the cosines to pivots, and a random source row for a token without a vector.",
    )


def build(task: Transplant, params: TokAlign) -> Rows:
    """E'[t] = E[m(t)], U'[t] = U[m(t)]: m(t) the same token, else the most similar; the mean over pieces for tokens without a vector.

    Raises:
        ConfigError: The vectors were made for another base.
        DataError: Too few shared tokens have vectors in both spaces.
    """
    found = made_for(task, "token_cooccurrence")
    matches = dict(task.overlap)
    known = dict(zip(found["target"][0].tolist(), found["target"][1]))
    order = [number for number in task.target.canonical_order if number not in matches]
    new = [number for number in order if number in known]
    unseen = [number for number in order if number not in known]
    mapped, pivots = _align(task, params, new) if new else ({}, 0)
    made = {number: Provenance("mapped", (origin,)) for number, origin in mapped.items()}
    if params.compatibility == "tokalign":
        drawn = task.rng("tokalign unseen").choice(task.live, size=len(unseen))
        mapped |= dict(zip(unseen, drawn.tolist()))
        made |= {number: Provenance("random", (mapped[number],)) for number in unseen}
    pieces = {number: task.pieces[number] for number in unseen if number not in mapped and task.pieces.get(number)}
    made |= {number: Provenance("fallback", ids) for number, ids in pieces.items()}
    copies = {**{number: Match(origin, "bytes") for number, origin in mapped.items()}, **matches}
    rows = {}
    for name, table in tables(task):
        rows[name] = start(table, task.live, len(task.target), pieces, copies)
        combine_mean(rows[name], table, pieces)
        copy_matches(rows[name], table, copies)
    stats = {"pivots": pivots, "unseen": len(unseen), "source_rows_used": len({match.source for match in copies.values()})}
    return Rows(rows["input"], rows.get("output"), head_bias(task, copies, pieces), provenance(task, matches, made), stats)


def most_similar(target: npt.NDArray[np.floating], source: npt.NDArray[np.floating], pivots: tuple[Ids, Ids], cosine: bool = True) -> Ids:
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
    chosen: Ids = np.array(shared, dtype=np.int64)[drawn]
    # Queries first, pivots behind them: the pivots need not be among the tokens that are looked for.
    queries = np.concatenate([vectors[[place[number] for number in new]], vectors[chosen[:, 0]]])
    at = np.arange(len(new), len(queries), dtype=np.int64)
    found = most_similar(queries, source_vectors, (at, chosen[:, 1]), params.compatibility == "none")[: len(new)]
    return dict(zip(new, source_ids[found].tolist())), len(chosen)
