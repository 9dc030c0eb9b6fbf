"""Finished artifacts outside this folder: DVC keeps their bytes, `snakemake.lock` what Snakemake knew of them.

No job of the workflow imports these modules: they are called after a run (`tokgraft push`) or before one (`tokgraft pull`).
"""

from __future__ import annotations

from tokgraft.errors import TokgraftError
from tokgraft.masking import masked


class StoreError(TokgraftError):
    """Artifacts cannot be recorded, pushed or pulled. Passwords in the address of a remote are masked, whoever wrote the message."""

    def __init__(self, what: str, do: str = "") -> None:
        super().__init__(masked(what), masked(do))
