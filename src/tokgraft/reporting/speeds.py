"""How much faster a model reads and writes with its new vocabulary: a table, and a sentence for each model and language.

Only what was measured while the machine did nothing else is shown (`tokgraft.cells.cell_speed`); elsewhere the reason stands in its section.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tokgraft.cells import CellSpeed, Combination, identity
from tokgraft.frame import Frame
from tokgraft.reporting.entries import Entry, absent
from tokgraft.reporting.sections import Section
from tokgraft.reporting.tables import CsvTable, Value
from tokgraft.scoring.speed import PHASES, SIDES, UNITS, Speed, Which

HELP = "bytes of text per second, and how many times as fast as the original, with the 95% interval of paired repeats"
KEY = ("model", "language", "tokenizer")


def table(frame: Frame) -> CsvTable:
    """One row for each new vocabulary: factors with intervals, bytes and tokens per second before and after with their spread."""
    measured = {one[:3]: frame.speed(one) for one, cells in frame.combinations.items() if cells[0].paths.speed is not None}
    return CsvTable("speed", KEY, [{**dict(zip(KEY, key, strict=True)), **_row(found)} for key, found in sorted(measured.items())])


def _row(found: CellSpeed) -> dict[str, Value | str]:
    sources = (found.folder,) if found.folder else ()
    figures = dict(_figures(found.speed) if found.speed else ())
    row: dict[str, Value | str] = {"alone": "yes" if found.speed else f"n/a: {found.reason}"}
    return row | {column: Value(figures.get(column), found.reason, sources) for column in _COLUMNS}


_COLUMNS = (
    *(f"{phase}_factor{end}" for phase in PHASES for end in ("", "_low", "_high")),
    *(f"{phase}_{unit}_per_second_{side}{end}" for phase in PHASES for unit in UNITS for side in SIDES for end in ("", "_low", "_high")),
    "repeats", "passages", "threads", "cores",
)  # fmt: skip


def _figures(speed: Speed) -> Iterator[tuple[str, float]]:
    for phase in PHASES:
        factor = speed.factor(phase)
        for end, value in (("", factor.mean), ("_low", factor.low), ("_high", factor.high)):
            yield f"{phase}_factor{end}", value
        for unit in UNITS:
            for side in SIDES:
                spread = speed.spread(side, phase, unit)
                for end, value in (("", spread.median), ("_low", spread.low), ("_high", spread.high)):
                    yield f"{phase}_{unit}_per_second_{side}{end}", value
    yield from (("repeats", len(speed.repeats)), ("passages", speed.passages), ("threads", speed.threads), ("cores", speed.cores))


def sentences(sections: Sequence[Section]) -> list[str]:
    """How fast each new vocabulary makes its model, against the original."""
    speeds = [(section, row, section.frame.speed(row).speed) for section, row in _each(sections)]
    return [_sentence(section, row, speed) for section, row, speed in speeds if speed is not None]


def limits(sections: Sequence[Section]) -> list[str]:
    """Which speeds are not shown although they were asked for, and why."""
    missing: dict[str, list[str]] = {}
    for section, row in _each(sections):
        found = section.frame.speed(row)
        if found.speed is None and found.folder is not None:
            missing.setdefault(found.reason, []).append(f"{section.language} ({section.model}, {row.tokenizer})")
    return [f"No speed is shown for {', '.join(where)}: {reason}." for reason, where in missing.items()]


def _each(sections: Sequence[Section]) -> Iterator[tuple[Section, Combination]]:
    """The first row of each model, language and tokenizer: speed depends on nothing else."""
    seen = set()
    for section in sections:
        for row in section.rows:
            key = (*section.group[:2], row.tokenizer)
            if key not in seen:
                seen.add(key)
                yield section, row


def _sentence(section: Section, row: Combination, speed: Speed) -> str:
    one = speed.factor("generation")
    value = f"{one.mean:.2f} [{one.low:.2f}, {one.high:.2f}]"
    how = f"({section.model}, {row.tokenizer}; {one.n} paired repeats, {where(speed)})"
    if not one.excludes_one:
        return f"Whether {section.language} text is generated faster than by the original cannot be told: {value} times as fast {how}."
    if one.high < 1:
        return f"Generates {section.language} text more slowly than the original: {value} times as fast {how}."
    return f"Generates {section.language} text {value} times as fast as the original {how}."


def entry(section: Section, row: Combination) -> Entry:
    """The speed of a row's vocabulary; in the row of the original that of the first measurement beside it."""
    side: Which = "before" if row.is_control else "after"
    found = section.frame.speed(row)
    if row.is_control:
        found = next((speed for one in section.rows if (speed := section.frame.speed(one)).speed is not None), found)
    if found.speed is None or found.folder is None:
        return absent(found.reason)
    rate, factor = found.speed.spread(side, "generation", "bytes"), found.speed.factor("generation")
    note = "the original" if row.is_control else f"×{factor.mean:.2f} [{factor.low:.2f}, {factor.high:.2f}]"
    tone = ("good" if factor.low > 1 else "bad") if factor.excludes_one and not row.is_control else ""
    tip = f"{rate.low:.1f} to {rate.high:.1f} B/s in {factor.n} paired repeats, {where(found.speed)}. "
    return Entry(
        f"{rate.median:,.0f} B/s", f"{rate.median}", note, f"{tip}{found.folder} · manifest {identity(found.folder)[:12]}", None, tone
    )


def where(speed: Speed) -> str:
    """The machine in words: what the models had to themselves."""
    if speed.device != "cpu":
        return "alone on one GPU"
    cores = f"{speed.cores} core{'s' if speed.cores > 1 else ''}"
    return f"alone on {cores}" if speed.threads >= speed.cores else f"alone on {speed.threads} of {cores}"
