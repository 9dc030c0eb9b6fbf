"""Which numbers of a tokenizer, measured without a model, go along with bits per byte after the transplant.

Rank correlations over the tokenizers of a setting (model, language, method, recipe), averaged over settings. What is resampled for the
interval are the tokenizer recipes, all settings with the same ones: languages and methods share recipes, so they are no independent evidence.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tokgraft.cells import flatten, read_facts, stale
from tokgraft.frame import Frame
from tokgraft.reporting.figures import WIDTH, Canvas
from tokgraft.reporting.ranking import Ranked, Ranking
from tokgraft.reporting.style import INK, MUTED, PAPER, SERIES, axes, save
from tokgraft.reporting.tables import CsvTable, Value, sources_of

Floats = npt.NDArray[np.float64]

FEWEST = 5  # tokenizers of a setting, below which no rank correlation is computed
ENOUGH = 10  # tokenizers below which nothing is claimed of one
DRAWS = 2000
POOLED = "all"

# Name -> place in evaluation.json.
METRICS = {
    "vocabulary size": "tokenizer/size",
    "tokens per byte": "target/tokens_per_byte/value",
    "fertility": "target/fertility/value",
    "fertility of isolated words": "target/fertility_isolated",
    "continued words": "target/continued_words/value",
    "frequent words in one token": "target/retention/after_space_weighted",
    "premium over English": "parallel/help/premium/value",
    "Rényi efficiency": "target/distribution/renyi_efficiency/value",
    "Shannon efficiency": "target/distribution/shannon_efficiency/value",
    "unigram model, bits per byte": "target/unigram/value",
    "vocabulary in use": "target/use/used_share",
    "tokens that are single bytes": "target/use/single_bytes/value",
    "tokens of the base": "overlap/share_of_ours",
    "text in tokens of the base": "overlap/share_of_text",
    "splits shared with the base": "agreement/all/f1",
    "splits between morphemes (F1)": "lexicon/morphology_in_text/f1",
}
FLAT = "uniform baseline, bits per byte"


@dataclass(frozen=True)
class Correlation:
    """A mean rank correlation with bits per byte.

    Attributes:
        metric: Name of the metric.
        mean: Spearman's rho, averaged over settings; above 0: more bits where the metric is larger.
        low, high: Percentile interval over resampled tokenizer recipes.
        settings: Setting -> its own rho.
        tokenizers: Number of recipes.
    """

    metric: str
    mean: float
    low: float
    high: float
    settings: Mapping[tuple[str, ...], float]
    tokenizers: int

    @property
    def claimed(self) -> bool:
        """Whether a correlation may be claimed: enough tokenizers, and the interval excludes 0."""
        return self.tokenizers >= ENOUGH and (self.low > 0 or self.high < 0)


@dataclass(frozen=True)
class Setting:
    """Scores of one model, language, method and recipe on several tokenizers.

    Attributes:
        key: (model, language, method, recipe, stage, bits-per-byte task).
        entries: Tokenizer -> what was scored.
        metrics: Tokenizer -> metric -> value.
    """

    key: tuple[str, ...]
    entries: Mapping[str, Ranked]
    metrics: Mapping[str, Mapping[str, float]]


def settings(frame: Frame, ranked: Iterable[Ranking]) -> list[Setting]:
    """The settings in which at least `FEWEST` evaluated tokenizers were scored."""
    found = []
    for ranking in ranked:
        groups: dict[tuple[str, ...], dict[str, Ranked]] = {}
        for entry in ranking.entries:
            one = entry.combination
            if not one.keeps_tokenizer:
                recipe = one.recipe if entry.stage == "trained" else "init"
                key = (ranking.model, ranking.language, one.method, recipe, entry.stage, ranking.task)
                groups.setdefault(key, {})[one.tokenizer] = entry
        measured = {entry.combination.tokenizer: values for entry in ranking.entries if (values := _evaluated(frame, entry))}
        for name_of, entries in groups.items():
            kept = {name: entry for name, entry in sorted(entries.items()) if name in measured}
            if len(kept) >= FEWEST:
                found.append(Setting(name_of, kept, measured))
    return found


def _evaluated(frame: Frame, entry: Ranked) -> dict[str, float]:
    """The metrics of a tokenizer's evaluation; none where there is no evaluation of it."""
    cell = frame.combinations[entry.combination][0]
    folder = cell.paths.evaluation
    return metrics_of(folder) if folder is not None and not stale(cell, "evaluation") else {}


def metrics_of(folder: Path) -> dict[str, float]:
    """The metrics that an evaluation holds; none when it is not here.

    Raises:
        ArtifactError: It was altered.
    """
    facts = flatten(read_facts(folder, "evaluation.json", "evaluation"))
    found = {name: float(facts[key]) for name, key in METRICS.items() if isinstance(facts.get(key), int | float)}
    if "tokens per byte" in found:
        found[FLAT] = math.log2(found["vocabulary size"]) * found["tokens per byte"]
    return found


