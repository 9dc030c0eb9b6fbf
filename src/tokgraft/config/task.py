"""An evaluation task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from tokgraft.config import bounds, harness_files
from tokgraft.config.base import ConfigFile, HarnessTask
from tokgraft.errors import ConfigError


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

    @model_validator(mode="after")
    def _one_file_of_a_name(self) -> Self:
        called = [harness_files.label(name) for name in self.names]
        if twice := [name for name in called if called.count(name) > 1]:
            raise ValueError(f"names: {twice[0]} stands twice (files are told apart by their own name)")
        return self

    def of_language(self, slug: str, hub_tasks: Sequence[str]) -> Self:
        """The task with the harness tasks of a language, where it is of the builder hub and names none itself.

        Args:
            slug: The language.
            hub_tasks: What the language's file names.

        Raises:
            ConfigError: That file names a file, whose content nothing would follow.
        """
        if self.builder != "hub" or self.names:
            return self
        if strange := [name for name in hub_tasks if name.endswith(harness_files.SUFFIX)]:
            raise ConfigError(
                f"the language file of {slug} names the file {strange[0]} as a harness task", "name it in a file of config/tasks/"
            )
        return self.model_copy(update={"names": list(hub_tasks)})

    @property
    def own_files(self) -> list[str]:
        """Harness task files of the user's own."""
        return [name for name in self.names if name.endswith(harness_files.SUFFIX)]

    def recorded(self) -> dict[str, Any]:
        """The settings without paths of this machine: files of the user's own are told by name and content.

        Raises:
            ConfigError: Such a file, or one that it includes, is missing or damaged.
        """
        settings = self.canonical() | {"names": [harness_files.label(name) for name in self.names]}
        contents = {harness_files.label(name): harness_files.digest(name) for name in self.own_files}
        return settings | ({"files": contents} if contents else {})
