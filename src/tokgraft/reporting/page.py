"""report.html: one file that needs nothing else, with every number traceable to its artifact."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tokgraft import artifacts
from tokgraft.cells import Combination, RunCell, Stage, command, identities, identity, versions, walk
from tokgraft.config.layout import CONTROL
from tokgraft.frame import Frame
from tokgraft.reporting import figures, origins, predictors, ranking, speeds
from tokgraft.reporting.entries import Column, Entry, absent, accuracy, amount, bits, difference, number, of_model, of_scores, versus
from tokgraft.reporting.figures import Canvas
from tokgraft.reporting.findings import headline, limits, section_findings
from tokgraft.reporting.sections import Section, asked_on
from tokgraft.reporting.style import colour_variable, variables
from tokgraft.reporting.suspects import suspects
from tokgraft.reporting.tables import tokenizer_facts
from tokgraft.reporting.verdict import verdict
from tokgraft.reporting.words import stage_name
from tokgraft.score_rows import Row
from tokgraft.scoring.statistics import FEWEST

HERE = Path(__file__).parent
DOCS = Path("docs/methods")  # of a checkout: a page for each method and refiner
VERSUS = (CONTROL, "random", "mean")


def render(
    frame: Frame, sections: Sequence[Section], ranked: Sequence[ranking.Ranking], correlated: Sequence[predictors.Correlation],
    on: Canvas, out: Path,
) -> str:  # fmt: skip
    """The page.

    Args:
        frame, sections, ranked, correlated: What it shows.
        on: Where figures are drawn.
        out: The folder in which the page will lie: links to the pages of methods start from there.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    cells = frame.cells
    advice = [(section.where, verdict(section)) for section in sections]
    return environment.get_template("page.html").render(
        title=cells.experiment,
        description=cells.description,
        counts=_counts(frame),
        headline=[*headline(sections), *suspects(frame)],
        rankings=[_ranking(frame, one, on) for one in ranked if one.pooled],
        ranking_columns=RANKING_COLUMNS,
        sections=[_section(section, on, out) for section in sections],
        tokenizers=figures.tokenizers(on, sections),
        tokenizer_table=_tokenizer_table(frame),
        predictors=predictors.figure(on, correlated) if correlated else "",
        predicted=predictors.words(correlated),
        limits=limits(frame, sections),
        models=[(where, one.sentence, one.folder) for where, one in advice],
        skipped=[(cell.key, stage, frame.reasons[cell.key, stage]) for cell, stage in walk(cells) if (cell.key, stage) in frame.reasons],
        sources=sources(frame),
        fewest=FEWEST,
        tokenizer_columns=[(name, help) for name, _, _, help in TOKENIZER_COLUMNS],
        light=variables(False),
        dark=variables(True),
    )


def sources(frame: Frame) -> list[dict[str, Any]]:
    """Every artifact that numbers come from: folder, manifest hash, versions it was made with, Python and command of the run here."""
    found: dict[Path, tuple[str, Path]] = {}  # folder -> hash, and where its records lie
    for cell, stage in walk(frame.cells):
        if (score := frame.scores.get((cell.key, stage))) is not None:
            hashes = identities(cell)
            for role in ("tokenizer", "corpus", "english", "base"):
                folder = getattr(cell.paths, role)
                found[folder] = (hashes[role], folder)
            if cell.paths.speed is not None and artifacts.is_artifact(cell.paths.speed):
                found[cell.paths.speed] = (hashes["speed"], cell.paths.speed)
            found[score.folder] = (score.hash, score.folder)
            found[cell.model_folder(stage)] = (hashes[stage], cell.records(stage))
    return [
        {"folder": str(folder), "manifest": manifest, "command": command(records), **_versions(records)}
        for folder, (manifest, records) in sorted(found.items())
    ]


def _versions(records: Path) -> dict[str, Any]:
    found = versions(records)
    return {"python": found.pop("python", ""), "versions": found}


def _counts(frame: Frame) -> list[tuple[str, str]]:
    cells = [cell for cell in frame.cells.cells if cell.reason is None]

    def plural(count: int, word: str) -> tuple[str, str]:
        return str(count), word if count == 1 else f"{word}s"

    return [
        plural(len({cell.model for cell in cells}), "base model"), plural(len({cell.language for cell in cells}), "language"),
        plural(len({cell.method for cell in cells}), "method"), plural(len({cell.seed for cell in cells}), "seed"), plural(len(cells), "cell"),
    ]  # fmt: skip


