"""The benchmark knows every method: what it requires is invented, what is made for the real case has settings."""

from __future__ import annotations

import numpy as np
import pytest

from tests.bench.german import SMALL, chains
from tests.bench.peers import PEERS
from tests.bench.synthetic import Invented
from tests.bench.tables import memory, speed
from tokgraft import methods, resources


def test_every_requirement_is_there() -> None:
    assert set(SMALL) == set(resources.RESOURCES.names())
    missing = {name for chain in chains() for name in methods.parse(chain).requires if not hasattr(Invented, name)}
    assert not missing, f"invent {missing} in tests/bench/synthetic.py"
    assert set(PEERS) <= set(methods.METHODS.names())


@pytest.mark.parametrize("chain", ["merge_tree", "focus", "cw2v"])
def test_invented_cases_run(chain: str) -> None:
    case = Invented(1024, 32)
    task = case.task(chain)
    assert len(task.source) == len(task.target) == 1024
    assert 0.2 < len(task.overlap) / 1024 < 0.8
    rows = methods.apply(chain, task, {})
    assert rows.input.shape == (1024, 32) and np.isfinite(rows.input).all()
    assert sum(way.how in ("combined", "trained", "mapped") for way in rows.provenance) > 300


def test_tables() -> None:
    row = {"ours": 2.0, "rows": 1.0, "read": 0.4, "runs": {}}
    peer = {**row, "peer": 8.0, "package": "p"}
    told = {"methods": {"a": {**peer, "excluded": ""}, "b": {**peer, "excluded": "overlap"}, "c": row, "d": {**peer, "excluded": "", "read": 1}},
            "tables": {"npy": 0.5}, "imports": {}, "reading": {}, "made": {}}  # fmt: skip
    text = speed(told)
    assert text.index("| `b` | 2.00 | 1.00 | p | 8.00 | **8.0** | 2.5 |") < text.index("| `a` | 2.00 | 1.00 | p | 8.00 | 4.0 | 2.5 |")
    assert "| 4.0 | **1.0** |" in text and "| `c` | 2.00 | 1.00 | 2.5 |" in text
    sizes = {"m": {"16": {"peak": 0.5, "cpu": 1}, "128": {"peak": 4.0, "cpu": 9}}, "n": {"128": {"failed": "killed"}}}
    assert "| `m` | 0.50 | 4.00 | 8.0 | 9 |" in memory(sizes) and "killed" in memory(sizes)
