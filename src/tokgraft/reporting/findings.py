"""What the numbers say, in plain words: a ranking is claimed only where the interval of the paired difference excludes 0.

Beside every claim stands the number of pages (of items where a task has no pages), and of seeds, that it was measured on; on fewer than
`tokgraft.scoring.statistics.FEWEST` nothing is claimed. What cannot be said because a score is missing is said to be unknown.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from tokgraft import documents
from tokgraft.cells import STAGES, Stage, flatten, read_facts
from tokgraft.config.layout import CONTROL, ENGLISH
from tokgraft.frame import Frame
from tokgraft.reporting import speeds
from tokgraft.reporting.compare import Comparison
from tokgraft.reporting.figures import quantity
from tokgraft.reporting.leaders import Leaders, leaders
from tokgraft.reporting.sections import Section, asked_on
from tokgraft.reporting.verdict import kept, scored, verdict
from tokgraft.reporting.words import (
    TRAINED_ALIKE,
    UNTOUCHED,
    amount,
    capital,
    listed,
    measured_on,
    signed,
    span,
    stage_name,
    too_few,
)
from tokgraft.scoring.statistics import FEWEST, Interval

# What transplants are held against, by the last stage of the section: name of the reference, and in words.
ORIGINALS: dict[Stage, tuple[tuple[str, str], ...]] = {
    "init": ((CONTROL, UNTOUCHED),),
    "trained": (("untouched", UNTOUCHED), (CONTROL, TRAINED_ALIKE)),
}


def headline(sections: Sequence[Section]) -> list[str]:
    """The findings over all sections, most important first; empty while nothing is scored."""
    if not any(section.scored for section in sections):
        return []
    sentences = [*winners(sections), *training(sections), *against_original(sections), *kept(sections), *forgetting(sections)]
    return [*sentences, *speeds.sentences(sections), *tokens(sections), *choices(sections)]


def section_findings(section: Section) -> list[str]:
    """The findings of one section: who leads at each stage, by how much, and what it is worth against the original."""
    sentences = []
    for stage in section.stages:
        lead, partial = leaders(section, stage), scored(section, stage)
        if lead:
            sentences.append(leading(section, lead, stage, partial))
        elif len(section.transplants) > 1:
            sentences.append(
                f"{capital(stage_name(stage))}, no order can be claimed: {partial or 'the transplants have no seed in common'}."
            )
    if (best := section.best) is not None:
        ones = [(reference, words, section.against(best, reference, section.final)) for reference, words in ORIGINALS[section.final]]
        for reference, words, one in ones:
            if one is not None:
                sentences.append(versus(section.label(best), words, one))
            elif any(other is not None for _, _, other in ones):  # where none is known the advice says so
                sentences.append(f"Whether {section.label(best)} is better than {words} is not known: {lacking(section, reference)}.")
    return [*sentences, verdict(section).sentence]


def lacking(section: Section, reference: str, english: bool = False) -> str:
    """Why no transplant of a section could be compared with a reference, in English or in the section's language."""
    stage: Stage = "init" if reference == "untouched" else section.final
    on = " on English" if english else ""
    if english and not any(section.english(row, at) for row in section.rows for at in section.stages):
        return "no model was scored on English"
    if section.control is None or (section.english if english else section.bits)(section.control, stage) is None:
        when = " before training" if reference == "untouched" else f" {stage_name(stage)}" if stage == "trained" else ""
        return f"the original was not scored{on}{when}"
    return f"no transplant was scored{on}" + (f" {stage_name(section.final)}" if section.final == "trained" else "")


def unknown(what: str, reasons: Iterable[tuple[str, str]]) -> list[str]:
    """Sentences on what is not known: (section, reason), a sentence for each reason."""
    by_reason: dict[str, list[str]] = {}
    for where, reason in reasons:
        by_reason.setdefault(reason, []).append(where)
    return [f"{what} is not known on {listed(where)}: {reason}." for reason, where in by_reason.items()]


def versus(label: str, words: str, one: Comparison) -> str:
    """A model against the original."""
    when, difference, size = capital(stage_name(one.stage)), one.difference, measured_on(one.difference)
    if not difference.enough:
        return f"{when} {label} was compared with {words} on {too_few([difference])} ({signed(difference)})."
    if one.better is None:
        return f"{when} {label} cannot be told apart from {words} ({signed(difference)}, {size})."
    return f"{when} {label} is {'better' if one.better else 'worse'} than {words} by {amount(difference)} bits per byte ({size})."


