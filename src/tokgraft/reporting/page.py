"""report.html: one file that needs nothing else, with every number traceable to its artifact."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokgraft.cells import RunCell, Stage, command, identities, identity, versions
from tokgraft.config.layout import CONTROL
from tokgraft.reporting import figures, predictors, ranking
from tokgraft.reporting.compare import Comparison
from tokgraft.reporting.evidence import Cost, Evidence, Group, tokenizer_facts, training_cost, transplant_cost
from tokgraft.reporting.figures import Canvas, quantity, stage_name
from tokgraft.reporting.findings import headline, limits, place_findings
from tokgraft.reporting.style import colour_variable, variables
from tokgraft.reporting.summary import PlaceSummary, Summary, Task
from tokgraft.reporting.suspects import suspects
from tokgraft.scoring.statistics import Difference, Interval

HERE = Path(__file__).parent
VERSUS = (CONTROL, "random", "mean")


@dataclass(frozen=True)
class Shown:
    """A table cell of the page.

    Attributes:
        text: What is read.
        sort: What the column is sorted by; empty: last.
        note: Smaller text after it (the interval).
        tip: What hovering or tapping shows: the exact value and where it comes from.
        bar: Left end, right end and point of an inline interval bar, in percent; None: no bar.
        tone: good, bad or none: colour of a difference.
    """

    text: str
    sort: str = ""
    note: str = ""
    tip: str = ""
    bar: tuple[float, float, float] | None = None
    tone: str = ""


def render(
    evidence: Evidence, places: Sequence[PlaceSummary], ranked: Sequence[ranking.Ranking], correlated: Sequence[predictors.Correlation],
    on: Canvas,
) -> str:  # fmt: skip
    """The page."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    cells = evidence.cells
    return environment.get_template("page.html").render(
        title=cells.experiment,
        description=cells.description,
        counts=_counts(evidence),
        headline=[*headline(evidence, places), *suspects(evidence)],
        rankings=[_ranking(evidence, one, on) for one in ranked if one.pooled],
        ranking_columns=RANKING_COLUMNS,
        places=[_place(evidence, place, on) for place in places],
        tokenizers=figures.tokenizers(on, places),
        tokenizer_table=_tokenizer_table(evidence),
        predictors=predictors.figure(on, correlated) if correlated else "",
        predicted=predictors.words(correlated),
        limits=limits(evidence, places),
        models=_models(places),
        skipped=[(outcome.cell.key, outcome.stage, outcome.reason) for outcome in evidence.outcomes if outcome.score is None],
        sources=sources(evidence),
        draws=cells.bootstrap_draws,
        tokenizer_columns=[(name, help) for name, _, _, help in TOKENIZER_COLUMNS],
        light=variables(False),
        dark=variables(True),
    )


def sources(evidence: Evidence) -> list[dict[str, Any]]:
    """Every artifact that numbers come from: folder, manifest hash, versions it was made with, Python and command of the run here."""
    found: dict[Path, tuple[str, Path]] = {}  # folder -> hash, and where its records lie
    for outcome in evidence.outcomes:
        if outcome.score is not None:
            cell, hashes = outcome.cell, identities(outcome.cell)
            for role in ("tokenizer", "corpus", "english", "base"):
                folder = getattr(cell.paths, role)
                found[folder] = (hashes[role], folder)
            found[outcome.score.folder] = (outcome.score.hash, outcome.score.folder)
            found[cell.model_folder(outcome.stage)] = (hashes[outcome.stage], cell.records(outcome.stage))
    return [
        {"folder": str(folder), "manifest": manifest, "command": command(records), **_versions(records)}
        for folder, (manifest, records) in sorted(found.items())
    ]


def _versions(records: Path) -> dict[str, Any]:
    found = versions(records)
    return {"python": found.pop("python", ""), "versions": found}


def _counts(evidence: Evidence) -> list[tuple[str, str]]:
    cells = [cell for cell in evidence.cells.cells if cell.reason is None]

    def plural(count: int, word: str) -> tuple[str, str]:
        return str(count), word if count == 1 else f"{word}s"

    return [
        plural(len({cell.model for cell in cells}), "base model"), plural(len({cell.language for cell in cells}), "language"),
        plural(len({cell.method for cell in cells}), "method"), plural(len({cell.seed for cell in cells}), "seed"), plural(len(cells), "cell"),
    ]  # fmt: skip


