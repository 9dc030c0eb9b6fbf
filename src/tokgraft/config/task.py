"""An evaluation task."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from tokgraft.config.base import ConfigFile


class Task(ConfigFile):
    """One file of config/tasks/."""

    folder: ClassVar[str] = "tasks"
    kind: ClassVar[str] = "task"

    builder: str = Field(description="How items are made: bits_per_byte, heading, continuation, translation (from held-out pages), "
                         "or hub (tasks of the harness by name).")  # fmt: skip
    language: str = Field(
        "target", description="`target`: the cell's language; `english`: English (forgetting).", pattern="^(target|english)$"
    )
    max_items: int = Field(200, ge=1, description="Most items, chosen by hash order.")
    max_bytes: int | None = Field(None, ge=1, description="Most bytes of text in all (bits_per_byte).")
    item_bytes: int = Field(500, ge=40, description="Longest text of one item in bytes.")
    names: list[str] = Field(default_factory=list, description="Names of harness tasks (builder hub); empty: those of the language file.")
    template: str | None = Field(
        None, description="Harness template in config/lm_eval/ (default: the builder's).", pattern=r"^[A-Za-z0-9_-]+$"
    )
    description: str = Field("", description="What it measures.")