def _section(section: Section, on: Canvas, out: Path) -> dict[str, Any]:
    drawn = [
        ("Where the rows of the new vocabulary come from", figures.sources(on, section)),
        ("Learning curves", figures.learning_curves(on, section)),
        ("English during training: what is forgotten", figures.learning_curves(on, section, english=True)),
        ("What training costs", figures.against_cost(on, section, "flops")),
        ("What using it costs", figures.against_cost(on, section, "tokens")),
        ("Choice tasks against chance", figures.tasks(on, section)),
    ]
    return {
        "slug": section.slug,
        "model": section.model,
        "language": section.language,
        "recipe": "zero-shot" if section.final == "init" else section.group[2],
        "legend": "Bits per byte, before and after training" if section.final == "trained" else "Bits per byte right after the transplant",
        "findings": section_findings(section),
        "why": origins.words(section),
        "main": figures.before_and_after(on, section) if section.scored else "",
        "figures": [(title, svg) for title, svg in drawn if svg],
        "tables": [
            ("Scores", *_table(section, on, out, _score_columns(section))),
            ("Where the rows come from, and what it costs", *_table(section, on, out, _cost_columns(section))),
        ],
    }


def _table(section: Section, on: Canvas, out: Path, columns: Sequence[Column]) -> tuple[Sequence[Column], list[dict[str, Any]]]:
    rows = []
    for row in section.rows:
        reason, scored = "; ".join(sorted(set(section.frame.unscored(row).values()))) or "no score", section.intervals(row)
        rows.append({
            "label": section.label(row), "parts": _parts(row.method, section.label(row), out), "plain": _plain_note(section.frame, row),
            "colour": colour_variable(on.of(section, row)[0]), "reason": "" if scored else reason,
            "cells": [column.entry(row) for column in columns] if scored else [],
        })  # fmt: skip
    return columns, rows


def _parts(method: str, label: str, out: Path) -> list[tuple[str, str]]:
    """(text, link) of each part of a label: the parts of a chain lead to their pages, where these are at hand."""
    parts = []
    for index, name in enumerate(method.split("+")):
        page = DOCS / f"{name}.md"
        inside = Path(os.path.abspath(out)).is_relative_to(Path.cwd())  # a page elsewhere would carry a path of this machine
        link = os.path.relpath(page, out) if inside and page.is_file() else ""
        parts.append((f"+{name}" if index else name, link))
    return [*parts, (label.removeprefix(method), "")]


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


def _ranking(frame: Frame, one: ranking.Ranking, on: Canvas) -> dict[str, Any]:
    return {
        "slug": one.slug,
        "model": frame.cells.name("models", one.model) + (f", {one.task}" if one.one_of_several else ""),
        "language": frame.cells.name("languages", one.language),
        "figure": ranking.figure(on, one),
        "rows": [(entry.name, [Entry(f"{rank}", f"{rank}"), *_ranked(frame, entry)]) for rank, entry in enumerate(one.entries, 1)],
    }


def _ranked(frame: Frame, entry: ranking.Ranked) -> list[Entry]:
    origin = of_scores(frame, entry.combination, entry.stage)
    seconds, flops = (
        _total(*(entry.cost(frame, f"{part}_{what}") for part in ("transplant", "training"))) for what in ("seconds", "flops")
    )
    return [
        Entry(entry.combination.tokenizer, entry.combination.tokenizer),
        bits(entry.bits, origin),
        *(difference(one, origin) for one in (entry.behind, entry.original)),
        *(amount(value, "", origin) for value in (seconds, entry.cost(frame, "resource_seconds"), flops)),
    ]


def _total(*parts: float | None) -> float | None:
    known = [part for part in parts if part is not None]
    return sum(known) if len(known) == len(parts) else None


def _score_columns(section: Section) -> list[Column]:
    frame, ends = section.frame, [end for row in section.scored for one in section.intervals(row).values() for end in (one.low, one.high)]
    reach = (min(ends), max(ends)) if ends else None

    def origin(row: Combination, stage: Stage, why: str = "not scored") -> tuple[str, str]:
        return of_scores(frame, row, stage), frame.unscored(row).get(stage, why)

    def scored(stage: Stage) -> Column:
        help = f"bits per byte of held-out text {stage_name(stage)}, with the 95% interval over pages"
        return Column(f"bits/byte, {stage}", help, lambda row: bits(section.bits(row, stage), *origin(row, stage), reach))

    def against(name: str) -> Column:
        help = f"bits per byte {stage_name(section.final)} minus {name}, paired; coloured only where a claim is made"
        return Column(f"vs {name}", help, lambda row: versus(section, row, name))

    def english(stage: Stage) -> Column:
        help = f"bits per byte of held-out English pages {stage_name(stage)}: what is forgotten"
        return Column(f"English, {stage}", help, lambda row: bits(section.english(row, stage), *origin(row, stage)))

    def choice(task: Row) -> Column:
        def entry(row: Combination) -> Entry:
            found = section.accuracies(row, section.final).get(task.task)
            return accuracy(found, task.chance or 0.0, *origin(row, section.final, "not among the tasks of this cell"))

        return Column(task.task, _task_help(task, section.final), entry)

    return [
        *[scored(stage) for stage in section.stages],
        *[against(name) for name in VERSUS if any(row.method == name for row in section.rows)],
        *[english(stage) for stage in section.stages],
        *[choice(task) for task in section.tasks],
    ]


