"""In which proportions languages were in a tokenizer's training text, inferred from its merge list.

After arXiv:2407.16607. When merge t was chosen, its pair was the most frequent one of the training text, so that for every rival pair p

    sum over languages l of  a_l * (c[t, m_t, l] - c[t, p, l]) / D_l  +  v_t + u_p  >=  0

with c[t, p, l] the occurrences of p in a sample of language l after the first t merges, D_l the sample's size, and a the proportions sought.
The linear programme minimises the sum of the slacks v (by merge) and u (by pair), which take up that samples are not the training text.
Its rows are generated: solve, look for the rivals that the solution violates most, add them, until there is none.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tokgraft import documents
from tokgraft.artifacts import write_files
from tokgraft.errors import ConfigError, DataError, TokenizerError
from tokgraft.intrinsic.inputs import Subject, begin, read_pages
from tokgraft.logs import log

Floats = npt.NDArray[np.float64]
Pair = tuple[str, str]
RIVALS, ROWS, ROUNDS = 5, 3000, 40
TOLERANCE = 1e-9
SETTLED = 2e-4
"""Proportions that move less than this from round to round are taken as found."""


@dataclass(frozen=True)
class Replay:
    """How pair counts change while a merge list is applied to samples of several languages.

    Attributes:
        chosen: Index of the pair of each merge, -1 where no sample has it.
        start: Counts before the first merge, shape (pairs, languages).
        places: For each merge, indices of the pairs whose counts it changes.
        changes: The changes, shape (changed, languages) each.
        sizes: D_l.
    """

    chosen: list[int]
    start: Floats
    places: list[npt.NDArray[np.int64]]
    changes: list[Floats]
    sizes: Floats


@dataclass(frozen=True)
class LanguageMixture:
    """The answer.

    Attributes:
        shares: Language -> proportion; they add up to 1.
        slack: Sum of slacks at the solution; 0 if the samples explain every merge.
        merges: Merges that were looked at.
        rows: Inequalities that were needed.
        rounds: Times that the programme was solved.
    """

    shares: dict[str, float]
    slack: float
    merges: int
    rows: int
    rounds: int


def merges_of(subject: Subject) -> list[Pair]:
    """The merge list.

    Raises:
        TokenizerError: The tokenizer has none.
    """
    model = subject.base.kind.model
    if model["type"] != "BPE" or not model.get("merges"):
        raise TokenizerError(f"{subject.name} is a {model['type']} tokenizer without merges", "mixtures can be inferred for BPE only")
    pairs = (merge.split(" ", 1) if isinstance(merge, str) else merge for merge in model["merges"])
    return [(left, right) for left, right in pairs]


def words_of(subject: Subject, pages: Sequence[str]) -> Counter[str]:
    """What the model sees of a text: the pre-tokenizer's pieces, in the alphabet of the merges."""
    import regex

    tokenizer, found = subject.tokenizer, Counter[str]()
    normalize = tokenizer.normalizer.normalize_str if tokenizer.normalizer is not None else str
    whole = regex.compile("▁*[^▁]+|▁+").findall  # without a pre-tokenizer a text is one word; merges do not cross the marker in training
    for page in pages:
        for line in page.split("\n"):
            text = normalize(line)
            if tokenizer.pre_tokenizer is not None:
                found.update(piece for piece, _ in tokenizer.pre_tokenizer.pre_tokenize_str(text))
            else:
                found.update(whole(text))
    return found


