"""Trans-tokenization: a new token is the mean of the source tokens that it is aligned with in parallel text, weighted by how often."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from pydantic import Field

from tokgraft.errors import ConfigError, DataError
from tokgraft.methods import Composition, Doubles, How, Ints, Mixtures, Params, Transplant, method
from tokgraft.vocab import Vocabulary

Counts = tuple[Ints, Doubles]  # source ids, ascending, and their counts
Name = bytes | str
NUMBERS = {str(number).encode() for number in range(9999)} | {f"0{number}".encode() for number in range(99)}
CERTAIN = 1e9  # count of a special token and its counterpart (published)
SCALE = 1000  # to which published smoothing brings the counts of a similar token before they are rounded down


class TransTokenization(Params):
    """Mix source rows by counts of aligned tokens; tokens without counts take those of similar tokens that have some."""

    copy_overlap: bool = Field(
        False, description="Tokens that both vocabularies have are copied (published: they are mixtures like all others)."
    )
    space_weight: float = Field(
        2.0, gt=0, description="In smoothing, weight of source tokens that begin with a space (published: 2, for the marker ▁ only)."
    )
    compatibility: Literal["none", "trans-tokenizers"] = Field(
        "none",
        description="trans-tokenizers: smooth as the reference package does, in the order of ids and in whole numbers (for comparison).",
    )


@method("trans_tokenization", TransTokenization, version=1, paper="arXiv:2408.04303", requires={"token_alignment"}, convex=True)
def build(task: Transplant, params: TransTokenization) -> Composition:
    """E'[t] = sum_s C[t, s] E[s] / sum_s C[t, s], in each table by the same counts; special tokens by role.

    C holds the counts of aligned tokens, 1 more for the same token in both vocabularies and for the first piece of a number; tokens
    for which C is empty are smoothed, those that resemble no other are the mean of their pieces.

    Raises:
        ConfigError: The token alignment was made for another base model.
        DataError: It holds numbers that cannot be counts, or ids that a vocabulary does not have.
    """
    published = params.compatibility == "trans-tokenizers"
    copies = task.overlap if params.copy_overlap else task.specials
    counts = _counts(task, published)
    known = {number: mixture for number, mixture in counts.items() if task.target[number].kind != "special"}
    smooth = _smooth_published(task, counts) if published else _smooth(task, known, params.space_weight)
    mixtures = {number: mixture for number, mixture in {**known, **smooth}.items() if number not in copies}
    others = task.others(copies, mixtures)
    unknown = (_unknown(task.source),)
    rest = {number: unknown if published else task.pieces.get(number, ()) for number in others}
    aligned = {number for number in np.unique(task.resources["token_alignment"]["target"]).tolist() if number in mixtures}
    stats = {
        "aligned": len(aligned),
        "same_or_number_only": len(set(known) & set(mixtures)) - len(aligned),
        "smoothed": len(set(smooth) & set(mixtures)),
        "from_pieces": 0 if published else sum(map(bool, rest.values())),
        "sources_per_mixture": round(sum(len(ids) for ids, _ in mixtures.values()) / max(len(mixtures), 1), 2),
    }
    how: dict[int, How] = dict.fromkeys(rest, "fallback") if published else {}
    return Composition(copies, Mixtures.joined(Mixtures.of(mixtures), Mixtures.means(rest)), how=how, stats=stats)


def _counts(task: Transplant, published: bool) -> dict[int, Counts]:
    """C: for each target token with counts its source tokens; special tokens have certain ones."""
    resource = task.resources["token_alignment"]
    _check(task, resource)
    extra = list(_numbers(task, published))
    for number, match in task.overlap.items():
        extra.append((number, match.source, CERTAIN if task.target[number].kind == "special" else 1.0))
    target, source = (
        np.concatenate([resource[name].astype(np.int64), np.array([row[column] for row in extra], dtype=np.int64)])
        for column, name in enumerate(("target", "source"))
    )
    keys, place = np.unique(target * len(task.source) + source, return_inverse=True)
    summed = np.bincount(place, np.concatenate([resource["count"], [row[2] for row in extra]]), len(keys))
    owner, origin = keys // len(task.source), keys % len(task.source)
    begins = np.flatnonzero(np.diff(owner, prepend=-1))
    ends = [*begins[1:], len(owner)]
    totals: Doubles = summed.astype(np.float64)
    return {int(owner[a]): (origin[a:b], totals[a:b]) for a, b in zip(begins, ends)}


def _check(task: Transplant, resource: Mapping[str, Any]) -> None:
    if resource["source_vocabulary"] != task.source.text_fingerprint:
        raise ConfigError(
            "the token alignment was made for another base model: its source ids mean other tokens",
            "make it for this one: tokgraft resource --name token_alignment --base DIR ...",
        )
    for name, vocabulary in (("target", task.target), ("source", task.source)):
        if unknown := sorted(set(np.unique(resource[name]).tolist()) - set(vocabulary.ids)):
            raise DataError(f"the token alignment has counts for {name} id {unknown[0]}, which no token has", "make the resource again")
    if not (np.isfinite(resource["count"]).all() and (resource["count"] > 0).all()):
        raise DataError("the token alignment holds counts that are not positive numbers", "make the resource again")


def _numbers(task: Transplant, published: bool) -> Iterable[tuple[int, int, float]]:
    """(target id, source id, count) for numbers of few digits, with and without a space before them: the first piece in the source."""
    for number in task.target.text_ids:
        text = task.target[number].text
        if text.removeprefix(b" ") not in NUMBERS or not (pieces := task.pieces[number]):
            continue
        # A lone space says nothing about the number. The package counts what is written without a space twice.
        first = next((piece for piece in pieces if published or task.source[piece].text.strip()), pieces[0])
        yield number, first, 2.0 if published and not text.startswith(b" ") else 1.0


def _smooth(task: Transplant, known: Mapping[int, Counts], space_weight: float) -> dict[int, Counts]:
    """Mixtures for text tokens without counts, each from tokens that have counts of their own: the order of tokens does not matter."""
    spaced = np.zeros(len(task.source), dtype=bool)
    spaced[[number for number in task.source.text_ids if task.source[number].text.startswith(b" ")]] = True

    def contribution(number: int) -> Counts:
        ids, counts = known[number]
        return ids, counts / counts.sum() * np.where(spaced[ids], space_weight, 1.0)

    similar = _Similar({number: task.target[number].text for number in task.target.text_ids})
    missing = [number for number in task.target.text_ids if number not in known]
    return _smoothed(missing, similar, known.__contains__, contribution)


def _smooth_published(task: Transplant, counts: Mapping[int, Counts]) -> dict[int, Counts]:
    """Counts for tokens without any, as trans-tokenizers 0.1.4 smooths them: by vocabulary strings, tokens smoothed earlier included."""
    marked = np.array([token is not None and token.surface.startswith("▁") for token in task.source.tokens])
    made: dict[int, Counts] = {}

    def contribution(number: int) -> Counts:
        ids, values = made[number] if number in made else counts[number]
        return ids, np.maximum(1, np.where(marked[ids], 2 * SCALE, SCALE) * values // values.sum())

    similar = _Similar({number: task.target[number].surface for number in task.target.ids})
    missing = [number for number in task.target.ids if number not in counts]
    return _smoothed(missing, similar, lambda number: number in counts or number in made, contribution, made)


def _smoothed(
    missing: Sequence[int], similar: _Similar, has: Callable[[int], bool], contribution: Callable[[int], Counts],
    made: dict[int, Counts] | None = None,
) -> dict[int, Counts]:  # fmt: skip
    """The summed contributions of what is similar to each missing token; entered into `made` one by one, where it is given."""
    found = {} if made is None else made
    for number in missing:
        if parts := [contribution(other) for other in similar.to(number, has)]:
            sources, place = np.unique(np.concatenate([ids for ids, _ in parts]), return_inverse=True)
            values: Doubles = np.bincount(place, np.concatenate([values for _, values in parts])).astype(np.float64)
            found[number] = sources, values
    return found


class _Similar:
    """Which tokens are similar to a token: those that begin with it, and the longest that are inside of it.

    Args:
        names: What each token stands for, as bytes (or vocabulary strings).
    """

    def __init__(self, names: Mapping[int, Name]) -> None:
        self.names = names
        self.ordered: list[tuple[Any, int]] = sorted((name, number) for number, name in names.items())
        self.by_name: dict[Name, list[int]] = {}
        for number, name in names.items():
            self.by_name.setdefault(name, []).append(number)
        self.longest = max(map(len, names.values()), default=0)

    def to(self, number: int, has: Callable[[int], bool]) -> list[int]:
        """Ids of the similar tokens among those that `has` holds for."""
        name: Any = self.names[number]
        found = []
        place = bisect_left(self.ordered, (name, -1))
        while place < len(self.ordered) and self.ordered[place][0].startswith(name):
            found.append(self.ordered[place][1])
            place += 1
        return [other for other in [*found, *self._inside(name, has)] if has(other)]

    def _inside(self, name: Any, has: Callable[[int], bool]) -> list[int]:
        """Tokens shorter than `name` that occur in it and in no longer one of them."""
        longest: dict[Any, list[int]] = {}
        for begin in range(len(name)):
            for end in range(min(len(name), begin + self.longest), begin, -1):
                part = name[begin:end]
                if part != name and any(has(other) for other in self.by_name.get(part, ())):
                    longest[part] = self.by_name[part]
                    break
        return [number for part, ids in longest.items() if not any(part != other and part in other for other in longest) for number in ids]


def _unknown(source: Vocabulary) -> int:
    """What an unmapped token is given by trans-tokenizers."""
    return next((source.roles[role] for role in ("unk", "pad", "bos") if role in source.roles), 0)