def leading(section: Section, lead: Leaders, stage: Stage, partial: str = "") -> str:
    """Who leads in one section at one stage, and by how much.

    Args:
        section: Where.
        lead: The best and those beside it.
        stage: The stage.
        partial: How many transplants were scored, where not all were.
    """
    when, rest = capital(stage_name(stage)), f"; {partial}" if partial else ""
    if not lead.enough:
        return f"{when}, no order is claimed among {listed([section.label(row) for row in lead.named])}: they were compared on {too_few(lead.differences)}{rest}."
    first, size = f"{when}, {section.label(lead.best)} has the fewest bits per byte of the transplants", measured_on(*lead.differences)
    others = listed([section.label(row) for row, _ in lead.tied]) if lead.tied else ""
    if lead.runner_up is None:
        return f"{first}, but no order can be claimed: it cannot be told apart from {others} ({size}){rest}."
    row, difference = lead.runner_up
    if lead.tied:
        return (
            f"{first}, but cannot be told apart from {others}; it needs {amount(difference)} less than {section.label(row)} ({size}){rest}."
        )
    return f"{first}: {amount(difference)} less than the next, {section.label(row)} ({size}){rest}."


def winners(sections: Sequence[Section]) -> list[str]:
    """Who leads where, a sentence for each stage."""
    sentences = []
    for stage in STAGES:
        alone: dict[str, list[tuple[str, Interval]]] = {}
        parts: list[str] = []
        for section in (one for one in sections if stage in one.stages):
            lead, partial = leaders(section, stage), scored(section, stage)
            if lead is None:
                if len(section.transplants) > 1:
                    parts.append(f"no claim on {section.where}: {partial or 'the transplants have no seed in common'}")
                continue
            if lead.runner_up and lead.enough and not lead.tied:
                alone.setdefault(section.label(lead.best), []).append((section.where, lead.runner_up[1]))
            elif lead.enough:
                others, size = listed([section.label(row) for row, _ in lead.tied]), measured_on(*lead.differences)
                parts.append(f"no single best on {section.where}: {section.label(lead.best)} cannot be told apart from {others} ({size})")
            else:
                parts.append(f"no claim on {section.where}: compared on {too_few(lead.differences)}")
            parts += [f"{partial} on {section.where}"] if partial else []
        first = [
            f"{label} has the fewest bits per byte of the transplants on {listed([where for where, _ in won])}"
            f" ({measured_on(*(difference for _, difference in won))})"
            for label, won in sorted(alone.items(), key=lambda item: (-len(item[1]), item[0]))
        ]
        if first or parts:
            sentences.append(f"{capital(stage_name(stage))}: {'; '.join([*first, *parts])}.")
    return sentences


@dataclass(frozen=True)
class Tally:
    """Comparisons with the same reference, counted by what may be claimed."""

    better: list[Interval]
    worse: list[Interval]
    unclear: list[Interval]
    few: list[Interval]
    missing: int = 0  # that could not be made, for lack of a score

    @property
    def total(self) -> int:
        """All that were made."""
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
        few = f"; {len(self.few)} compared on {too_few(self.few)} (differences {sizes(self.few, signed=True)})" if self.few else ""
        missing = f"; {self.missing} more could not be compared: a score is missing" if self.missing else ""
        return unclear + few + missing


def tally(ones: Sequence[Comparison], wanted: int) -> Tally:
    """Count comparisons, of which so many should have been made."""
    enough = [one for one in ones if one.difference.enough]
    by_claim = {claim: [one.difference for one in enough if one.better is claim] for claim in (True, False, None)}
    return Tally(
        by_claim[True], by_claim[False], by_claim[None], [one.difference for one in ones if not one.difference.enough], wanted - len(ones)
    )


def sizes(differences: Sequence[Interval], signed: bool = False) -> str:
    """Smallest to largest of differences, with or without their signs."""
    values = sorted(one.mean if signed else abs(one.mean) for one in differences)
    ends = [f"{value:{'+' if signed else ''}.2f}" for value in (values[0], values[-1])]
    return " to ".join(ends[: len(values)])


def training(sections: Sequence[Section]) -> list[str]:
    """What training does to bits per byte, the original model included."""
    trained = [section for section in sections if section.final == "trained"]
    ones = [one for section in trained for one in section.on_bits("own init", "trained")]
    if not ones:
        return unknown("What training changes", ((section.where, "no model was scored both before and after it") for section in trained))
    count = tally(ones, sum(len(section.rows) for section in trained))
    text = f"Training lowers bits per byte in {len(count.better)} of {count.total} combinations of model, language and method"
    text += f", by {sizes(count.better)}" if count.better else ""
    text += f", and raises them in {len(count.worse)}, by {sizes(count.worse)}" if count.worse else ""
    return [f"{text}{count.size}{count.rest.replace('cannot be told apart from it', 'cannot be told apart from before')}."]


