"""Shares of the rows by where they come from."""

from __future__ import annotations

from typing import get_args

from tokgraft.reporting import figures, origins
from tokgraft.rows.contract import How


def test_every_way_that_a_row_is_made_has_its_place_in_shares_and_in_the_figure() -> None:
    ways = set(get_args(How))
    assert set(origins.COPIED) < ways
    assert set(figures.PROVENANCE) == {"copied", *(ways - set(origins.COPIED))}
