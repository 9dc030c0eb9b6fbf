"""The rankings as a text: what the console shows at the end of a run."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from tokgraft.cells import CellList, load_cells
from tokgraft.frame import read_frame
from tokgraft.reporting.ranking import Ranking, rankings
from tokgraft.reporting.text import SHOWN, text

CELLS = Path("results/experiments/demo/cells.json")


@pytest.fixture
def ranked(project: Path) -> tuple[CellList, list[Ranking]]:
    cells = load_cells(CELLS)
    return cells, rankings(read_frame(cells))


def test_models_stand_in_order_and_the_control_is_marked(ranked: tuple[CellList, list[Ranking]]) -> None:
    cells, found = ranked
    said = text(cells, found)
    assert "Pocket · German: bits per byte of 40 pages (bpb, 1 seed) with 95% intervals, fewer are better\n" in said
    for ranking, block in zip(found, said.split("\n\n"), strict=True):
        lines = block.strip().split("\n")[1:-1]
        assert [line.split()[0] for line in lines] == [str(place) for place in range(1, len(ranking.entries) + 1)]
        for line, entry in zip(lines, ranking.entries):
            assert entry.name in line and f"{entry.bits.mean:.3f} [" in line and len(line) < 120
            assert line.endswith("<- original tokenizer") == (entry.combination.keeps_tokenizer)
            assert (f"{entry.behind.mean:+.3f}" in line) if entry.behind else ("+" not in line.split("]")[1])


def test_what_cannot_be_told_apart_is_said(ranked: tuple[CellList, list[Ranking]]) -> None:
    cells, found = ranked

    def tied(count: int) -> Ranking:
        entries = [
            dataclasses.replace(entry, behind=dataclasses.replace(entry.behind, low=-0.1, high=0.2))
            if entry.behind and place <= count
            else entry
            for place, entry in enumerate(found[0].entries)
        ]
        return dataclasses.replace(found[0], entries=tuple(entries))

    some, every = text(cells, [tied(2)]), text(cells, [tied(99)])
    assert (
        some.count("not told apart\n") == 2 and "7 of 9 are behind the first beyond their interval; 2 cannot be told apart from it." in some
    )
    assert "No order can be claimed: no difference to the first excludes 0." in every and "are behind" not in every


def test_a_long_ranking_is_cut_and_still_shows_the_original(ranked: tuple[CellList, list[Ranking]]) -> None:
    cells, found = ranked
    others = [entry for entry in found[0].entries if not entry.combination.keeps_tokenizer]
    control = next(entry for entry in found[0].entries if entry.combination.keeps_tokenizer)
    said = text(cells, [dataclasses.replace(found[0], entries=(*others * 3, control))])
    assert said.count("bpe8k") == SHOWN and "25  none" in said and "and 12 more, in ranking.csv" in said


def test_nothing_to_rank(ranked: tuple[CellList, list[Ranking]]) -> None:
    cells, found = ranked
    assert text(cells, []) == "No ranking: nothing was scored in bits per byte.\n"
    assert "One model: there is nothing to rank." in text(cells, [dataclasses.replace(found[0], entries=found[0].entries[:1])])