def against_original(sections: Sequence[Section]) -> list[str]:
    """How many transplants are better and worse than the original, a sentence for each reference."""
    sentences = []
    for stage, reference, words in [(stage, *pair) for stage, pairs in reversed(ORIGINALS.items()) for pair in reversed(pairs)]:
        ones, wanted, without = _transplants(sections, reference, stage)
        kind = "trained" if stage == "trained" else "zero-shot"
        if ones:
            count = tally(ones, wanted)
            verb = "is" if len(count.better) == 1 else "are"
            text = f"Against {words}, {len(count.better)} of {count.total} {kind} transplants {verb} better and {len(count.worse)} worse"
            sentences.append(f"{text}{count.size}{count.rest}.")
        reasons = ((section.where, lacking(section, reference)) for section in without)
        sentences += unknown(f"Whether {kind} transplants are better than {words}", reasons)
    return sentences


def _transplants(
    sections: Sequence[Section], reference: str, stage: Stage, english: bool = False
) -> tuple[list[Comparison], int, list[Section]]:
    """(comparisons of transplants with a reference, how many there should be in their sections, the sections that have none)."""
    ones: list[Comparison] = []
    wanted, without = 0, []
    for section in (one for one in sections if one.final == stage and one.transplants):
        found = [one for one in section.on_bits(reference, stage, english) if not one.combination.keeps_tokenizer]
        ones += found
        wanted += len(section.transplants) if found else 0
        without += [] if found else [section]
    return ones, wanted, without


def forgetting(sections: Sequence[Section]) -> list[str]:
    """What trained transplants lose of English."""
    others = [section for section in sections if section.group[1] != ENGLISH]
    ones, wanted, without = _transplants(others, "untouched", "trained", english=True)
    nothing = unknown("What trained transplants lose of English", ((one.where, lacking(one, "untouched", english=True)) for one in without))
    if not ones:
        return nothing
    count = tally(ones, wanted)
    if not count.worse:
        better = f"; {len(count.better)} of them need {sizes(count.better)} bits less" if count.better else ""
        return [
            f"English: none of {count.total} trained transplants is shown to need more bits per byte than the untouched original"
            f"{count.size}{better}{count.rest}.",
            *nothing,
        ]
    better = f"; {len(count.better)} need {sizes(count.better)} less" if count.better else ""
    return [
        f"English gets worse: {len(count.worse)} of {count.total} trained transplants need {sizes(count.worse)} "
        f"more bits per byte on English pages than the untouched original{count.size}{better}{count.rest}.",
        *nothing,
    ]


def tokens(sections: Sequence[Section]) -> list[str]:
    """How many tokens the new vocabularies need."""
    seen: dict[tuple[str, str, str], str] = {}
    lost: dict[tuple[str, str, str], tuple[str, str]] = {}
    for section in sections:
        original = next((section.fact(row, "tokens_per_byte") for row in section.scored if row.is_control), None)
        for row in section.transplants:
            new, key = section.fact(row, "tokens_per_byte"), (*section.group[:2], row.tokenizer)
            where = f"{section.language} ({section.model}, {row.tokenizer})"
            if original and new:
                change = new / original - 1
                seen.setdefault(key, f"{abs(change):.0%} {'fewer' if change < 0 else 'more'} on {where}")
            else:
                lost.setdefault(key, (where, "no transplant was scored" if original else "the original was not scored"))
    known = [f"Tokens for the same text, new vocabulary against the original: {listed(list(seen.values()))}."] if seen else []
    return [*known, *unknown("How many tokens the new vocabulary needs", (pair for key, pair in lost.items() if key not in seen))]


def choices(sections: Sequence[Section]) -> list[str]:
    """How many scores on choice tasks lie above chance, a sentence for each stage that is the last of some section."""
    asked = any(section.tasks for section in sections)
    return [text for stage in reversed(STAGES) if asked for text in _choices([one for one in sections if one.final == stage], stage)]


