"""Which model to load in one section: the best transplant, or the original where no transplant is shown to be better."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tokgraft.cells import Combination, Stage
from tokgraft.config.layout import CONTROL
from tokgraft.reporting.compare import Comparison
from tokgraft.reporting.leaders import leaders
from tokgraft.reporting.sections import Section
from tokgraft.reporting.words import TRAINED_ALIKE, UNTOUCHED, amount, listed, measured_on, scored_of, signed, stage_name, too_few

KEEP = "Keep the original"


@dataclass(frozen=True)
class Verdict:
    """What to load in a section and why.

    Attributes:
        sentence: The reason.
        folder: Folder of the offered model, of its first seed that was scored; empty when the scores do not say which.
        original: What kept the transplants from being offered; empty when one is.
    """

    sentence: str
    folder: str = ""
    original: str = ""


def verdict(section: Section) -> Verdict:
    """What to load in a section."""
    best, control = section.best, section.control
    if best is None:
        return Verdict(f"No model is recommended: no transplant was scored {stage_name(section.final)}.")
    label, folder = section.label(best), _folder(section, best, section.final)
    rest = f"; {partial}" if (partial := scored(section, section.final)) else ""
    untouched = section.against(best, "untouched" if section.final == "trained" else CONTROL, section.final)
    alike = section.against(best, CONTROL, "trained") if section.final == "trained" else None
    known = [one for one in (untouched, alike) if one is not None]
    if control is None or not known:
        unknown = f"Whether {label} is better than the original is not known: the original was not scored"
        return Verdict(f"{unknown}. {_standing(section, best)}{rest}.", folder)
    if few := next((one.difference for one in known if not one.difference.enough), None):
        return Verdict(f"No model is recommended: {measured_on(few)} are too few{rest}.")
    training = section.against(control, "own init", "trained")
    if (
        alike is not None
        and alike.better is False
        and (untouched is None or untouched.better is not False or (training and training.better))
    ):
        against, words, stage = alike, TRAINED_ALIKE, section.final
    elif untouched is not None and not untouched.better:
        against, words, stage = untouched, UNTOUCHED, "init"
    else:
        return Verdict(f"{_standing(section, best)}; {_worth(section, untouched, alike)}{rest}.", folder)
    size = f"({measured_on(against.difference)})"
    if against.better is None:
        why = f"the best transplant, {label}, is not shown to be better than {words}: {signed(against.difference)} bits per byte {size}"
    else:
        why = f"{words} needs {amount(against.difference)} bits per byte less than the best transplant, {label} {size}"
    return Verdict(f"{KEEP}: {why}{rest}.", _folder(section, control, stage), words if against.better is False else "")


def _folder(section: Section, row: Combination, stage: Stage) -> str:
    return str(section.frame.example(row, stage).model_folder(stage))


def _worth(section: Section, untouched: Comparison | None, alike: Comparison | None) -> str:
    """What the offered transplant is worth against the original; the sizes of the differences stand in sentences of their own."""
    pairs = [(UNTOUCHED, untouched), *([(TRAINED_ALIKE, alike)] if section.final == "trained" else [])]
    parts = [_against(words, one) for words, one in pairs]
    return f"it {' and '.join(parts)} ({measured_on(*(one.difference for _, one in pairs if one))})"


def _against(words: str, one: Comparison | None) -> str:
    if one is None:
        return f"was not compared with {words} for lack of a score"
    return {True: f"is better than {words}", False: f"is worse than {words}", None: f"cannot be told apart from {words}"}[one.better]


def _standing(section: Section, best: Combination) -> str:
    """Whether the best transplant is told apart from the others."""
    lead, label = leaders(section, section.final), section.label(best)
    if lead is None:
        return f"{label} is the only transplant" if len(section.transplants) == 1 else f"{label} was compared with no other transplant"
    size = measured_on(*lead.differences)
    if not lead.enough:
        return f"No order is claimed among {listed([section.label(row) for row in lead.named])}: they were compared on {too_few(lead.differences)}"
    if lead.runner_up is None or lead.tied:
        others = listed([section.label(row) for row, _ in lead.tied])
        return f"Of the transplants {label} has the fewest bits per byte, but cannot be told apart from {others} ({size})"
    row, difference = lead.runner_up
    return f"Of the transplants {label} leads, {amount(difference)} bits per byte before the next, {section.label(row)} ({size})"


def scored(section: Section, stage: Stage) -> str:
    """How many transplants of a section were scored at a stage; empty where all were."""
    return scored_of(len(section.ranked(stage)), len(section.transplants), "transplants")


def kept(sections: Sequence[Section]) -> list[str]:
    """Where the original should be kept, one sentence for each reason."""
    beaten: dict[tuple[str, str], list[str]] = {}
    for section in sections:
        advice = verdict(section)
        if advice.sentence.startswith(KEEP):
            beaten.setdefault((advice.original, scored(section, section.final)), []).append(section.where)
    return [
        f"{KEEP} on {listed(where)}: "
        + (
            f"{words} needs fewer bits per byte than the best transplant there"
            if words
            else f"the best transplant there is not shown to be better than {UNTOUCHED}"
        )
        + (f"; {partial}." if partial else ".")
        for (words, partial), where in sorted(beaten.items())
    ]