def replay(merges: Sequence[Pair], samples: Sequence[Mapping[str, int]], sizes: Sequence[float] | None = None) -> Replay:
    """Apply the merges to the samples, and note the counts.

    Args:
        merges: The merge list.
        samples: For each language, word -> how often it occurs.
        sizes: D_l; None: pairs in each sample before the first merge.
    """
    kinds = sorted({word for sample in samples for word in sample if len(word) > 1})
    times = np.array([[sample.get(word, 0) for sample in samples] for word in kinds], dtype=float).reshape(-1, len(samples))
    words: list[list[str]] = [list(word) for word in kinds]
    index: dict[Pair, int] = {}
    where: dict[Pair, set[int]] = defaultdict(set)
    place_list: list[int] = []
    word_list: list[int] = []
    for number, word in enumerate(words):
        for pair in itertools.pairwise(word):
            place_list.append(index.setdefault(pair, len(index)))
            word_list.append(number)
            where[pair].add(number)
    first = _sums(place_list, word_list, None, times, len(index))
    chosen, places, changes = [], [], []
    for left, right in merges:
        chosen.append(index.get((left, right), -1))
        place_list, word_list, signs = [], [], []
        for number in where.pop((left, right), ()):
            old = words[number]
            new = words[number] = _join(old, left, right)
            for sign, side in ((-1.0, old), (1.0, new)):
                for pair in itertools.pairwise(side):
                    place_list.append(index.setdefault(pair, len(index)))
                    word_list.append(number)
                    signs.append(sign)
                    if sign > 0 and pair != (left, right):
                        where[pair].add(number)
        kept, inverse = np.unique(np.array(place_list, dtype=np.int64), return_inverse=True)
        change = _sums(inverse, word_list, signs, times, len(kept))
        moved = change.any(axis=1)
        places.append(kept[moved])
        changes.append(change[moved])
    start = np.zeros((len(index), len(samples)))
    start[: len(first)] = first
    totals = start.sum(axis=0) if sizes is None else np.array(sizes, dtype=float)
    return Replay(chosen, start, places, changes, totals)


def _sums(places: npt.ArrayLike, words: Sequence[int], signs: Sequence[float] | None, times: Floats, size: int) -> Floats:
    """Occurrences of each place in each language, from the words that it stands in; whole numbers, so any order gives the same."""
    weights = times[np.array(words, dtype=np.int64)]
    if signs is not None:
        weights = weights * np.array(signs, dtype=float).reshape(-1, 1)
    at = np.asarray(places, dtype=np.int64)
    return np.stack([np.bincount(at, weights=weights[:, language], minlength=size) for language in range(times.shape[1])], axis=1)


def _join(word: list[str], left: str, right: str) -> list[str]:
    """Merge a pair wherever it stands, from the left; a product does not merge again."""
    out: list[str] = []
    place = 0
    while place < len(word):
        if word[place] == left and place + 1 < len(word) and word[place + 1] == right:
            out.append(left + right)
            place += 2
        else:
            out.append(word[place])
            place += 1
    return out


def infer(played: Replay, names: Sequence[str]) -> LanguageMixture:
    """Solve for the proportions.

    Raises:
        DataError: A sample is empty, there is only one language, or no merge occurs in the samples.
    """
    if len(names) < 2:
        raise DataError("a mixture needs at least two languages", "give more corpora")
    if empty := [name for name, size in zip(names, played.sizes) if size <= 0]:
        raise DataError(f"the sample of {empty[0]} is empty", "give a corpus with train pages")
    steps = [step for step, pair in enumerate(played.chosen) if pair >= 0]
    if not steps:
        raise DataError("no merge of the tokenizer occurs in the samples", "are these the languages it was trained on?")
    shares = np.full(len(names), 1 / len(names))
    by_step: dict[int, float] = {}
    by_pair: dict[int, float] = {}
    rows: dict[tuple[int, int], Floats] = {}
    slack, rounds = 0.0, 0
    for _ in range(ROUNDS):
        found = _violated(played, shares, by_step, by_pair, rows)
        if not found:
            break
        rows |= found
        before = shares
        shares, by_step, by_pair, slack = _solve(rows, len(names))
        rounds += 1
        if rounds > 2 and np.abs(shares - before).max() < SETTLED:
            break
    answer = {name: round(float(share), 6) for name, share in zip(names, shares)}
    return LanguageMixture(answer, round(slack, 8), len(steps), len(rows), rounds)


def _violated(
    played: Replay, shares: Floats, by_step: Mapping[int, float], by_pair: Mapping[int, float], known: Mapping[tuple[int, int], Floats]
) -> dict[tuple[int, int], Floats]:
    """Inequalities that the solution breaks most: (merge, rival) -> coefficients of the proportions."""
    counts, weights = played.start.copy(), shares / played.sizes
    value = counts @ weights
    for pair, slack in by_pair.items():
        value[pair] -= slack
    found: list[tuple[float, int, int, Floats]] = []
    for step, chosen in enumerate(played.chosen):
        if chosen >= 0:
            own = float(counts[chosen] @ weights) + by_step.get(step, 0.0)
            rivals = np.flatnonzero(value > own + TOLERANCE)
            rivals = rivals[rivals != chosen]
            if len(rivals) > RIVALS:
                rivals = rivals[np.argsort(-value[rivals], kind="stable")[:RIVALS]]
            for rival in map(int, rivals):
                if (step, rival) not in known:
                    found.append((float(value[rival] - own), step, rival, (counts[chosen] - counts[rival]) / played.sizes))
        places = played.places[step]
        counts[places] += played.changes[step]
        value[places] += played.changes[step] @ weights
    found.sort(key=lambda item: (-item[0], item[1], item[2]))
    return {(step, rival): row for _, step, rival, row in found[:ROWS]}


