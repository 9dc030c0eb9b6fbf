"""Every architecture of transformers behaves as docs/architectures.md says: moved right, or refused; never moved wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.models.architectures import Kind, kinds, outcome, recorded

KINDS = sorted(kinds(), key=str)


def test_the_table_has_every_kind_and_most_are_right() -> None:
    table = recorded()
    assert set(table) == set(map(str, KINDS))
    assert sum(what == "right" for what in table.values()) > 150


@pytest.mark.parametrize("kind", [kind for kind in KINDS if recorded().get(str(kind)) != "not tried"], ids=str)
def test_what_becomes_of_a_permuted_vocabulary(kind: Kind, tmp_path: Path) -> None:
    what, why = outcome(kind, tmp_path)
    assert what == recorded()[str(kind)], why
