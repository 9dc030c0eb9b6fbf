"""`factorized_overlap` beside numpy's decomposition."""

from __future__ import annotations

import numpy as np
import pytest

import toys
import toytasks
from tokgraft import methods
from tokgraft.errors import ConfigError


@pytest.mark.parametrize("rank", [1, 5, 24, 100])
def test_overlap_has_the_best_approximation_of_its_rank(rank: int) -> None:
    source, target = toys.tokenizer("byte_level"), toys.tokenizer("sp_bpe", 600, "both")
    task = toytasks.task("factorized_overlap", source, target, tied=False)
    rows = methods.apply("factorized_overlap", task, {"rank": rank})
    assert rows.output is not None
    for new, table in ((rows.input, task.E), (rows.output, task.U)):
        u, s, v = np.linalg.svd(table.astype(np.float64), full_matrices=False)
        near = (u[:, :rank] * s[:rank]) @ v[:rank]
        copied = [number for number, way in enumerate(rows.provenance) if way.how == "copied"]
        assert len(copied) > 100
        assert np.allclose(new[copied], near[[task.overlap[number].source for number in copied]], atol=2e-5)
        drawn = [number for number, way in enumerate(rows.provenance) if way.how == "random"]
        assert np.linalg.matrix_rank(new[copied + drawn], tol=1e-3) == min(rank, 24)
        coordinates = new[drawn] @ v[:rank].T
        assert np.allclose(coordinates.std(axis=0), (u[:, :rank] * s[:rank]).std(axis=0), rtol=0.3)
        for number in task.target.special_ids:
            if number in task.overlap:
                assert np.array_equal(new[number], table[task.overlap[number].source])
    assert rows.stats["rank"] == min(rank, 24)


def test_bad_rank_is_explained() -> None:
    with pytest.raises(ConfigError, match="rank"):
        methods.parse("factorized_overlap", {"rank": 0})