def _solve(rows: Mapping[tuple[int, int], Floats], languages: int) -> tuple[Floats, dict[int, float], dict[int, float], float]:
    """The linear programme over the rows so far."""
    from scipy.optimize import linprog
    from scipy.sparse import coo_array

    steps = {step: languages + place for place, step in enumerate(sorted({step for step, _ in rows}))}
    pairs = {pair: languages + len(steps) + place for place, pair in enumerate(sorted({pair for _, pair in rows}))}
    width = languages + len(steps) + len(pairs)
    scale = max(float(np.abs(row).max()) for row in rows.values()) or 1.0  # counts over sizes are tiny: solvers work near 1
    values, where, columns = [], [], []
    for number, ((step, pair), row) in enumerate(rows.items()):
        values += [*(-row / scale), -1.0, -1.0]
        columns += [*range(languages), steps[step], pairs[pair]]
        where += [number] * (languages + 2)
    table = coo_array((values, (where, columns)), shape=(len(rows), width)).tocsr()
    cost = np.concatenate([np.zeros(languages), np.ones(width - languages)])
    total = np.concatenate([np.ones(languages), np.zeros(width - languages)]).reshape(1, -1)
    solved = linprog(
        cost, A_ub=table, b_ub=np.zeros(len(rows)), A_eq=total, b_eq=[1.0], bounds=(0, None), method="highs-ipm"
    )  # the simplex may stall
    if solved.status != 0:
        raise DataError(f"the linear programme was not solved: {solved.message}", "give more text of each language, or fewer merges")
    by_step = {step: float(solved.x[place]) * scale for step, place in steps.items()}
    by_pair = {pair: float(solved.x[place]) * scale for pair, place in pairs.items()}
    return np.asarray(solved.x[:languages]), by_step, by_pair, float(solved.fun) * scale


def mixture_of_corpora(
    tokenizer: Path, corpora: Sequence[Path], merges: int = 1000, max_bytes: int = 4_000_000, per: str = "bytes", out: Path | None = None
) -> LanguageMixture:
    """Infer the mixture of a tokenizer folder over the languages of corpus artifacts (their train pages).

    Args:
        tokenizer: Folder with the tokenizer.json of a BPE tokenizer.
        corpora: Corpus artifacts.
        merges: Merges that are looked at, from the first: late merges are rare and say little.
        max_bytes: Text read of each corpus.
        per: What the proportions count: "bytes" of text or "pairs" of symbols in words.
        out: Where to write the result as JSON.

    Raises:
        ConfigError, DataError, TokenizerError: See `infer` and `merges_of`.
    """
    if merges < 1:
        raise ConfigError(f"--merges is {merges}", "look at one merge at least")
    files = [Path(out)] if out is not None else []
    begin(files, {"tokenizer": Path(tokenizer), **{f"corpus {corpus}": Path(corpus) for corpus in corpora}})
    subject = Subject.load(Path(tokenizer))
    names = [documents.about(Path(corpus)).slug for corpus in corpora]
    if len(set(names)) < len(names):
        raise ConfigError(f"two corpora of one language: {', '.join(names)}", "give each language once")
    listed = merges_of(subject)[:merges]
    texts = [read_pages(Path(corpus), "train", max_bytes) for corpus in corpora]
    sizes = [float(sum(len(page.encode()) for page in pages)) for pages in texts] if per == "bytes" else None
    played = replay(listed, [words_of(subject, pages) for pages in texts], sizes)
    found = infer(played, names)
    for name, share in sorted(found.shares.items(), key=lambda item: -item[1]):
        log.info("%s: %.1f %% of the training text", name, 100 * share)
    log.info("%d merges, %d inequalities in %d rounds, slack %.3g", found.merges, found.rows, found.rounds, found.slack)
    report: dict[str, Any] = {"tokenizer": subject.name, "per": per, **vars(found)}
    write_files(dict.fromkeys(files, json.dumps(report, indent=1, sort_keys=True) + "\n"))
    return found