def correlations(found: Sequence[Setting], draws: int = DRAWS, seed: int = 0) -> list[Correlation]:
    """One entry for each metric that differs between tokenizers, the strongest first.

    Args:
        found: The settings.
        draws: Bootstrap draws of tokenizer recipes.
        seed: Seed of the draws; all metrics see the same ones.
    """
    recipes = sorted({name for setting in found for name in setting.entries})
    rng = np.random.default_rng(seed)
    counts = rng.multinomial(len(recipes), np.full(len(recipes), 1 / len(recipes)), size=draws) if recipes else np.zeros((draws, 0))
    averaged = []
    for metric in (*METRICS, FLAT):
        own, samples = {}, []
        for setting in found:
            names = [name for name in setting.entries if metric in setting.metrics[name]]
            x = np.array([setting.metrics[name][metric] for name in names])
            y = np.array([setting.entries[name].bits.mean for name in names])
            if len(names) < FEWEST or math.isnan(rho := spearman(x, y, np.ones((1, len(names))))[0]):
                continue
            own[setting.key] = float(rho)
            samples.append(spearman(x, y, counts[:, [recipes.index(name) for name in names]]))
        if own:
            drawn = np.stack(samples)
            drawn = drawn[:, ~np.isnan(drawn).any(axis=0)]  # without draws that leave a setting one value
            low, high = np.quantile(drawn.mean(axis=0), (0.025, 0.975))
            number = len({name for setting in found if setting.key in own for name in setting.entries})
            averaged.append(Correlation(metric, float(np.mean(list(own.values()))), float(low), float(high), own, number))
    return sorted(averaged, key=lambda one: (-abs(one.mean), one.metric))


def spearman(x: Floats, y: Floats, counts: npt.NDArray[Any]) -> Floats:
    """Spearman's rho of samples in which item i stands `counts[:, i]` times; equal values share their mean rank.

    Args:
        x, y: (n,).
        counts: (samples, n).

    Returns:
        (samples,); NaN where one side has a single value.
    """
    left, right = (counts @ ((side[:, None] < side) + 0.5 * (side[:, None] == side)) for side in (x, y))
    left, right = (ranks - (counts * ranks).sum(axis=1, keepdims=True) / counts.sum(axis=1, keepdims=True) for ranks in (left, right))
    norm = np.sqrt((counts * left**2).sum(axis=1) * (counts * right**2).sum(axis=1))
    found: Floats = np.full(len(counts), np.nan)
    np.divide((counts * left * right).sum(axis=1), norm, out=found, where=norm > 1e-9)
    return found


def table(frame: Frame, found: Sequence[Correlation], based_on: Sequence[Setting]) -> CsvTable:
    """One row for each metric over all settings, and one for each setting."""
    names = ("model", "language", "method", "recipe", "stage", "task")
    csv_table = CsvTable("predictors", ("metric", *names))
    where = {
        setting.key: tuple(sources_of(frame, entry.combination, entry.stage)[0] for entry in setting.entries.values())
        for setting in based_on
    }
    reason = "the interval is over all settings"
    for one in found:
        sources = tuple(dict.fromkeys(folder for key in one.settings for folder in where[key]))
        pooled: dict[str, float | None] = {"correlation": one.mean, "low": one.low, "high": one.high, "tokenizers": one.tokenizers}
        rows = [(dict.fromkeys(names, POOLED), pooled, sources)]
        for key, rho in one.settings.items():
            own: dict[str, float | None] = {"correlation": rho, "low": None, "high": None, "tokenizers": len(where[key])}
            rows.append((dict(zip(names, key, strict=True)), own, where[key]))
        for labels, numbers, folders in rows:
            values = {name: Value(number, reason, () if number is None else folders) for name, number in numbers.items()}
            csv_table.rows.append({"metric": one.metric, **labels, **values})
    return csv_table


def words(found: Sequence[Correlation]) -> str:
    """What the correlations say, in a sentence."""
    if not found:
        return ""
    first, sure = found[0], [one for one in found if one.claimed]
    over = f"over {first.tokenizers} tokenizers and {len(first.settings)} settings"
    if first.tokenizers < ENOUGH:
        return f"Nothing is claimed {over}: that takes {ENOUGH} tokenizers."
    if not sure:
        return f"No metric of the tokenizer goes along with bits per byte beyond doubt {over}."
    best = sure[0]
    direction = "more" if best.mean > 0 else "fewer"
    return (
        f"Of {len(found)} metrics of the tokenizer, {best.metric} has the strongest correlation with bits per byte {over}: "
        f"{direction} bits where it is larger, rank correlation {best.mean:+.2f} [{best.low:+.2f}, {best.high:+.2f}]. "
        f"For {len(sure)} of them the interval excludes 0, not corrected for their number."
    )


def figure(on: Canvas, found: Sequence[Correlation]) -> str:
    """A line for each metric: the mean rank correlation with its interval, and a small mark for each setting."""
    drawn, ax = axes(1.25 * WIDTH, 1.0 + 0.27 * len(found))
    tips: dict[str, str] = {}
    for y, one in enumerate(reversed(found)):
        colour = SERIES[0][0] if one.claimed else MUTED
        ax.plot([one.low, one.high], [y, y], color=colour, lw=2.4, alpha=0.35, solid_capstyle="butt", zorder=2)
        ax.plot(list(one.settings.values()), [y] * len(one.settings), "|", ms=6, color=colour, alpha=0.5, zorder=2)
        gid = f"metric{y}"
        ax.plot([one.mean], [y], "o", ms=6, mfc=colour, mec=PAPER, mew=0.8, zorder=3, ls="none", gid=gid)
        tips[gid] = f"{one.metric}: {one.mean:+.2f} [{one.low:+.2f}, {one.high:+.2f}], {len(one.settings)} settings"
    ax.axvline(0, color=INK, lw=1, ls=(0, (4, 3)), zorder=1)
    ax.set_xlim(-1.03, 1.03)
    ax.set_yticks(range(len(found)), [one.metric for one in reversed(found)])
    ax.set_ylim(-0.7, len(found) - 0.3)
    ax.set_xlabel("rank correlation with bits per byte   ← fewer bits · more bits →")
    return save(drawn, on.folder, "predictors", tips, "Rank correlation of tokenizer metrics with bits per byte")
