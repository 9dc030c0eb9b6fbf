"""What the numbers say, in plain words: a ranking is claimed only where the interval of the paired difference excludes 0."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from tokgraft.cells import STAGES, Stage
from tokgraft.config.layout import CONTROL
from tokgraft.reporting import speeds
from tokgraft.reporting.compare import compare
from tokgraft.reporting.evidence import Evidence, corpus_facts
from tokgraft.reporting.figures import quantity, stage_name
from tokgraft.reporting.summary import PlaceSummary, Summary
from tokgraft.scoring.statistics import Difference


@dataclass(frozen=True)
class Leaders:
    """The best of the transplanted models at a stage.

    Attributes:
        best: The one with the fewest bits per byte.
        tied: Others whose difference from it includes 0.
        runner_up: The first that is worse beyond its interval, with the difference (best minus it); None when all are tied.
    """

    best: Summary
    tied: list[Summary]
    runner_up: tuple[Summary, Difference] | None


def leaders(evidence: Evidence, place: PlaceSummary, stage: Stage) -> Leaders | None:
    """Who leads among the transplanted models of a place; None with fewer than two of them."""
    rows = sorted((row for row in place.rows if not row.is_control and stage in row.bits), key=lambda row: row.bits[stage].mean)
    if len(rows) < 2:
        return None
    tied, behind = [], None
    for row in rows[1:]:
        difference = compare(evidence, rows[0].group, stage, row.group, stage, place.task)
        if difference is not None and difference.excludes_zero:
            behind = behind or (row, difference)
        else:
            tied.append(row)
    return Leaders(rows[0], tied, behind)


def headline(evidence: Evidence, places: Sequence[PlaceSummary]) -> list[str]:
    """The findings over all places, most important first."""
    found = [*_winners(evidence, places), *_training(places), *_against_control(places), *_forgetting(places)]
    return [*found, *speeds.sentences(places), *_tokens(places), *_choices(places)]


def place_findings(evidence: Evidence, place: PlaceSummary) -> list[str]:
    """The findings of one place: who leads at each stage, by how much, and what it is worth against the original."""
    found = []
    for stage in place.stages:
        if lead := leaders(evidence, place, stage):
            found.append(_leading(lead, stage))
    best = place.best
    for reference, words in _ORIGINALS[place.final] if best else ():
        if best and (one := place.against(best, reference, place.final)) is not None:
            found.append(_versus(best.label, words, place.final, one.difference, one.better))
    return found


# What transplants are held against, by the last stage of the place.
_ORIGINALS: dict[Stage, tuple[tuple[str, str], ...]] = {
    "init": ((CONTROL, "the untouched original"),),
    "trained": (("untouched", "the untouched original"), (CONTROL, "the original vocabulary trained on the same bytes")),
}


def _versus(label: str, words: str, stage: Stage, difference: Difference, better: bool | None) -> str:
    when = _capital(stage_name(stage))
    if better is None:
        return f"{when} {label} cannot be told apart from {words} ({signed(difference)})."
    return f"{when} {label} is {'better' if better else 'worse'} than {words} by {amount(difference)} bits per byte."


def _capital(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}"


def _leading(lead: Leaders, stage: Stage) -> str:
    when = _capital(stage_name(stage))
    if lead.runner_up is None:
        return f"{when}, no order can be claimed among {_names([lead.best, *lead.tied])}."
    row, difference = lead.runner_up
    if lead.tied:
        group = _names([lead.best, *lead.tied])
        return f"{when}, {group} cannot be told apart; {lead.best.label} needs {amount(difference)} bits per byte less than {row.label}."
    return (
        f"{when}, {lead.best.label} has the fewest bits per byte of the transplants: {amount(difference)} less than the next, {row.label}."
    )


def _names(rows: Sequence[Summary]) -> str:
    labels = [row.label for row in rows]
    return labels[0] if len(labels) == 1 else f"{', '.join(labels[:-1])} and {labels[-1]}"


def _winners(evidence: Evidence, places: Sequence[PlaceSummary]) -> list[str]:
    found = []
    for stage in STAGES:
        alone: dict[str, list[str]] = {}
        shared: list[str] = []
        for place in places:
            lead = leaders(evidence, place, stage)
            if lead is None:
                continue
            if lead.tied:
                shared.append(f"{place.where}: {_names([lead.best, *lead.tied])}")
            else:
                alone.setdefault(lead.best.label, []).append(place.where)
        when = stage_name(stage)
        parts = [
            f"{label} has the fewest bits per byte of the transplants on {_listed(where)}"
            for label, where in sorted(alone.items(), key=lambda x: (-len(x[1]), x[0]))
        ]
        parts += [f"no single best on {text} cannot be told apart" for text in shared]
        if parts:
            found.append(f"{_capital(when)}: {'; '.join(parts)}.")
    return found


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _training(places: Sequence[PlaceSummary]) -> list[str]:
    found = [one for place in places for one in place.on_bits("own init", "trained")]
    if not found:
        return []
    lowered = [one for one in found if one.better]
    gains = sorted(-one.difference.mean for one in lowered)
    text = f"Training lowers bits per byte in {len(lowered)} of {len(found)} combinations"
    if gains:
        text += f", by {gains[0]:.2f} to {gains[-1]:.2f}"
    others = [f"{one.group.method} on {one.group.place[1]}" for one in found if not one.better]
    return [text + (f"; not shown for {_listed(others)}." if others else ".")]


def _against_control(places: Sequence[PlaceSummary]) -> list[str]:
    found = []
    for stage, reference, words in [(stage, *pair) for stage, pairs in reversed(_ORIGINALS.items()) for pair in reversed(pairs)]:
        ones = [one for place in places if place.final == stage for one in place.on_bits(reference, stage)]
        if not ones:
            continue
        kind = "trained" if stage == "trained" else "zero-shot"
        better = [one for one in ones if one.better]
        worse = [one for one in ones if one.better is False]
        text = f"Against {words}, {len(better)} of {len(ones)} {kind} transplants are better and {len(worse)} worse"
        unclear = len(ones) - len(better) - len(worse)
        found.append(text + (f"; {unclear} cannot be told apart from it." if unclear else "."))
    return found


def _forgetting(places: Sequence[PlaceSummary]) -> list[str]:
    ones = [one for place in places for one in place.on_bits("untouched", "trained", english=True)]
    if not ones:
        return []
    worse = sorted(one.difference.mean for one in ones if one.better is False)
    if not worse:
        return [f"English is not measurably worse than in the untouched original for any of {len(ones)} trained transplants."]
    return [
        f"English gets worse: {len(worse)} of {len(ones)} trained transplants need {worse[0]:.2f} to {worse[-1]:.2f} "
        "more bits per byte on English pages than the untouched original."
    ]


def _tokens(places: Sequence[PlaceSummary]) -> list[str]:
    seen: dict[tuple[str, str, str], str] = {}
    for place in places:
        original = next((row.facts.get("tokens_per_byte") for row in place.scored if row.is_control), None)
        for row in place.scored:
            new = row.facts.get("tokens_per_byte")
            if not row.is_control and original and new:
                change = new / original - 1
                more = f"{abs(change):.0%} {'fewer' if change < 0 else 'more'}"
                seen.setdefault(
                    (*place.place[:2], row.group.tokenizer), f"{more} on {place.language} ({place.model}, {row.group.tokenizer})"
                )
    return [f"Tokens for the same text, new vocabulary against the original: {_listed(list(seen.values()))}."] if seen else []


def _choices(places: Sequence[PlaceSummary]) -> list[str]:
    above = total = 0
    for place in places:
        for task in place.tasks:
            for row in place.scored:
                found = row.accuracy.get("trained", {}).get(task.slug)
                if found is not None:
                    total += 1
                    above += found.low > task.chance
    if not total:
        return []
    if not above:
        return [f"No choice task tells the models from blind guessing: 0 of {total} scores after training lie above chance."]
    return [f"On the choice tasks {above} of {total} scores after training lie above chance (the interval excludes it)."]


def limits(evidence: Evidence, places: Sequence[PlaceSummary]) -> list[str]:
    """What the numbers cannot say, from the sizes of this very run."""
    found = []
    costs = [row.cost.bytes for place in places for row in place.rows if row.cost.bytes]
    if costs:
        span = f"{quantity(min(costs))}" if min(costs) == max(costs) else f"{quantity(min(costs))} to {quantity(max(costs))}"
        found.append(
            f"Training budget: {span} bytes of text a cell. An order of methods at this budget need not hold at a larger one, "
            "where differences between starting points shrink."
        )
    found += _corpora(evidence)
    seeds = {len(group.cells) for group in evidence.groups}
    if seeds == {1}:
        found.append("One seed a cell: the intervals cover the choice of test pages, not the luck of another training run.")
    else:
        found.append(
            f"{min(seeds)} to {max(seeds)} seeds a method: intervals resample seeds too, but with fewer than five they are too narrow."
        )
    sizes = [one for place in places for one in place.comparisons if one.is_bits and not one.english and one.detectable is not None]
    if sizes:
        values = sorted(one.detectable for one in sizes if one.detectable is not None)
        pages = sorted({one.difference.n for one in sizes})
        span = f"{pages[0]}" if len(pages) == 1 else f"{pages[0]} to {pages[-1]}"
        found.append(
            f"Bits per byte are measured on {span} held-out pages; a typical comparison finds differences from {values[len(values) // 2]:.3f} upwards."
        )
    items = sorted({task.n for place in places for task in place.tasks})
    if items:
        error = (0.25 / max(items[0], 1)) ** 0.5
        span = f"{items[0]}" if len(items) == 1 else f"{items[0]} to {items[-1]}"
        found.append(f"Choice tasks have {span} items: at {items[0]} items one standard error is about {error:.1%}.")
    domains = f" ({'; '.join(sorted(registers))})" if (registers := _registers(evidence)) else ""
    found.append(f"Held-out pages come from the same corpora as the training text, so the scores speak for that domain{domains}.")
    return [*found, *speeds.limits(places)]


def _corpora(evidence: Evidence) -> list[str]:
    parts, largest = [], 0.0
    for language in dict.fromkeys(cell.language for cell in evidence.cells.cells):
        folder = next(cell.paths.corpus for cell in evidence.cells.cells if cell.language == language)
        size = (folder / "train.jsonl").stat().st_size if (folder / "train.jsonl").is_file() else None
        facts = corpus_facts(folder)
        size = facts["splits/train/bytes"] if isinstance(facts.get("splits/train/bytes"), int) else size
        if size:
            largest = max(largest, float(size))
            parts.append(f"{evidence.cells.name('languages', language)} {quantity(size)}")
    small = " These are small corpora: a real adaptation reads a thousand times as much." if largest < 50e6 else ""
    return [f"Training text at hand, in bytes: {', '.join(parts)}.{small}"] if parts else []


def _registers(evidence: Evidence) -> set[str]:
    """What kind of text the corpora say they hold."""
    found = set()
    for folder in {cell.paths.corpus for cell in evidence.cells.cells}:
        for source in json.loads(corpus_facts(folder).get("sources", "[]")):
            if isinstance(source, dict) and source.get("register"):
                found.add(str(source["register"]))
    return found


def amount(difference: Difference) -> str:
    """The size of a claimed difference with its interval, in as many digits as keep it apart from 0."""
    low, high = sorted((abs(difference.low), abs(difference.high)))
    digits = 2
    while digits < 6 and low < 5 * 10**-digits:
        digits += 1
    return f"{abs(difference.mean):.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def signed(difference: Difference) -> str:
    """A difference that includes 0, with its interval."""
    return f"{difference.mean:+.3f} [{difference.low:+.3f}, {difference.high:+.3f}]"