def _place(evidence: Evidence, place: PlaceSummary, on: Canvas) -> dict[str, Any]:
    drawn = [
        ("Learning curves", figures.learning_curves(on, place)),
        ("English during training: what is forgotten", figures.learning_curves(on, place, english=True)),
        ("What training costs", figures.against_cost(on, place, "flops")),
        ("What using it costs", figures.against_cost(on, place, "tokens")),
        ("Choice tasks against chance", figures.tasks(on, place)),
    ]
    return {
        "slug": place.slug,
        "model": f"{place.model}, {place.task}" if place.one_of_several else place.model,
        "language": place.language,
        "recipe": "zero-shot" if place.final == "init" else place.place[2],
        "legend": "Bits per byte, before and after training" if place.final == "trained" else "Bits per byte right after the transplant",
        "findings": place_findings(evidence, place),
        "main": figures.before_and_after(on, place) if place.scored else "",
        "figures": [(title, svg) for title, svg in drawn if svg],
        "columns": _columns(place),
        "rows": [_row(evidence, place, row, on) for row in place.rows],
    }


RANKING_COLUMNS = (
    ("", "place in the order of bits per byte"),
    ("method", "initialiser, and what was done after it"),
    ("tokenizer", "whose vocabulary the model has"),
    ("bits/byte", "bits per byte of held-out text, with the 95% interval over pages"),
    ("behind the first", "paired difference to the first; coloured only where the interval excludes 0"),
    ("vs original", "paired difference to the best model that keeps the original tokenizer"),
    ("seconds", "to make the rows and write the model, on the machine that did it"),
    ("for resources", "seconds to make what the method requires; methods may share it"),
    ("FLOPs", "of forward passes, refiners and training"),
)


def _ranking(evidence: Evidence, one: ranking.Ranking, on: Canvas) -> dict[str, Any]:
    return {
        "slug": one.slug,
        "model": evidence.cells.name("models", one.model) + (f", {one.task}" if one.one_of_several else ""),
        "language": evidence.cells.name("languages", one.language),
        "figure": ranking.figure(on, one),
        "rows": [[Shown(f"{place}", f"{place}"), *_ranked(entry)] for place, entry in enumerate(one.entries, 1)],
    }


def _ranked(entry: ranking.Entry) -> list[Shown]:
    cost = transplant_cost(entry.group.cells[0])
    training = training_cost(entry.group.cells[0]) if entry.stage == "trained" else Cost(flops=0.0, seconds=0.0)
    seconds, flops = _total(cost.seconds, training.seconds), _total(cost.flops, training.flops)
    bits, origin = entry.bits, _of_scores(entry.group, entry.stage)
    return [
        Shown(entry.name, entry.name),
        Shown(entry.group.tokenizer, entry.group.tokenizer),
        Shown(f"{bits.mean:.3f}", f"{bits.mean}", f"{bits.low:.2f}–{bits.high:.2f}", f"{bits.mean:.6f} over {bits.n} pages. {origin}"),
        *(_difference(one, origin) for one in (entry.behind, entry.original)),
        *(
            Shown(quantity(value), f"{value}", "", f"{value:.6g}") if value is not None else _absent("not recorded")
            for value in (seconds, cost.resource_seconds, flops)
        ),
    ]


def _total(*parts: float | None) -> float | None:
    known = [part for part in parts if part is not None]
    return sum(known) if len(known) == len(parts) else None


def _difference(found: Difference | None, origin: str) -> Shown:
    if found is None:
        return Shown("–")
    tone = ("good" if found.mean < 0 else "bad") if found.excludes_zero else ""
    tip = f"{found.mean:+.4f} [{found.low:+.4f}, {found.high:+.4f}], p = {found.p:.4f}, n = {found.n}. {origin}"
    return Shown(f"{found.mean:+.3f}", f"{found.mean}", "" if tone else "no claim", tip, None, tone)


