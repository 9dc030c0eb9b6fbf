"""report.html: one file that needs nothing else, with every number traceable to its artifact."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tokgraft import artifacts
from tokgraft.cells import RunCell, Stage, command, identities, identity, versions
from tokgraft.config.layout import CONTROL
from tokgraft.reporting import figures, origins, predictors, ranking, speeds
from tokgraft.reporting.evidence import Evidence, tokenizer_facts
from tokgraft.reporting.figures import Canvas, quantity
from tokgraft.reporting.findings import headline, limits, place_findings
from tokgraft.reporting.shown import Column, Shown, absent, accuracy, amount, bits, difference, number, of_model, of_scores, versus
from tokgraft.reporting.style import colour_variable, variables
from tokgraft.reporting.summary import PlaceSummary, Summary, Task, asked_on
from tokgraft.reporting.suspects import suspects
from tokgraft.reporting.verdict import verdict
from tokgraft.reporting.words import measured_on, stage_name
from tokgraft.scoring.statistics import FEWEST

HERE = Path(__file__).parent
DOCS = Path("docs/methods")  # of a checkout: a page for each method and refiner
VERSUS = (CONTROL, "random", "mean")


def render(
    evidence: Evidence, places: Sequence[PlaceSummary], ranked: Sequence[ranking.Ranking], correlated: Sequence[predictors.Correlation],
    on: Canvas, out: Path,
) -> str:  # fmt: skip
    """The page.

    Args:
        evidence, places, ranked, correlated: What it shows.
        on: Where figures are drawn.
        out: The folder in which the page will lie: links to the pages of methods start from there.
    """
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
        places=[_place(evidence, place, on, out) for place in places],
        tokenizers=figures.tokenizers(on, places),
        tokenizer_table=_tokenizer_table(evidence),
        predictors=predictors.figure(on, correlated) if correlated else "",
        predicted=predictors.words(correlated),
        limits=limits(evidence, places),
        models=_models(evidence, places),
        skipped=[(outcome.cell.key, outcome.stage, outcome.reason) for outcome in evidence.outcomes if outcome.score is None],
        sources=sources(evidence),
        fewest=FEWEST,
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
            if cell.paths.speed is not None and artifacts.is_artifact(cell.paths.speed):
                found[cell.paths.speed] = (hashes["speed"], cell.paths.speed)
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


def _place(evidence: Evidence, place: PlaceSummary, on: Canvas, out: Path) -> dict[str, Any]:
    drawn = [
        ("Where the rows of the new vocabulary come from", figures.sources(on, place)),
        ("Learning curves", figures.learning_curves(on, place)),
        ("English during training: what is forgotten", figures.learning_curves(on, place, english=True)),
        ("What training costs", figures.against_cost(on, place, "flops")),
        ("What using it costs", figures.against_cost(on, place, "tokens")),
        ("Choice tasks against chance", figures.tasks(on, place)),
    ]
    return {
        "slug": place.slug,
        "model": place.model,
        "language": place.language,
        "recipe": "zero-shot" if place.final == "init" else place.place[2],
        "legend": "Bits per byte, before and after training" if place.final == "trained" else "Bits per byte right after the transplant",
        "findings": place_findings(evidence, place),
        "why": origins.words(place.rows),
        "main": figures.before_and_after(on, place) if place.scored else "",
        "figures": [(title, svg) for title, svg in drawn if svg],
        "tables": [
            ("Scores", *_table(evidence, place, on, out, _score_columns(evidence, place))),
            ("Where the rows come from, and what it costs", *_table(evidence, place, on, out, _cost_columns(place))),
        ],
    }


def _table(
    evidence: Evidence, place: PlaceSummary, on: Canvas, out: Path, columns: Sequence[Column]
) -> tuple[Sequence[Column], list[dict[str, Any]]]:
    rows = []
    for row in place.rows:
        reason = "; ".join(sorted(set(row.reasons.values()))) or "no score"
        rows.append({
            "label": row.label, "parts": _parts(row, out), "colour": colour_variable(on.of(row)[0]), "plain": _plain_note(evidence, row),
            "reason": "" if row.bits else reason, "cells": [column.entry(row) for column in columns] if row.bits else [],
        })  # fmt: skip
    return columns, rows


def _parts(row: Summary, out: Path) -> list[tuple[str, str]]:
    """(text, link) of each part of a label: the parts of a chain lead to their pages, where these are at hand."""
    parts = []
    for index, name in enumerate(row.method.split("+")):
        page = DOCS / f"{name}.md"
        inside = Path(os.path.abspath(out)).is_relative_to(Path.cwd())  # a page elsewhere would carry a path of this machine
        link = os.path.relpath(page, out) if inside and page.is_file() else ""
        parts.append((f"+{name}" if index else name, link))
    return [*parts, (row.label.removeprefix(row.method), "")]


RANKING_COLUMNS = (
    ("method", "initialiser, and what was done after it"),
    ("", "rank by bits per byte"),
    ("tokenizer", "whose vocabulary the model has"),
    ("bits/byte", "bits per byte of held-out text, with the 95% interval over pages"),
    ("behind the first", "paired difference to the first; coloured only where the interval excludes 0"),
    ("vs original", "paired difference to the best model that keeps the original tokenizer"),
    ("seconds", "to make the rows, write the model and train it, on the machine that did it"),
    ("for resources", "seconds to make what the method requires; methods may share it"),
    ("FLOPs", "of forward passes, refiners and training"),
)


def _ranking(evidence: Evidence, one: ranking.Ranking, on: Canvas) -> dict[str, Any]:
    return {
        "slug": one.slug,
        "model": evidence.cells.name("models", one.model) + (f", {one.task}" if one.one_of_several else ""),
        "language": evidence.cells.name("languages", one.language),
        "figure": ranking.figure(on, one),
        "rows": [(entry.name, [Shown(f"{rank}", f"{rank}"), *_ranked(entry)]) for rank, entry in enumerate(one.entries, 1)],
    }


def _ranked(entry: ranking.Entry) -> list[Shown]:
    cost, training = entry.transplant, entry.training
    seconds, flops = _total(cost.seconds, training.seconds), _total(cost.flops, training.flops)
    found, origin = entry.bits, of_scores(entry.group, entry.stage)
    return [
        Shown(entry.group.tokenizer, entry.group.tokenizer),
        Shown(
            f"{found.mean:.3f}", f"{found.mean}", f"{found.low:.2f}–{found.high:.2f}", f"{found.mean:.6f} on {measured_on(found)}. {origin}"
        ),
        *(difference(one, origin) for one in (entry.behind, entry.original)),
        *(
            Shown(quantity(value), f"{value}", "", f"{value:.6g}. {origin}") if value is not None else absent("not recorded")
            for value in (seconds, cost.resource_seconds, flops)
        ),
    ]


def _total(*parts: float | None) -> float | None:
    known = [part for part in parts if part is not None]
    return sum(known) if len(known) == len(parts) else None


def _score_columns(evidence: Evidence, place: PlaceSummary) -> list[Column]:
    limits_of = _range(place) if place.scored else None

    def scored(stage: Stage) -> Column:
        help = f"bits per byte of held-out text {stage_name(stage)}, with the 95% interval over pages"
        return Column(f"bits/byte, {stage}", help, lambda row: bits(row, stage, row.bits.get(stage), limits_of))

    def against(name: str) -> Column:
        help = f"bits per byte {stage_name(place.final)} minus {name}, paired; coloured only where a claim is made"
        return Column(f"vs {name}", help, lambda row: versus(evidence, row, name, place.against(row, name, place.final)))

    def english(stage: Stage) -> Column:
        help = f"bits per byte of held-out English pages {stage_name(stage)}: what is forgotten"
        return Column(f"English, {stage}", help, lambda row: bits(row, stage, row.english.get(stage)))

    def choice(task: Task) -> Column:
        return Column(task.slug, _task_help(task, place.final), lambda row: accuracy(row, task.slug, task.chance))

    return [
        *[scored(stage) for stage in place.stages],
        *[against(name) for name in VERSUS if any(row.method == name for row in place.rows)],
        *[english(stage) for stage in place.stages],
        *[choice(task) for task in place.tasks],
    ]


def _cost_columns(place: PlaceSummary) -> list[Column]:
    def share(name: str, help: str) -> Column:
        return Column(name, f"share of the rows of the new vocabulary that are {help}", lambda row: _share(row, name))

    def fact(name: str, key: str, form: str, help: str) -> Column:
        return Column(name, help, lambda row: number(row.facts.get(key), form, of_scores(row.group, _last(row))))

    def total(name: str, key: str, unit: str, help: str) -> Column:
        return Column(name, help, lambda row: amount(getattr(row.cost, key), unit, of_model(row, "trained")))

    trained = [
        total("training text", "bytes", "", "bytes read by continual training"),
        total("training FLOPs", "flops", "", "estimated floating-point operations of continual training"),
        total("training time", "seconds", " s", "seconds on the machine that trained; varies from run to run"),
    ]
    return [
        share("copied", "copied from the base model, special tokens included"),
        share("made", "made by the method from other rows (combined, mapped, trained)"),
        share("fallback", "the mean of the base's rows, for want of anything better"),
        share("random", "sampled at random"),
        fact("uniform baseline", "flat_guess", "{:.2f}", f"bits per byte of a model that finds {figures.BASELINE_WORDS}"),
        fact("tokens/byte", "tokens_per_byte", "{:.3f}", "tokens per byte of held-out text"),
        fact("vocabulary", "tokens", "{:,.0f}", "number of tokens"),
        Column("generates", speeds.HELP, lambda row: speeds.shown(place, row)),
        *(trained if place.final == "trained" else []),
    ]


def _share(row: Summary, name: str) -> Shown:
    found = origins.of_group(row.group)
    if found is None:
        return absent("no record of the transplant")
    kinds = ", ".join(f"{kind} {found.share(kind):.0%}" for kind in found.made) if name == "made" else ""
    return number(found.shares[name], "{:.1%}", of_model(row, "init"), kinds)


def _last(row: Summary) -> Stage:
    return row.group.final if row.group.final in row.bits else "init"


def _task_help(task: Task, stage: Stage) -> str:
    rules = ", ".join(f"{name.replace('_', ' ')} {value:.0%}" for name, value in sorted(task.baselines.items()))
    return f"accuracy {stage_name(stage)}; chance {task.chance:.0%}, {asked_on([task])}" + (
        f"; rules that ask no model: {rules}" if rules else ""
    )


def _plain_note(evidence: Evidence, row: Summary) -> str:
    plain = evidence.plain(row.group)
    return "" if "+" not in row.method else f"plain: {plain.method}" if plain else "plain initialiser not run"


def _range(place: PlaceSummary) -> tuple[float, float]:
    ends = [value for row in place.scored for one in row.bits.values() for value in (one.low, one.high)]
    return min(ends), max(ends)


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
            Shown(form.format(facts[key]), f"{facts[key]}", "", f"{facts[key]}. {origin}") if isinstance(facts.get(key), int | float) else absent("not measured")
            for _, key, form, _ in TOKENIZER_COLUMNS
        ]  # fmt: skip
        if facts:
            names = [evidence.cells.name("languages", cell.language), evidence.cells.name("models", cell.model), cell.tokenizer]
            found.append((names, shown))
    return found


def _models(evidence: Evidence, places: Sequence[PlaceSummary]) -> list[tuple[str, str, str]]:
    """(where, why, folder) of the model to load in each place: what the verdict offers."""
    found = [(place.where, verdict(evidence, place)) for place in places]
    return [(where, advice.sentence, advice.folder) for where, advice in found]
