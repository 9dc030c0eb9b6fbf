"""Numbers and lists as they stand in the sentences of the report."""

from __future__ import annotations

from collections.abc import Sequence

from tokgraft.cells import Stage
from tokgraft.scoring.statistics import FEWEST, Difference

UNTOUCHED = "the untouched original"
TRAINED_ALIKE = "the original vocabulary trained on the same bytes"


def stage_name(stage: Stage) -> str:
    """The stage in words."""
    return "right after the transplant" if stage == "init" else "after training"


def capital(text: str) -> str:
    """The text with a large first letter."""
    return f"{text[:1].upper()}{text[1:]}"


def listed(words: Sequence[str]) -> str:
    """a, b and c."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def span(values: Sequence[int]) -> str:
    """`10`, or `10 to 54`."""
    return str(min(values)) if min(values) == max(values) else f"{min(values)} to {max(values)}"


def measured_on(*differences: Difference, units: str = "pages") -> str:
    """What differences were measured on: `10 to 54 pages`, with the number of seeds where there are several."""
    seeds = [one.seeds for one in differences]
    return f"{span([one.n for one in differences])} {units}" + (f", {span(seeds)} seeds" if max(seeds) > 1 else "")


def too_few(differences: Sequence[Difference]) -> str:
    """Why nothing is claimed of these."""
    return f"{measured_on(*differences)}, and nothing is claimed on fewer than {FEWEST}"


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
