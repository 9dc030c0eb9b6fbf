"""Which model to load in one place: the best transplant, or the original where no transplant is shown to be better."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tokgraft.cells import Stage
from tokgraft.config.layout import CONTROL
from tokgraft.reporting.summary import PlaceSummary, Summary
from tokgraft.reporting.words import TRAINED_ALIKE, UNTOUCHED, amount, listed, measured_on, signed

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
        """Folder of the offered model, of its first seed."""
        return str(self.row.group.cells[0].model_folder(self.stage)) if self.row else ""


def verdict(place: PlaceSummary) -> Verdict | None:
    """What to load in a place; None when it has no scored transplant."""
    best, control = place.best, place.control
    if best is None:
        return None
    untouched = place.against(best, "untouched" if place.final == "trained" else CONTROL, place.final)
    alike = place.against(best, CONTROL, "trained") if place.final == "trained" else None
    known = [one for one in (untouched, alike) if one is not None]
    if control is None or not known:
        return Verdict(
            f"Whether {best.label} is better than the original is not known: the original was not scored.", best.label, best, place.final
        )
    if few := next((one.difference for one in known if not one.difference.enough), None):
        return Verdict(f"No model is recommended: {measured_on(few)} are too few.")
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
        return Verdict(f"Of the transplants {best.label} has the fewest bits per byte.", best.label, best, place.final)
    size = f"({measured_on(against.difference)})"
    if against.better is None:
        why = (
            f"the best transplant, {best.label}, is not shown to be better than {words}: {signed(against.difference)} bits per byte {size}"
        )
    else:
        why = f"{words} needs {amount(against.difference)} bits per byte less than the best transplant, {best.label} {size}"
    return Verdict(f"{KEEP}: {why}.", words, control, stage, words if against.better is False else "")


def kept(places: Sequence[PlaceSummary]) -> list[str]:
    """Where the original should be kept, one sentence for each reason."""
    beaten: dict[str, list[str]] = {}
    for place in places:
        found = verdict(place)
        if found and found.sentence.startswith(KEEP):
            beaten.setdefault(found.original, []).append(place.where)
    return [
        f"{KEEP} on {listed(where)}: "
        + (
            f"{words} needs fewer bits per byte than the best transplant there."
            if words
            else f"no transplant there is shown to be better than {UNTOUCHED}."
        )
        for words, where in sorted(beaten.items())
    ]
