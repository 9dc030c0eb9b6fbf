"""Merge tree: a new token is the mean of the two tokens that BPE makes it from, down to tokens that the source has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from tokgraft.methods import Composition, Mixtures, Params, Transplant, method

Weights = dict[int, float]


class MergeTree(Params):
    """Mean over the halves of a token's BPE merges, halved again until the source has them; tokens of both vocabularies are copied."""


@method(
    "merge_tree", MergeTree, version=1, paper="arXiv:2406.11477", requires={"merges"}, copies_overlap=True, convex=True, bpe_target=True
)
def build(task: Transplant, params: MergeTree) -> Composition:
    """Copy the overlap; row(t) = mean over merges (x, y) -> t of (row(x) + row(y)) / 2; without merges the mean over pieces."""
    parents: dict[int, list[tuple[int, int]]] = {}
    for left, right, made in task.resources["merges"].tolist():
        parents.setdefault(made, []).append((left, right))
    pieces = task.new_pieces
    known: dict[int, Weights] = {number: {match.source: 1.0} for number, match in task.overlap.items()}
    trees: dict[int, Weights] = {}
    # Both halves of a merge are shorter than what they make.
    for number in sorted(pieces, key=lambda number: (len(task.target[number].text), number)):
        if number in parents and (found := _halves(parents[number], known)):
            known[number] = trees[number] = found
        elif number not in parents and (ids := pieces[number]):
            known[number] = {source: count / len(ids) for source, count in Counter(ids).items()}
    by_pieces = Mixtures.means({number: ids for number, ids in pieces.items() if number not in trees})
    stats = {
        "by_merges": len(trees),
        "by_pieces": len(by_pieces),
        "leaves_per_token": round(sum(map(len, trees.values())) / max(len(trees), 1), 4),
    }
    return Composition(task.overlap, Mixtures.joined(Mixtures.counted(trees), by_pieces), stats=stats)


def _halves(rules: list[tuple[int, int]], known: Mapping[int, Weights]) -> Weights:
    """Weights of source ids by the rules whose halves are both known; empty if there is none."""
    usable = [rule for rule in rules if rule[0] in known and rule[1] in known]
    found: Weights = {}
    for rule in usable:
        for half in rule:
            for number, weight in known[half].items():
                found[number] = found.get(number, 0.0) + weight / (2 * len(usable))
    return found
