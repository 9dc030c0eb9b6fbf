"""Align: a new token is the mean of the source tokens that stand in its place in text, weighted by how often they do."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from tokgraft.errors import ConfigError
from tokgraft.methods import Composition, Mixtures, Params, Transplant, method

Tuples = dict[tuple[int, ...], int]


class Align(Params):
    """Mean over the ways that the source tokenizer writes a token in running text; tokens of both vocabularies are copied."""

    consider_mean: bool = Field(False, description="Count the token's own pieces once more, as often as the most frequent way.")
    min_count: int = Field(1, ge=1, description="Tokens seen less often get the mean over their pieces.")


@method("align", Align, version=1, paper="arXiv:2406.11477", requires={"token_spans"}, copies_overlap=True, convex=True)
def build(task: Transplant, params: Align) -> Composition:
    """Copy the overlap; for the rest sum over tuples of p(tuple | t) * mean of its rows; mean over pieces for tokens not seen.

    Raises:
        ConfigError: The counts were made for another base.
    """
    spans: Any = task.resources["token_spans"]
    if spans.source != task.source.text_fingerprint:
        raise ConfigError(
            "token_spans was made for another base model's tokenizer", "make it again: tokgraft resource --name token_spans --base DIR ..."
        )
    seen: dict[int, Tuples] = {}
    for place, (token, count) in enumerate(zip(spans.tokens.tolist(), spans.counts.tolist())):
        ids = tuple(spans.pieces[spans.starts[place] : spans.starts[place + 1]].tolist())
        seen.setdefault(token, {})[ids] = count
    pieces = task.new_pieces
    aligned = {}
    for number, ids in pieces.items():
        tuples = seen.get(number, {})
        if sum(tuples.values()) >= params.min_count:
            aligned[number] = weights(tuples, ids if params.consider_mean else ())
    rest = Mixtures.means({number: ids for number, ids in pieces.items() if number not in aligned})
    ways = sum(len(seen[number]) for number in aligned)
    stats = {"aligned": len(aligned), "by_pieces": len(rest), "ways_per_token": round(ways / max(len(aligned), 1), 4)}
    return Composition(task.overlap, Mixtures.joined(Mixtures.counted(aligned), rest), stats=stats)


def weights(tuples: Tuples, pieces: tuple[int, ...]) -> dict[int, float]:
    """Weights of source ids: each tuple shares its count among its ids; `pieces`, if any, has the largest count once more."""
    weight: dict[int, float] = {}
    for ids, count in sorted({**tuples, **({pieces: tuples.get(pieces, 0) + max(tuples.values())} if pieces else {})}.items()):
        for number in ids:
            weight[number] = weight.get(number, 0.0) + count / len(ids)
    return weight
