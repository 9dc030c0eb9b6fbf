"""Adapted models in the MLflow model registry: a registered model for each language of an experiment, a version for each trained cell.

A version points to the small files of the cell's run (its card, manifest, totals of the training); the weights stay where the artifacts
are, and the tags say which folder and manifest that is. A model that is there already gets no second version.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from tokgraft import artifacts
from tokgraft.cells import CellList, RunCell, identity
from tokgraft.config.layout import CONTROL
from tokgraft.intervals import FEWEST
from tokgraft.score_rows import Row, bits_row, read_rows
from tokgraft.tracking.card import card
from tokgraft.tracking.mlflow_store import LIVE, Store, Version

Which = Literal["best", "all"]
BEST = "best"
TEXT_LENGTH = 5000  # of a description, as MLflow's tables hold it


@dataclass
class RegisteredModel:
    """A registered model.

    Attributes:
        versions: Cell -> number of its version.
        added: Cells whose version is new.
        aliases: Alias -> number.
    """

    versions: dict[str, str] = field(default_factory=dict)
    added: list[str] = field(default_factory=list)
    aliases: dict[str, str] = field(default_factory=dict)


def name_of(experiment: str, language: str) -> str:
    """Name of a registered model: `demo-deu_Latn`."""
    return f"{experiment}-{language}"


def demand_whole_models(cells: CellList, which: Which) -> None:
    """Hash the models that would be registered, those that are here; to be called before anything is written.

    Args:
        cells: The cells whose scores are here.
        which: As for `register`.

    Raises:
        ArtifactError: A file of one is missing, altered or not listed.
    """
    for ranking in _rankings(cells.cells).values():
        for cell in _chosen(ranking, which):
            artifacts.demand_whole(cell.model_folder(cell.final), f"model to be registered for {cell.key}")


def _rankings(cells: Iterable[RunCell]) -> dict[str, list[RunCell]]:
    """Language -> its cells without the control, which has no new vocabulary; the fewest bits per byte first."""
    found: dict[str, list[RunCell]] = {}
    for cell in cells:
        if cell.method != CONTROL:
            found.setdefault(cell.language, []).append(cell)
    return {language: sorted(one, key=lambda cell: (_bits(cell), cell.key)) for language, one in found.items()}


def _firsts(ranking: list[RunCell]) -> dict[str, RunCell]:
    """Base model -> its best cell."""
    return {model: next(cell for cell in ranking if cell.model == model) for model in dict.fromkeys(cell.model for cell in ranking)}


def _chosen(ranking: list[RunCell], which: Which) -> list[RunCell]:
    return ranking if which == "all" else list(_firsts(ranking).values())


def register(store: Store, cells: CellList, runs: Mapping[str, str], which: Which) -> dict[str, RegisteredModel]:
    """Register trained models.

    Args:
        store: The experiment.
        cells: Its cells.
        runs: Cell -> its live run; cells without one are left out, and so is the control, which has no new vocabulary.
        which: The best cell of each base model and language, or all cells.

    Returns:
        Name of the registered model -> what it holds.
    """
    found: dict[str, RegisteredModel] = {}
    for language, ranking in _rankings(cell for cell in cells.cells if cell.key in runs).items():
        firsts = _firsts(ranking)
        name = name_of(cells.experiment, language)
        held = RegisteredModel()
        versions = store.versions(name)
        for cell in _chosen(ranking, which):
            held.versions[cell.key] = _version(store, cells, cell, runs[cell.key], name, versions, held)
        store.describe_model(
            name,
            f"{cells.name('languages', language)}: models of the experiment {cells.experiment}, adapted to a vocabulary of their own."
            f" `{BEST}-<model>` has the fewest bits per byte of a base model's, `{BEST}` of all where they were scored on one task;"
            f" there is no such name where fewer than {FEWEST} pages were scored. That is no claim: whether a difference is more than chance, and where the original model is better, stands in the report.",
            {"experiment": cells.experiment, "language": language},
        )
        scored = {model: _bits_row(cell) for model, cell in firsts.items()}
        named = {model: cell for model, cell in firsts.items() if (row := scored[model]) and (row.pages or 0) >= FEWEST}
        held.aliases = {f"{BEST}-{model}": held.versions[cell.key] for model, cell in named.items()}  # on fewer pages nothing is the best
        if (
            named == firsts and len({row and row.task for row in scored.values()}) == 1
        ):  # bits per byte of different texts cannot be compared
            held.aliases[BEST] = held.versions[ranking[0].key]
        for alias, number in held.aliases.items():
            store.point(name, alias, number)
        for alias in {BEST, *(f"{BEST}-{model}" for model in firsts)} - held.aliases.keys():
            store.unpoint(name, alias)
        for version in versions:
            if version.live and version.number not in held.versions.values() and _is_stale(version, ranking):
                store.mark_version(name, version.number, live=False)
        found[name] = held
    return found


def _version(store: Store, cells: CellList, cell: RunCell, run: str, name: str, versions: list[Version], held: RegisteredModel) -> str:
    """Number of the version of a cell's trained model, which is made where there is none."""
    manifest = identity(cell.records(cell.final))
    text = card(cells, cell)
    same = [version for version in versions if version.manifest == manifest]
    if not same:
        tags = {
            "manifest": manifest, "artifact": str(cell.model_folder(cell.final)), "model": cell.model, "tokenizer": cell.tokenizer, "method": cell.method,
            "recipe": cell.recipe, "seed": str(cell.seed), "bits_per_byte": f"{_bits(cell):.6g}", "pipeline.key": cell.key, LIVE: "true",
        }  # fmt: skip
        store.write_text(run, text, f"{cell.final}/card.md")
        number = store.add_version(name, run, cell.final, tags, text[:TEXT_LENGTH])
        # Somebody else may have registered it between looking and adding: the lowest number stays.
        same = [version for version in store.versions(name) if version.manifest == manifest]
        if same[0].number != number:
            store.remove_version(name, number)
        else:
            held.added.append(cell.key)
    else:
        if same[0].description != text[:TEXT_LENGTH]:
            store.describe_version(name, same[0].number, text[:TEXT_LENGTH])
        if not same[0].live:
            store.mark_version(name, same[0].number, live=True)
    return same[0].number


def _is_stale(version: Version, ranking: list[RunCell]) -> bool:
    return version.manifest not in {identity(cell.records(cell.final)) for cell in ranking}


def _bits(cell: RunCell) -> float:
    row = _bits_row(cell)
    return row.value if row else float("inf")


def _bits_row(cell: RunCell) -> Row | None:
    """Bits per byte of the model that is registered."""
    return bits_row(read_rows(cell, cell.final))