def _cost_columns(section: Section) -> list[Column]:
    frame = section.frame

    def share(name: str, help: str) -> Column:
        return Column(name, f"share of the rows of the new vocabulary that are {help}", lambda row: _share(frame, row, name))

    def fact(name: str, metric: str, form: str, help: str) -> Column:
        def entry(row: Combination) -> Entry:
            stage: Stage = "init" if section.bits(row, section.final) is None else section.final
            return number(section.fact(row, metric), form, of_scores(frame, row, stage))

        return Column(name, help, entry)

    def total(name: str, metric: str, unit: str, help: str) -> Column:
        return Column(name, help, lambda row: amount(section.cost(row, metric), unit, of_model(frame, row, "trained")))

    trained = [
        total("training text", "training_bytes", "", "bytes read by continual training"),
        total("training FLOPs", "training_flops", "", "estimated floating-point operations of continual training"),
        total("training time", "training_seconds", " s", "seconds on the machine that trained; varies from run to run"),
    ]
    return [
        share("copied", "copied from the base model, special tokens included"),
        share("made", "made by the method from other rows (combined, mapped, trained)"),
        share("fallback", "the mean of the base's rows, for want of anything better"),
        share("random", "sampled at random"),
        fact("uniform baseline", "uniform_baseline", "{:.2f}", f"bits per byte of a model that finds {figures.BASELINE_WORDS}"),
        fact("tokens/byte", "tokens_per_byte", "{:.3f}", "tokens per byte of held-out text"),
        fact("vocabulary", "vocabulary", "{:,.0f}", "number of tokens"),
        Column("generates", speeds.HELP, lambda row: speeds.entry(section, row)),
        *(trained if section.final == "trained" else []),
    ]


def _share(frame: Frame, row: Combination, name: str) -> Entry:
    found = origins.origins(frame, row)
    if found is None:
        return absent("no record of the transplant")
    kinds = ", ".join(f"{kind} {found.share(kind):.0%}" for kind in found.made) if name == "made" else ""
    shown = number(found.shares[name], "{:.1%}", of_model(frame, row, "init"))
    return replace(shown, note=kinds)


def _task_help(task: Row, stage: Stage) -> str:
    rules = ", ".join(f"{name.replace('_', ' ')} {value:.0%}" for name, value in sorted(task.baselines.items()))
    return f"accuracy {stage_name(stage)}; chance {task.chance:.0%}, {asked_on([task])}" + (
        f"; rules that ask no model: {rules}" if rules else ""
    )


def _plain_note(frame: Frame, row: Combination) -> str:
    plain = frame.plain(row)
    return "" if "+" not in row.method else f"plain: {plain.method}" if plain else "plain initialiser not run"


# Heading, key in the tokenizer's metrics, form, explanation.
TOKENIZER_COLUMNS = (
    ("tokens/byte", "target/tokens_per_byte", "{:.3f}", "on held-out text of the language"),
    ("fertility", "target/fertility", "{:.2f}", "tokens per word"),
    ("continued words", "target/continued_words", "{:.0%}", "share of words that take more than one token"),
    ("premium", "parallel/premium", "{:.2f}", "tokens of the language per token of the same text in English"),
    ("English tokens/byte", "english/tokens_per_byte", "{:.3f}", "on held-out English text"),
    ("vocabulary used", "target/vocabulary_used", "{:.0%}", "share of the vocabulary that occurs in held-out text of the language"),
)


def _tokenizer_table(frame: Frame) -> list[tuple[list[str], list[Entry]]]:
    """(names, values) of every tokenizer whose artifact is here."""
    seen: dict[Path, RunCell] = {}
    for cell in frame.cells.cells:
        seen.setdefault(cell.paths.tokenizer, cell)
    found = []
    for folder, cell in seen.items():
        if facts := tokenizer_facts(cell):
            origin = f"{folder} · manifest {identity(folder)[:12]}"
            values = [(facts.get(key), form) for _, key, form, _ in TOKENIZER_COLUMNS]
            entries = [
                Entry(form.format(value), f"{value}", "", f"{value}. {origin}")
                if isinstance(value, int | float)
                else absent("not measured")
                for value, form in values
            ]
            found.append(([frame.cells.name("languages", cell.language), frame.cells.name("models", cell.model), cell.tokenizer], entries))
    return found
