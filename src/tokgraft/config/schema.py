"""config/schema.json, generated from the models: editors complete and check every YAML file of config/ with it."""

from __future__ import annotations

from typing import Any

from pydantic.json_schema import models_json_schema

from tokgraft.config.base import ConfigFile
from tokgraft.config.experiment import Experiment
from tokgraft.config.language import Language
from tokgraft.config.model import BaseModelConfig
from tokgraft.config.recipe import TrainingRecipe
from tokgraft.config.task import Task
from tokgraft.config.tokenizer import TokenizerRecipe

KINDS: tuple[type[ConfigFile], ...] = (Experiment, Language, BaseModelConfig, TokenizerRecipe, TrainingRecipe, Task)


def schema() -> dict[str, Any]:
    """One JSON schema; each kind of file is a definition, e.g. `schema.json#/$defs/Language`."""
    _, definitions = models_json_schema([(kind, "validation") for kind in KINDS], title="tokgraft configuration")
    return definitions
