"""An evaluation task."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from tokgraft.config import bounds
from tokgraft.config.base import ConfigFile, HarnessTask


class Task(ConfigFile):
    """One file of config/tasks/."""

    folder: ClassVar[str] = "tasks"
    kind: ClassVar[str] = "task"

    builder: str = Field(description="How items are made: bits_per_byte, heading, continuation, translation (from held-out pages), "
                         "or hub (tasks of the harness by name).")  # fmt: skip
    language: Literal["target", "english"] = Field("target", description="`target`: the cell's language; `english`: English (forgetting).")
    max_items: int = Field(200, ge=1, le=bounds.ITEMS, description="Most items, chosen by hash order.")
    max_bytes: int | None = Field(None, ge=1, le=bounds.BYTES, description="Most bytes of text in all (bits_per_byte).")
    item_bytes: int = Field(500, ge=40, le=bounds.BYTES, description="Longest text of one item in bytes.")
    names: list[HarnessTask] = Field(
        default_factory=list,
        description="Harness tasks by name, or files of your own (.yaml) (builder hub); empty: those of the language file.",
    )
    template: str | None = Field(
        None, description="Harness template in config/lm_eval/ (default: the builder's).", pattern=r"^[A-Za-z0-9_-]+$"
    )
    description: str = Field("", description="What it measures.")
