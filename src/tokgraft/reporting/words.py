"""Numbers and lists as they stand in the sentences of the report."""

from __future__ import annotations

from collections.abc import Sequence

from tokgraft.cells import Stage
from tokgraft.scoring.statistics import FEWEST, Interval

UNTOUCHED = "the untouched original"
TRAINED_ALIKE = "the original vocabulary trained on the same bytes"


def stage_name(stage: Stage) -> str:
    """The stage in words."""
    return "right after the transplant" if stage == "init" else "after training"


def scored_of(scored: int, total: int, what: str) -> str:
    """`3 of 4 transplants were scored`; empty where all were."""
    return "" if scored == total else f"{scored} of {total} {what} {'was' if scored == 1 else 'were'} scored"


def capital(text: str) -> str:
    """The text with a large first letter."""
    return f"{text[:1].upper()}{text[1:]}"


def listed(words: Sequence[str]) -> str:
    """a, b and c."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def span(values: Sequence[int]) -> str:
    """`10`, or `10 to 54`."""
    return str(min(values)) if min(values) == max(values) else f"{min(values)} to {max(values)}"


def counted(values: Sequence[int], unit: str) -> str:
    """`1 page`, `10 to 54 pages`."""
    return f"{span(values)} {unit}{'' if max(values) == 1 else 's'}"


def measured_on(*intervals: Interval) -> str:
    """What differences or scores were measured on: `10 to 54 pages`, with the number of seeds where there are several."""
    units = dict.fromkeys(one.unit for one in intervals)
    sizes = " and ".join(counted([one.n for one in intervals if one.unit == unit], unit) for unit in units)
    seeds = [one.seeds for one in intervals]
    return sizes + (f", {counted(seeds, 'seed')}" if max(seeds) > 1 else "")


def too_few(differences: Sequence[Interval]) -> str:
    """Why nothing is claimed of these."""
    return f"{measured_on(*differences)}, and nothing is claimed on fewer than {FEWEST}"


def amount(difference: Interval) -> str:
    """The size of a claimed difference with its interval, in as many digits as keep it apart from 0."""
    low, high = sorted((abs(difference.low), abs(difference.high)))
    digits = 2
    while digits < 6 and low < 5 * 10**-digits:
        digits += 1
    return f"{abs(difference.mean):.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def signed(difference: Interval) -> str:
    """A difference that includes 0, with its interval."""
    return f"{difference.mean:+.3f} [{difference.low:+.3f}, {difference.high:+.3f}]"
