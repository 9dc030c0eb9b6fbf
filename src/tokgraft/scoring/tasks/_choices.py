"""Shared parts of choice tasks: candidates, distractors by the rules, and baselines that need no model."""

from __future__ import annotations

import functools
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from tokgraft.config.task import Task
from tokgraft.scoring.heldout import in_hash_order, rank
from tokgraft.scoring.tasks import Items, SkipTask

CHOICES = 4
CHANCE = 1 / CHOICES
GRAM = 4  # characters of the n-grams that measure overlap
COPIED = 0.8  # an item whose right answer is this much contained in its context is a copy
MARGIN = 0.2  # ... and one whose right answer shares this much more with the context than any wrong one needs no model
POOL = 200  # wrong answers that are looked at
MIN_CHARACTERS, MIN_BYTES = 25, 40  # 25 characters are a sentence in scripts without spaces; 40 bytes one in Latin script


@dataclass(frozen=True)
class Candidate:
    """A right answer with its context, and where wrong answers for it may come from."""

    id: str
    page: str
    context: str
    gold: str


def long_enough(text: str) -> bool:
    """Whether a text is more than a label."""
    return len(text) >= MIN_CHARACTERS and len(text.encode()) >= MIN_BYTES


@functools.lru_cache(maxsize=100_000)
def _grams(text: str) -> frozenset[str]:
    text = text.casefold()
    return frozenset(text[start : start + GRAM] for start in range(len(text) - GRAM + 1))


def overlap(text: str, context: str) -> float:
    """Share of the character 4-grams of `text` that stand in `context` (case ignored); 0 for texts shorter than that."""
    grams = _grams(text)
    return len(grams & _grams(context)) / len(grams) if grams else 0.0


def build_items(
    task: Task,
    candidates: Sequence[Candidate],
    *,
    salt: str,
    pools: Sequence[Callable[[Candidate], str]],
    allowed: Callable[[Candidate, Candidate], bool],
    band: float,
    render: Callable[[Candidate], str],
) -> Items:
    """Pick items in hash order and give each three wrong answers.

    A wrong answer is the right answer of another candidate of the same pool that `allowed` admits, whose length in bytes differs from
    the right one's by at most `band` (as a share; 2 bytes are always granted), and that neither contains the right answer nor is contained
    in it. Among those the three that share most with the context are taken, so that shared words give little away. Items that need no
    model are dropped: the right answer is a copy of the context, or shares far more with it than any wrong answer does (`MARGIN`).

    Args:
        task: Its settings (max_items, item_bytes).
        candidates: All candidates.
        salt: Name that the hash order depends on: the builder's, so that tasks of different size share their first items.
        pools: Candidate -> name of the pool that its wrong answers come from; each is tried until one has enough.
        allowed: (item, other) -> whether the other's answer may be a wrong answer for the item.
        band: Largest relative difference in bytes.
        render: Candidate -> context as the model sees it.

    Raises:
        SkipTask: No item passes.
    """
    dropped: Counter[str] = Counter()
    fitting = [one for one in candidates if _fits(one, task.item_bytes, dropped)]
    ordered = in_hash_order(fitting, lambda one: one.id, salt)
    members: dict[tuple[int, str], list[Candidate]] = defaultdict(list)
    for one in ordered:
        for level, pool in enumerate(pools):
            members[level, pool(one)].append(one)
    documents: list[dict[str, Any]] = []
    seen: set[tuple[str, str]] = set()
    for one in ordered:
        if len(documents) == task.max_items:
            break
        content = (one.context.casefold(), one.gold.casefold())
        choices = (_wrong_answers(one, members[level, pool(one)], allowed, band, salt) for level, pool in enumerate(pools))
        wrong = next((found for found in choices if len(found) == CHOICES - 1), [])
        if reason := "same item twice" if content in seen else _copied(one) or _too_easy(one, wrong):
            dropped[reason] += 1
            continue
        seen.add(content)
        documents.append(_document(one, wrong, render(one), salt))
    if not documents:
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(dropped.items())) or "no candidate"
        raise SkipTask(f"no item passes the rules ({reasons})")
    return Items(documents, dropped)


def _fits(one: Candidate, limit: int, dropped: Counter[str]) -> bool:
    if max(len(one.context.encode()), len(one.gold.encode())) > limit:
        dropped["longer than item_bytes"] += 1
        return False
    return True


def _copied(one: Candidate) -> str | None:
    context, gold = one.context.casefold(), one.gold.casefold()
    if gold in context or context in gold:
        return "right answer stands in the context"
    return "right answer is nearly a copy" if overlap(one.gold, one.context) >= COPIED else None


def _too_easy(item: Candidate, wrong: Sequence[Candidate]) -> str | None:
    if not wrong:
        return "too few wrong answers of its length"
    best = max(overlap(other.gold, item.context) for other in wrong)
    return "solvable by overlap" if overlap(item.gold, item.context) - best > MARGIN else None


def _wrong_answers(
    item: Candidate, pool: Iterable[Candidate], allowed: Callable[[Candidate, Candidate], bool], band: float, salt: str
) -> list[Candidate]:
    gold, size = item.gold.casefold(), len(item.gold.encode())
    room = max(band * size, 2)
    found: dict[str, Candidate] = {}
    for other in pool:
        text = other.gold.casefold()
        if other.id == item.id or text in found or text in gold or gold in text or abs(len(other.gold.encode()) - size) > room:
            continue
        if allowed(item, other):
            found[text] = other
            if len(found) == POOL:
                break
    closest = sorted(found.values(), key=lambda other: (-overlap(other.gold, item.context), rank(salt, item.id, other.id)))
    return in_hash_order(closest[: CHOICES - 1], lambda other: other.id, f"{salt}\x1f{item.id}")


def _document(item: Candidate, wrong: Sequence[Candidate], context: str, salt: str) -> dict[str, Any]:
    label = int(rank(salt, "label", item.id), 16) % CHOICES
    options = [*wrong[:label], item, *wrong[label:]]
    return {
        "id": item.id,
        "page": item.page,
        "context": context,
        "choices": [option.gold for option in options],
        "label": label,
        "sources": [option.id for option in options],
    }


def baselines(documents: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Accuracy of guessing without a model; ties share the point.

    Returns:
        `length`: the better of "always the longest" and "always the shortest" choice; `overlap`: the choice that shares most character
        4-grams with the context.
    """
    longest = _guess(documents, lambda _, choice: len(choice.encode()))
    shortest = _guess(documents, lambda _, choice: -len(choice.encode()))
    copied = _guess(documents, lambda context, choice: overlap(choice, context))
    return {"length": max(longest, shortest), "overlap": copied}


def _guess(documents: Sequence[dict[str, Any]], score: Callable[[str, str], float]) -> float:
    points = 0.0
    for document in documents:
        scores = [score(document["context"], choice) for choice in document["choices"]]
        best = max(scores)
        points += (scores[document["label"]] == best) / scores.count(best)
    return points / len(documents)
