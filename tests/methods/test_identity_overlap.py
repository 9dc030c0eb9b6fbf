"""`identity_overlap`: copies and draws."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import toys
import toytasks
from tokgraft import methods
from tokgraft.errors import ConfigError


@pytest.mark.parametrize("tied", [True, False])
def test_overlap_is_copied_and_the_rest_has_the_moments_asked_for(tied: bool) -> None:
    task = toytasks.task("identity_overlap", toys.tokenizer("byte_level"), toys.tokenizer("sp_bpe", 600, "both"), tied=tied)
    plain, small = methods.apply("identity_overlap", task, {}), methods.apply("identity_overlap", task, {"std": 0.02})
    drawn = [number for number, way in enumerate(plain.provenance) if way.how == "random"]
    assert len(drawn) > 100 and set(drawn) == set(task.target.ids) - set(task.overlap)
    for number, match in task.overlap.items():
        assert np.array_equal(plain.input[number], task.E[match.source]) and np.array_equal(small.input[number], task.E[match.source])
    assert abs(plain.input[drawn].mean() - task.E.mean()) < 0.05 and abs(plain.input[drawn].std() / task.E.std() - 1) < 0.05
    assert abs(small.input[drawn].mean()) < 0.002 and abs(small.input[drawn].std() - 0.02) < 0.001


def test_nothing_in_common_leaves_only_draws() -> None:
    task = toytasks.task("identity_overlap", toys.tokenizer("byte_level"), toys.tokenizer("sp_bpe", 600, "both"))
    target = replace(
        task.target,
        tokens=tuple(replace(task.target[n], text="→".encode() + task.target[n].text, kind="normal", roles=()) for n in task.target.ids),
    )
    rows = methods.apply("identity_overlap", replace(task, target=target), {})
    assert {row.how for row in rows.provenance} == {"random"}
    with pytest.raises(ConfigError, match="std"):
        methods.parse("identity_overlap", {"std": 0})
