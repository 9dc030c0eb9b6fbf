"""config/schema.json, generated from the models: editors complete and check every YAML file of config/ with it."""

from __future__ import annotations

import json
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


def reference() -> str:
    """docs/configuration.md: every field of every kind of file, with its default and meaning."""
    definitions = schema()["$defs"]
    lines = [
        "# Configuration",
        "",
        "Written by `make schema` from the models in `src/tokgraft/config/`; do not edit. Unknown keys are errors. Put",
        "`# yaml-language-server: $schema=../schema.json#/$defs/Language` on a file's first line and your editor completes and checks it.",
    ]
    for kind in KINDS:
        place = (
            f"`config/{kind.folder}/<slug>.yaml`" if kind is not Experiment else "`config/config.yaml`, `config/experiments/<slug>.yaml`"
        )
        lines += ["", f"## {kind.kind}", "", f"{place}. Schema: `#/$defs/{kind.__name__}`.", ""]
        lines += _fields(definitions[kind.__name__])
    own = {kind.__name__ for kind in KINDS}
    for name in sorted(set(definitions) - own):
        lines += ["", f"### {name}", "", " ".join(definitions[name].get("description", "").split()), "", *_fields(definitions[name])]
    return "\n".join(lines)


def _fields(definition: dict[str, Any]) -> list[str]:
    rows = ["| key | type | default | meaning |", "|---|---|---|---|"]
    required = set(definition.get("required", []))
    for name, field in definition.get("properties", {}).items():
        default = (
            "required" if name in required else f"`{json.dumps(field['default'], ensure_ascii=False)}`" if "default" in field else "empty"
        )
        rows.append(f"| `{name}` | {_type(field)} | {default} | {' '.join(field.get('description', '').split())} |")
    return rows


def _type(field: dict[str, Any]) -> str:
    if "$ref" in field:
        return str(field["$ref"].rsplit("/", 1)[1])
    if "const" in field:
        return f"`{field['const']}`"
    if "enum" in field:
        return " \\| ".join(f"`{value}`" for value in field["enum"])
    options = field.get("anyOf") or field.get("oneOf")
    if options:
        return " \\| ".join(_type(option) for option in options)
    if field.get("type") == "array":
        return f"list of {_type(field.get('items', {}))}"
    return str(field.get("type", "any"))
