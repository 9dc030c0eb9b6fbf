"""The card of an adapted model: what it is, how good, made from what, how to load it. Markdown."""

from __future__ import annotations

from collections.abc import Iterator

from tokgraft import artifacts
from tokgraft.cells import CellList, RunCell, identities, missing, read_json
from tokgraft.config.layout import CONTROL
from tokgraft.score_rows import main_row, read_rows


def card(cells: CellList, cell: RunCell) -> str:
    """The card of a cell's last model: the trained one, or the transplanted one where the cell is zero-shot."""
    hashes = identities(cell)
    language, model = cells.name("languages", cell.language), cells.name("models", cell.model)
    trained = f" and trained on {language} text by the recipe `{cell.recipe}`" if cell.final == "trained" else ""
    lines = [
        f"# {language}: {model} with the vocabulary {cell.tokenizer}",
        "",
        f"{model} was moved onto the tokenizer `{cell.tokenizer}` by `{cell.method}` (seed {cell.seed}){trained},"
        f" in the experiment `{cells.experiment}`.",
        "",
        *_scores(cells, cell),
        "",
        "```python",
        f'AutoModelForCausalLM.from_pretrained("{cell.model_folder(cell.final)}")',
        "```",
        "",
        "| made from | folder | manifest |",
        "|---|---|---|",
        *(
            f"| {name} | `{getattr(cell.paths, role)}` | `{hashes[role][:16]}` |"
            for name, role in (
                ("this model", "trained"), ("after the transplant", "init"), ("base model", "base"), ("tokenizer", "tokenizer"),
                ("text", "corpus"), ("English text", "english"),
            )
            if role in hashes
        ),
        "",
        *_licences(cells, cell),
    ]  # fmt: skip
    return "\n".join(lines).rstrip() + "\n"


def _scores(cells: CellList, cell: RunCell) -> Iterator[str]:
    """A row for each task and a column for each stage, beside the original model with the same training."""
    control = next(
        (one for one in cells.cells if one.method == CONTROL and (one.model, one.language, one.recipe, one.seed)
         == (cell.model, cell.language, cell.recipe, cell.seed) and missing(one.score_folder(one.final)) is None), None,
    )  # fmt: skip
    columns = [(read_rows(cell, stage), stage) for stage in cell.stages]
    heads = ["after the transplant", "after training"][: len(columns)]
    last = [row for row in columns[-1][0] if row.main and row.stage == cell.final]
    if control:
        columns.append((read_rows(control, control.final), control.final))
        heads.append("own vocabulary, trained alike" if cell.final == "trained" else "own vocabulary")
    yield f"| held-out score | {' | '.join(heads)} |"
    yield "|---" * (len(heads) + 1) + "|"
    for row in last:
        found = [main_row(rows, row.task, stage) for rows, stage in columns]
        values = [f"{one.value:.4g}" if one else "n/a" for one in found]
        yield f"| {row.task} ({row.metric}{f', chance {row.chance:.2g}' if row.chance is not None else ''}) | {' | '.join(values)} |"


def _licences(cells: CellList, cell: RunCell) -> Iterator[str]:
    if licence := cells.licences.get(cell.model):
        yield f"- licence of the base model: {licence}"
    for role, folder in (("text", cell.paths.corpus), ("English text", cell.paths.english)):
        if (
            artifacts.is_artifact(folder)
            and (folder / "card.json").is_file()
            and (licence := read_json(folder / "card.json").get("licence"))
        ):
            yield f"- licence of the {role}: {licence}"