def _choices(sections: Sequence[Section], stage: Stage) -> list[str]:
    scores = [
        (found, task)
        for section in sections
        for task in section.tasks
        for row in section.rows
        if (found := section.accuracies(row, stage).get(task.task)) is not None
    ]
    nothing = [f"No choice task was scored on {listed(where)}."] if (where := [one.where for one in sections if not one.tasks]) else []
    if not scores:
        return nothing
    above = sum(found.above(task.chance or 0.0) is True for found, task in scores)
    few = [found for found, _ in scores if found.n < FEWEST]
    size = f"{asked_on([task for _, task in scores])} each"
    rest = f"; {len(few)} have {too_few(few)}" if few else ""
    missing = sum(len(section.tasks) * len(section.rows) for section in sections) - len(scores)
    rest += f"; {missing} more {'is' if missing == 1 else 'are'} missing" if missing else ""
    text = f"{above} of {len(scores)} scores {stage_name(stage)} lie above chance"
    if not above:
        return [f"No choice task tells the models from blind guessing: {text} ({size}{rest}).", *nothing]
    return [f"On the choice tasks {text} (the interval excludes it; {size}{rest}).", *nothing]


def limits(frame: Frame, sections: Sequence[Section]) -> list[str]:
    """What the numbers cannot say, from the sizes of this very run."""
    sentences = []
    costs = [cost for section in sections for row in section.rows if (cost := section.cost(row, "training_bytes"))]
    if costs:
        budget = f"{quantity(min(costs))}" if min(costs) == max(costs) else f"{quantity(min(costs))} to {quantity(max(costs))}"
        sentences.append(
            f"Training budget: {budget} bytes of text a cell. An order of methods at this budget need not hold at a larger one, "
            "where differences between starting points shrink."
        )
    sentences += _corpora(frame)
    seeds = [len(cells) for cells in frame.combinations.values()]
    if max(seeds) == 1:
        sentences.append("One seed a cell: the intervals cover the choice of test pages, not the luck of another training run.")
    else:
        sentences.append(f"{span(seeds)} seeds a method: where there are several, the intervals cover seeds as well as pages.")
    ones = [one for section in sections for one in section.comparisons if one.is_bits]
    own, english = ([one.difference for one in ones if one.english is wanted] for wanted in (False, True))
    if own:
        pages = f"{span([one.n for one in own])} held-out pages" + (f" (English: {span([one.n for one in english])})" if english else "")
        sentences.append(
            f"Bits per byte are measured on {pages}; on fewer than {FEWEST} nothing is claimed. Half of the comparisons in the language "
            f"could find a true difference of {median(one.detectable for one in own):.3f} with 80% power."
        )
    tasks = [task for section in sections for task in section.tasks]
    reach = [
        (accuracy.high - accuracy.low) / 2
        for section in sections
        for row in section.rows
        for stage in section.stages
        for accuracy in section.accuracies(row, stage).values()
    ]
    if tasks and reach:
        sentences.append(
            f"Choice tasks have {asked_on(tasks)}, and items of one page are no independent evidence: "
            f"half of the 95% intervals of accuracies reach {100 * median(reach):.1f} points or more to a side."
        )
    domains = f" ({'; '.join(sorted(registers))})" if (registers := _registers(frame)) else ""
    sentences.append(f"Held-out pages come from the same corpora as the training text, so the scores speak for that domain{domains}.")
    return [*sentences, *speeds.limits(sections)]


def _corpora(frame: Frame) -> list[str]:
    parts, largest = [], 0.0
    for language in dict.fromkeys(cell.language for cell in frame.cells.cells):
        folder = next(cell.paths.corpus for cell in frame.cells.cells if cell.language == language)
        size = path.stat().st_size if (path := documents.pages_file(folder, "train")).is_file() else None
        facts = flatten(read_facts(folder, "card.json", "corpus"))
        size = facts["splits/train/bytes"] if isinstance(facts.get("splits/train/bytes"), int) else size
        if size:
            largest = max(largest, float(size))
            parts.append(f"{frame.cells.name('languages', language)} {quantity(size)}")
    small = " These are small corpora: an adaptation for use reads gigabytes." if largest < 50e6 else ""
    return [f"Training text at hand, in bytes: {', '.join(parts)}.{small}"] if parts else []


def _registers(frame: Frame) -> set[str]:
    """What kind of text the corpora say they hold."""
    found = set()
    for folder in {cell.paths.corpus for cell in frame.cells.cells}:
        for source in json.loads(flatten(read_facts(folder, "card.json", "corpus")).get("sources", "[]")):
            if isinstance(source, dict) and source.get("register"):
                found.add(str(source["register"]))
    return found