def _columns(place: PlaceSummary) -> list[tuple[str, str]]:
    """(heading, explanation) of each column."""
    versus = [
        (f"vs {name}", f"bits per byte {stage_name(place.final)} minus {name}, paired; coloured only where the interval excludes 0")
        for name in VERSUS
    ]
    choices = [(task.slug, _task_help(task, place.final)) for task in place.tasks]
    trained = place.final == "trained"
    return [
        ("method", "initialiser, or a chain of it with refiners"),
        ("bits/byte, init", "bits per byte of held-out text right after the transplant, with the 95% interval over pages"),
        *([("bits/byte, trained", "the same after continual training")] if trained else []),
        *[pair for pair, name in zip(versus, VERSUS, strict=True) if any(row.method == name for row in place.rows)],
        ("English, init", "bits per byte of held-out English pages"),
        *([("English, trained", "the same after continual training: what was forgotten")] if trained else []),
        ("flat guess", "bits per byte of a model that finds every token equally likely: log2 of the vocabulary x tokens per byte"),
        ("tokens/byte", "tokens per byte of held-out text"),
        ("vocabulary", "number of tokens"),
        *choices,
        ("generates", "bytes per second, measured on the machine that scored; varies from run to run"),
        *(_TRAINING_COLUMNS if trained else ()),
    ]


_TRAINING_COLUMNS = (
    ("training text", "bytes read by continual training"),
    ("training FLOPs", "estimated floating-point operations of continual training"),
    ("training time", "seconds on the machine that trained; varies from run to run"),
)


def _task_help(task: Task, stage: Stage) -> str:
    rules = ", ".join(f"{name.replace('_', ' ')} {value:.0%}" for name, value in sorted(task.baselines.items()))
    return f"accuracy {stage_name(stage)}; chance {task.chance:.0%}, {task.n} items" + (
        f"; rules that ask no model: {rules}" if rules else ""
    )


def _row(evidence: Evidence, place: PlaceSummary, row: Summary, on: Canvas) -> dict[str, Any]:
    first: dict[str, Any] = {"label": row.label, "colour": colour_variable(on.of(row)[0]), "plain": _plain_note(evidence, row)}
    if not row.bits:
        return {**first, "cells": [], "reason": "; ".join(sorted(set(row.reasons.values()))) or "no score"}
    limits_of = _range(place)
    versus = [name for name in VERSUS if any(other.method == name for other in place.rows)]
    cells = [
        *[_bits(row, stage, row.bits.get(stage), limits_of) for stage in place.stages],
        *[_versus(evidence, row, name, place.against(row, name, place.final)) for name in versus],
        *[_bits(row, stage, row.english.get(stage), None) for stage in place.stages],
        *[
            _plain(row, row.facts.get(key), form)
            for key, form in (("flat_guess", "{:.2f}"), ("tokens_per_byte", "{:.3f}"), ("tokens", "{:,.0f}"))
        ],
        *[_accuracy(row, one.slug, one.chance) for one in place.tasks],
        _plain(row, row.speed.get(place.final), "{:,.0f} B/s"),
    ]
    if place.final == "trained":
        cells += [_cost(row, value, unit) for value, unit in ((row.cost.bytes, ""), (row.cost.flops, ""), (row.cost.seconds, " s"))]
    return {**first, "cells": cells, "reason": ""}


def _plain_note(evidence: Evidence, row: Summary) -> str:
    plain = evidence.plain(row.group)
    return "" if "+" not in row.method else f"plain: {plain.method}" if plain else "plain initialiser not run"


def _range(place: PlaceSummary) -> tuple[float, float]:
    ends = [value for row in place.scored for one in row.bits.values() for value in (one.low, one.high)]
    return min(ends), max(ends)


def _bits(row: Summary, stage: Stage, found: Interval | None, limits_of: tuple[float, float] | None) -> Shown:
    if found is None:
        return _absent(row.reasons.get(stage, "not scored"))
    bar = None
    if limits_of and limits_of[1] > limits_of[0]:
        low, high, at = (4 + 92 * (value - limits_of[0]) / (limits_of[1] - limits_of[0]) for value in (found.low, found.high, found.mean))
        bar = (low, high, at)
    note = f"{found.low:.2f}–{found.high:.2f}"
    return Shown(f"{found.mean:.3f}", f"{found.mean}", note, f"{found.mean:.6f} over {found.n} pages. {_origin(row, stage)}", bar)


