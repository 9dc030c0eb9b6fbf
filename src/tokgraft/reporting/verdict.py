"""Which model to load in one place: the best transplant, or the original where no transplant is shown to be better."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tokgraft.cells import Stage
from tokgraft.config.layout import CONTROL
from tokgraft.reporting.compare import Comparison
from tokgraft.reporting.evidence import Evidence
from tokgraft.reporting.leaders import leaders
from tokgraft.reporting.summary import PlaceSummary, Summary
from tokgraft.reporting.words import TRAINED_ALIKE, UNTOUCHED, amount, listed, measured_on, scored_of, signed, stage_name, too_few

KEEP = "Keep the original"


@dataclass(frozen=True)
class Verdict:
    """What to load in a place and why.

    Attributes:
        sentence: The reason.
        label: Name of the model that is offered.
        row: The model that is offered, None when the scores do not say which.
        stage: The stage of that model.
        original: What kept the place, empty when a transplant is offered.
    """

    sentence: str
    label: str = ""
    row: Summary | None = None
    stage: Stage = "init"
    original: str = ""

    @property
    def folder(self) -> str:
        """Folder of the offered model, of its first seed that was scored."""
        return str(self.row.group.example(self.stage).model_folder(self.stage)) if self.row else ""


def verdict(evidence: Evidence, place: PlaceSummary) -> Verdict:
    """What to load in a place."""
    best, control = place.best, place.control
    if best is None:
        return Verdict(f"No model is recommended: no transplant was scored {stage_name(place.final)}.")
    rest = f"; {scored}" if (scored := _scored(place)) else ""
    untouched = place.against(best, "untouched" if place.final == "trained" else CONTROL, place.final)
    alike = place.against(best, CONTROL, "trained") if place.final == "trained" else None
    known = [one for one in (untouched, alike) if one is not None]
    if control is None or not known:
        unknown = f"Whether {best.label} is better than the original is not known: the original was not scored"
        return Verdict(f"{unknown}. {_standing(evidence, place, best)}{rest}.", best.label, best, place.final)
    if few := next((one.difference for one in known if not one.difference.enough), None):
        return Verdict(f"No model is recommended: {measured_on(few)} are too few{rest}.")
    training = place.against(control, "own init", "trained")
    if (
        alike is not None
        and alike.better is False
        and (untouched is None or untouched.better is not False or (training and training.better))
    ):
        against, words, stage = alike, TRAINED_ALIKE, place.final
    elif untouched is not None and not untouched.better:
        against, words, stage = untouched, UNTOUCHED, "init"
    else:
        found = f"{_standing(evidence, place, best)}; {_worth(place, untouched, alike)}{rest}."
        return Verdict(found, best.label, best, place.final)
    size = f"({measured_on(against.difference)})"
    if against.better is None:
        why = (
            f"the best transplant, {best.label}, is not shown to be better than {words}: {signed(against.difference)} bits per byte {size}"
        )
    else:
        why = f"{words} needs {amount(against.difference)} bits per byte less than the best transplant, {best.label} {size}"
    return Verdict(f"{KEEP}: {why}{rest}.", words, control, stage, words if against.better is False else "")


def _worth(place: PlaceSummary, untouched: Comparison | None, alike: Comparison | None) -> str:
    """What the offered transplant is worth against the original; the sizes of the differences stand in sentences of their own."""
    pairs = [(UNTOUCHED, untouched), *([(TRAINED_ALIKE, alike)] if place.final == "trained" else [])]
    parts = [_against(words, one) for words, one in pairs]
    return f"it {' and '.join(parts)} ({measured_on(*(one.difference for _, one in pairs if one))})"


def _against(words: str, one: Comparison | None) -> str:
    if one is None:
        return f"was not compared with {words} for lack of a score"
    return {True: f"is better than {words}", False: f"is worse than {words}", None: f"cannot be told apart from {words}"}[one.better]


def _standing(evidence: Evidence, place: PlaceSummary, best: Summary) -> str:
    """Whether the best transplant is told apart from the others."""
    lead = leaders(evidence, place, place.final)
    if lead is None:
        return (
            f"{best.label} is the only transplant" if len(place.transplants) == 1 else f"{best.label} was compared with no other transplant"
        )
    size = measured_on(*lead.differences)
    if not lead.enough:
        return f"No order is claimed among {listed(lead.named)}: they were compared on {too_few(lead.differences)}"
    if lead.runner_up is None or lead.tied:
        others = listed([row.label for row, _ in lead.tied])
        return f"Of the transplants {best.label} has the fewest bits per byte, but cannot be told apart from {others} ({size})"
    row, difference = lead.runner_up
    return f"Of the transplants {best.label} leads, {amount(difference)} bits per byte before the next, {row.label} ({size})"


def _scored(place: PlaceSummary) -> str:
    return scored_of(sum(place.final in row.bits for row in place.transplants), len(place.transplants), "transplants")


def kept(evidence: Evidence, places: Sequence[PlaceSummary]) -> list[str]:
    """Where the original should be kept, one sentence for each reason."""
    beaten: dict[tuple[str, str], list[str]] = {}
    for place in places:
        found = verdict(evidence, place)
        if found.sentence.startswith(KEEP):
            beaten.setdefault((found.original, _scored(place)), []).append(place.where)
    return [
        f"{KEEP} on {listed(where)}: "
        + (
            f"{words} needs fewer bits per byte than the best transplant there"
            if words
            else f"the best transplant there is not shown to be better than {UNTOUCHED}"
        )
        + (f"; {scored}." if scored else ".")
        for (words, scored), where in sorted(beaten.items())
    ]
