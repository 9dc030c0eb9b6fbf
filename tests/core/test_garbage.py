"""Looking for garbage rarely ends with the work that it is for, also where that fails."""

from __future__ import annotations

import gc

import pytest

from tokgraft.garbage import THRESHOLDS, rarely_collected


def test_the_thresholds_of_the_caller_come_back() -> None:
    before = gc.get_threshold()

    @rarely_collected()
    def work(fail: bool) -> tuple[int, ...]:
        if fail:
            raise ValueError("broken")
        return gc.get_threshold()

    assert work(False) == THRESHOLDS != before == gc.get_threshold()
    with pytest.raises(ValueError, match="broken"):
        work(True)
    assert gc.get_threshold() == before