def _versus(evidence: Evidence, row: Summary, name: str, one: Comparison | None) -> Shown:
    if row.method == name or row.is_control:
        return Shown("–", "", "", "the reference itself" if row.method == name else "see the row of that method")
    if one is None:
        return _absent(f"{name} has no score to compare with")
    difference, stage = one.difference, one.stage
    tone = {True: "good", False: "bad", None: ""}[one.better]
    tip = f"{difference.mean:+.4f} [{difference.low:+.4f}, {difference.high:+.4f}], p = {difference.p:.4f}, Holm {one.p_holm:.4f}, n = {difference.n}"
    return Shown(
        f"{difference.mean:+.3f}",
        f"{difference.mean}",
        "" if tone else "no claim",
        f"{tip}: {one.claim}. {_origin(row, stage)} minus {_of_scores(evidence.control(row.group, name), stage)}",
        None,
        tone,
    )


def _accuracy(row: Summary, task: str, chance: float) -> Shown:
    stage = row.group.final
    found = row.accuracy.get(stage, {}).get(task)
    if found is None:
        return _absent(row.reasons.get(stage, "not among the tasks of this cell"))
    tone = "good" if found.low > chance else "bad" if found.high < chance else ""
    words = {"good": "above chance", "bad": "below chance", "": "not distinguishable from chance"}[tone]
    tip = f"{found.mean:.4f} [{found.low:.4f}, {found.high:.4f}], n = {found.n}, chance {chance:.2f}: {words}. {_origin(row, stage)}"
    return Shown(f"{found.mean:.1%}", f"{found.mean}", "" if tone else "≈ chance", tip, None, tone)


def _plain(row: Summary, value: float | None, form: str) -> Shown:
    if value is None:
        return _absent("not measured")
    return Shown(
        form.format(value), f"{value}", "", f"{value:.6g}. {_origin(row, row.group.final if row.group.final in row.bits else 'init')}"
    )


def _cost(row: Summary, value: float | None, unit: str) -> Shown:
    if value is None:
        return _absent("not recorded by the training")
    cell = row.group.cells[0]
    origin = f"{cell.model_folder('trained')} · manifest {identity(cell.records('trained'))[:12]}"
    return Shown(f"{quantity(value)}{unit}", f"{value}", "", f"{value:.6g}{unit}. {origin}")


def _absent(reason: str) -> Shown:
    return Shown("n/a", "", reason if len(reason) < 40 else reason[:38] + "…", reason)


def _origin(row: Summary, stage: Stage) -> str:
    return _of_scores(row.group, stage)


def _of_scores(group: Group | None, stage: Stage) -> str:
    return "; ".join(f"{score.folder} · manifest {score.hash[:12]}" for score in (group.scores(stage) if group else ()))


# Heading, key in the tokenizer's metrics, form, explanation.
TOKENIZER_COLUMNS = (
    ("tokens/byte", "target/tokens_per_byte", "{:.3f}", "on held-out text of the language"),
    ("fertility", "target/fertility", "{:.2f}", "tokens per word"),
    ("continued words", "target/continued_words", "{:.0%}", "share of words that take more than one token"),
    ("premium", "parallel/premium", "{:.2f}", "tokens of the language per token of the same text in English"),
    ("English tokens/byte", "english/tokens_per_byte", "{:.3f}", "on held-out English text"),
    ("vocabulary used", "target/vocabulary_used", "{:.0%}", "share of the vocabulary that occurs in held-out text of the language"),
)


def _tokenizer_table(evidence: Evidence) -> list[tuple[list[str], list[Shown]]]:
    """(names, values) of every tokenizer whose artifact is here."""
    seen: dict[Path, RunCell] = {}
    for cell in evidence.cells.cells:
        seen.setdefault(cell.paths.tokenizer, cell)
    found = []
    for folder, cell in seen.items():
        facts = tokenizer_facts(cell)
        origin = f"{folder} · manifest {identity(folder)[:12]}"
        shown = [
            Shown(form.format(facts[key]), f"{facts[key]}", "", f"{facts[key]}. {origin}") if isinstance(facts.get(key), int | float) else _absent("not measured")
            for _, key, form, _ in TOKENIZER_COLUMNS
        ]  # fmt: skip
        if facts:
            names = [evidence.cells.name("languages", cell.language), evidence.cells.name("models", cell.model), cell.tokenizer]
            found.append((names, shown))
    return found


def _models(places: Sequence[PlaceSummary]) -> list[tuple[str, str, str]]:
    """(where, method, folder) of the adapted model with the fewest bits per byte in each place."""
    found = []
    for place in places:
        if best := place.best:
            found.append((f"{place.language}, {place.model}", best.label, str(best.group.cells[0].model_folder(place.final))))
    return found
