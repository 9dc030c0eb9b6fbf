"""What the numbers say, in plain words: a ranking is claimed only where the interval of the paired difference excludes 0.

Beside every claim stands the number of pages or items, and of seeds, that it was measured on; on fewer than
`tokgraft.scoring.statistics.FEWEST` nothing is claimed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from tokgraft.cells import STAGES, Stage
from tokgraft.config.layout import CONTROL
from tokgraft.reporting import speeds
from tokgraft.reporting.compare import Comparison, compare
from tokgraft.reporting.evidence import Evidence, corpus_facts
from tokgraft.reporting.figures import quantity
from tokgraft.reporting.summary import PlaceSummary, Summary
from tokgraft.reporting.verdict import kept, verdict
from tokgraft.reporting.words import TRAINED_ALIKE, UNTOUCHED, amount, capital, listed, measured_on, signed, span, stage_name, too_few
from tokgraft.scoring.statistics import FEWEST, Difference

# What transplants are held against, by the last stage of the place: name of the reference, and in words.
ORIGINALS: dict[Stage, tuple[tuple[str, str], ...]] = {
    "init": ((CONTROL, UNTOUCHED),),
    "trained": (("untouched", UNTOUCHED), (CONTROL, TRAINED_ALIKE)),
}


@dataclass(frozen=True)
class Leaders:
    """The best of the transplanted models at a stage.

    Attributes:
        best: The one with the fewest bits per byte.
        tied: Others that no claim sets apart from it, each with its difference (best minus it).
        runner_up: The first that is worse beyond its interval, with the difference; None when no claim can be made.
    """

    best: Summary
    tied: list[tuple[Summary, Difference]]
    runner_up: tuple[Summary, Difference] | None

    @property
    def differences(self) -> list[Difference]:
        """Those between the best and the others that the leaders name."""
        return [difference for _, difference in [*self.tied, *([self.runner_up] if self.runner_up else [])]]

    @property
    def enough(self) -> bool:
        """Whether they were compared on enough pages to name an order."""
        return all(difference.enough for difference in self.differences)


def leaders(evidence: Evidence, place: PlaceSummary, stage: Stage) -> Leaders | None:
    """Who leads among the transplanted models of a place; None with fewer than two that can be compared."""
    rows = sorted((row for row in place.rows if not row.group.keeps_tokenizer and stage in row.bits), key=lambda row: row.bits[stage].mean)
    compared = [(row, compare(evidence, rows[0].group, stage, row.group, stage, place.task)) for row in rows[1:]]
    others = [(row, difference) for row, difference in compared if difference is not None]
    if not others:
        return None
    tied = [(row, difference) for row, difference in others if not difference.claimed]
    return Leaders(rows[0], tied, next(((row, difference) for row, difference in others if difference.claimed), None))


def headline(evidence: Evidence, places: Sequence[PlaceSummary]) -> list[str]:
    """The findings over all places, most important first."""
    found = [*winners(evidence, places), *training(places), *against_original(places), *kept(places), *forgetting(places)]
    return [*found, *speeds.sentences(places), *tokens(places), *choices(places)]


def place_findings(evidence: Evidence, place: PlaceSummary) -> list[str]:
    """The findings of one place: who leads at each stage, by how much, and what it is worth against the original."""
    found = [leading(lead, stage) for stage in place.stages if (lead := leaders(evidence, place, stage))]
    best = place.best
    for reference, words in ORIGINALS[place.final] if best else ():
        if best and (one := place.against(best, reference, place.final)) is not None:
            found.append(versus(best.label, words, one))
    advice = verdict(place)
    return [*found, advice.sentence] if advice else found


def versus(label: str, words: str, one: Comparison) -> str:
    """A model against the original."""
    when, difference, size = capital(stage_name(one.stage)), one.difference, measured_on(one.difference)
    if not difference.enough:
        return f"{when} {label} was compared with {words} on {too_few([difference])} ({signed(difference)})."
    if one.better is None:
        return f"{when} {label} cannot be told apart from {words} ({signed(difference)}, {size})."
    return f"{when} {label} is {'better' if one.better else 'worse'} than {words} by {amount(difference)} bits per byte ({size})."


def leading(lead: Leaders, stage: Stage) -> str:
    """Who leads in one place at one stage, and by how much."""
    when, others = capital(stage_name(stage)), _names([row for row, _ in lead.tied])
    if not lead.enough:
        everybody = _names([lead.best, *(row for row, _ in lead.tied), *([lead.runner_up[0]] if lead.runner_up else [])])
        return f"{when}, no order is claimed among {everybody}: they were compared on {too_few(lead.differences)}."
    first = f"{when}, {lead.best.label} has the fewest bits per byte of the transplants"
    if lead.runner_up is None:
        return f"{first}, but no order can be claimed: it cannot be told apart from {others} ({measured_on(*lead.differences)})."
    row, difference = lead.runner_up
    if lead.tied:
        less = f"it needs {amount(difference)} less than {row.label} ({measured_on(*lead.differences)})"
        return f"{first}, but cannot be told apart from {others}; {less}."
    return f"{first}: {amount(difference)} less than the next, {row.label} ({measured_on(difference)})."


def _names(rows: Sequence[Summary]) -> str:
    return listed([row.label for row in rows]) if rows else ""


def winners(evidence: Evidence, places: Sequence[PlaceSummary]) -> list[str]:
    """Who leads where, a sentence for each stage."""
    found = []
    for stage in STAGES:
        alone: dict[str, list[tuple[str, Difference]]] = {}
        parts: list[str] = []
        for place in places:
            lead = leaders(evidence, place, stage)
            if lead is None:
                continue
            if lead.runner_up and lead.enough and not lead.tied:
                alone.setdefault(lead.best.label, []).append((place.where, lead.runner_up[1]))
            elif lead.enough:
                size = measured_on(*lead.differences)
                parts.append(
                    f"no single best on {place.where}: {lead.best.label} cannot be told apart from {_names([row for row, _ in lead.tied])} ({size})"
                )
            else:
                parts.append(f"no claim on {place.where}: compared on {too_few(lead.differences)}")
        first = [
            f"{label} has the fewest bits per byte of the transplants on {listed([where for where, _ in won])}"
            f" ({measured_on(*(difference for _, difference in won))})"
            for label, won in sorted(alone.items(), key=lambda item: (-len(item[1]), item[0]))
        ]
        if first or parts:
            found.append(f"{capital(stage_name(stage))}: {'; '.join([*first, *parts])}.")
    return found


@dataclass(frozen=True)
class Tally:
    """Comparisons with the same reference, counted by what may be claimed."""

    better: list[Difference]
    worse: list[Difference]
    unclear: list[Difference]
    few: list[Difference]

    @property
    def total(self) -> int:
        """All of them."""
        return len(self.better) + len(self.worse) + len(self.unclear) + len(self.few)

    @property
    def size(self) -> str:
        """What those were measured on that have enough pages, in brackets."""
        enough = [*self.better, *self.worse, *self.unclear]
        return f" ({measured_on(*enough)})" if enough else ""

    @property
    def rest(self) -> str:
        """Those without a claim, as the end of a sentence."""
        unclear = f"; {len(self.unclear)} cannot be told apart from it" if self.unclear else ""
        few = f"; {len(self.few)} compared on {too_few(self.few)} (differences {extent(self.few)})" if self.few else ""
        return unclear + few


def tally(ones: Sequence[Comparison]) -> Tally:
    """Count comparisons."""
    enough = [one for one in ones if one.difference.enough]
    by_claim = {claim: [one.difference for one in enough if one.better is claim] for claim in (True, False, None)}
    return Tally(by_claim[True], by_claim[False], by_claim[None], [one.difference for one in ones if not one.difference.enough])


def extent(differences: Sequence[Difference]) -> str:
    """Smallest to largest of differences, with their signs."""
    values = sorted(one.mean for one in differences)
    return f"{values[0]:+.2f}" if len(values) == 1 else f"{values[0]:+.2f} to {values[-1]:+.2f}"


def sizes(differences: Sequence[Difference]) -> str:
    """Smallest to largest of claimed differences, without signs."""
    values = sorted(abs(one.mean) for one in differences)
    return f"{values[0]:.2f}" if len(values) == 1 else f"{values[0]:.2f} to {values[-1]:.2f}"


def training(places: Sequence[PlaceSummary]) -> list[str]:
    """What training does to bits per byte, the original model included."""
    ones = [one for place in places for one in place.on_bits("own init", "trained")]
    if not ones:
        return []
    count = tally(ones)
    text = f"Training lowers bits per byte in {len(count.better)} of {count.total} combinations of model, language and method"
    text += f", by {sizes(count.better)}" if count.better else ""
    text += f", and raises them in {len(count.worse)}, by {sizes(count.worse)}" if count.worse else ""
    return [f"{text}{count.size}{count.rest.replace('cannot be told apart from it', 'cannot be told apart from before')}."]


def against_original(places: Sequence[PlaceSummary]) -> list[str]:
    """How many transplants are better and worse than the original, a sentence for each reference."""
    found = []
    for stage, reference, words in [(stage, *pair) for stage, pairs in reversed(ORIGINALS.items()) for pair in reversed(pairs)]:
        ones = _transplants(place.on_bits(reference, stage) for place in places if place.final == stage)
        if not ones:
            continue
        kind, count = "trained" if stage == "trained" else "zero-shot", tally(ones)
        verb = "is" if len(count.better) == 1 else "are"
        text = f"Against {words}, {len(count.better)} of {count.total} {kind} transplants {verb} better and {len(count.worse)} worse"
        found.append(f"{text}{count.size}{count.rest}.")
    return found


def _transplants(by_place: Iterable[Sequence[Comparison]]) -> list[Comparison]:
    return [one for ones in by_place for one in ones if not one.group.keeps_tokenizer]


def forgetting(places: Sequence[PlaceSummary]) -> list[str]:
    """What trained transplants lose of English."""
    ones = _transplants(place.on_bits("untouched", "trained", english=True) for place in places)
    if not ones:
        return []
    count = tally(ones)
    if not count.worse:
        better = f"; {len(count.better)} of them need {sizes(count.better)} bits less" if count.better else ""
        return [
            f"English: none of {count.total} trained transplants is shown to need more bits per byte than the untouched original"
            f"{count.size}{better}{count.rest}."
        ]
    better = f"; {len(count.better)} need {sizes(count.better)} less" if count.better else ""
    return [
        f"English gets worse: {len(count.worse)} of {count.total} trained transplants need {sizes(count.worse)} "
        f"more bits per byte on English pages than the untouched original{count.size}{better}{count.rest}."
    ]


def tokens(places: Sequence[PlaceSummary]) -> list[str]:
    """How many tokens the new vocabularies need."""
    seen: dict[tuple[str, str, str], str] = {}
    for place in places:
        original = next((row.facts.get("tokens_per_byte") for row in place.scored if row.is_control), None)
        for row in place.scored:
            new = row.facts.get("tokens_per_byte")
            if not row.group.keeps_tokenizer and original and new:
                change = new / original - 1
                more = f"{abs(change):.0%} {'fewer' if change < 0 else 'more'}"
                seen.setdefault(
                    (*place.place[:2], row.group.tokenizer), f"{more} on {place.language} ({place.model}, {row.group.tokenizer})"
                )
    return [f"Tokens for the same text, new vocabulary against the original: {listed(list(seen.values()))}."] if seen else []


def choices(places: Sequence[PlaceSummary]) -> list[str]:
    """How many scores on choice tasks lie above chance."""
    scores = [
        (found, task.chance)
        for place in places
        for task in place.tasks
        for row in place.scored
        if (found := row.accuracy.get("trained", {}).get(task.slug)) is not None
    ]
    if not scores:
        return []
    above = sum(found.above(chance) is True for found, chance in scores)
    size, few = f"{span([found.n for found, _ in scores])} items each", sum(found.n < FEWEST for found, _ in scores)
    rest = f"; {few} have fewer than {FEWEST} items, of which nothing is claimed" if few else ""
    if not above:
        return [
            f"No choice task tells the models from blind guessing: 0 of {len(scores)} scores after training lie above chance ({size}{rest})."
        ]
    return [
        f"On the choice tasks {above} of {len(scores)} scores after training lie above chance (the interval excludes it; {size}{rest})."
    ]


def limits(evidence: Evidence, places: Sequence[PlaceSummary]) -> list[str]:
    """What the numbers cannot say, from the sizes of this very run."""
    found = []
    costs = [row.cost.bytes for place in places for row in place.rows if row.cost.bytes]
    if costs:
        budget = f"{quantity(min(costs))}" if min(costs) == max(costs) else f"{quantity(min(costs))} to {quantity(max(costs))}"
        found.append(
            f"Training budget: {budget} bytes of text a cell. An order of methods at this budget need not hold at a larger one, "
            "where differences between starting points shrink."
        )
    found += _corpora(evidence)
    seeds = [len(group.cells) for group in evidence.groups]
    if max(seeds) == 1:
        found.append("One seed a cell: the intervals cover the choice of test pages, not the luck of another training run.")
    else:
        found.append(f"{span(seeds)} seeds a method: where there are several, the intervals cover seeds as well as pages.")
    ones = [one for place in places for one in place.comparisons if one.is_bits]
    own, english = ([one.difference for one in ones if one.english is wanted] for wanted in (False, True))
    if own:
        pages = f"{span([one.n for one in own])} held-out pages" + (f" (English: {span([one.n for one in english])})" if english else "")
        found.append(
            f"Bits per byte are measured on {pages}; on fewer than {FEWEST} nothing is claimed. Half of the comparisons in the language "
            f"could find a true difference of {median(one.detectable for one in own):.3f} with 80% power."
        )
    items = [task.n for place in places for task in place.tasks]
    if items:
        error = (0.25 / max(min(items), 1)) ** 0.5
        found.append(f"Choice tasks have {span(items)} items: at {min(items)} items one standard error is at most {error:.1%}.")
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
    small = " These are small corpora: an adaptation for use reads gigabytes." if largest < 50e6 else ""
    return [f"Training text at hand, in bytes: {', '.join(parts)}.{small}"] if parts else []


def _registers(evidence: Evidence) -> set[str]:
    """What kind of text the corpora say they hold."""
    found = set()
    for folder in {cell.paths.corpus for cell in evidence.cells.cells}:
        for source in json.loads(corpus_facts(folder).get("sources", "[]")):
            if isinstance(source, dict) and source.get("register"):
                found.add(str(source["register"]))
    return found
