"""What every configuration model shares: strictness, and reading from a file, a JSON text or a slug."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from tokgraft.config import bounds
from tokgraft.errors import ConfigError, near_matches, unknown

SLUG = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_+-]*$")


def as_slug(name: str, kind: str = "name") -> str:
    """A name that becomes part of a path, as it was given.

    Raises:
        ConfigError: It could lead elsewhere, or break a command line.
    """
    if not SLUG.fullmatch(name):
        raise ConfigError(f"{kind} {name!r} cannot be part of a path", "use letters, digits, _, - and +; the first a letter or a digit")
    return name


def _as_value_error(name: str) -> str:
    try:
        return as_slug(name)
    except ConfigError as error:
        raise ValueError(f"{error.what} ({error.do})") from None


Slug = Annotated[str, AfterValidator(_as_value_error)]
# A task of the harness; its samples get a file of this name.
HarnessName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+-]*$")]


class Strict(BaseModel):
    """A configuration model: unknown keys are errors, values do not change after validation."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _bounded(cls, data: Any) -> Any:
        return bounds.checked(data)


class ConfigFile(Strict):
    """A configuration model that lives in one file of `config/<folder>/`; the file's name is its slug."""

    folder: ClassVar[str] = ""
    kind: ClassVar[str] = ""

    @classmethod
    def parse(cls, data: Any, where: str) -> Self:
        """Validate `data`; a ConfigError says which key of `where` is wrong and what was expected."""
        if not isinstance(data, dict):
            raise ConfigError(f"{where}: expected keys and values, found {type(data).__name__}")
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            raise ConfigError(f"{where}: {_explain(error, cls)}", f"see docs/configuration.md, section {cls.kind}") from None

    @classmethod
    def load(cls, source: str, root: Path = Path("config")) -> Self:
        """Read from a JSON text, a YAML file, or the slug of a file below `root`.

        Raises:
            ConfigError: No such file or slug, or its content is wrong.
        """
        if source.lstrip().startswith("{"):
            try:
                data = json.loads(source)
            except json.JSONDecodeError as error:
                raise ConfigError(f"{cls.kind} given as JSON is not valid: {error}") from None
            return cls.parse(data, f"{cls.kind} given as JSON")
        path = Path(source)
        if path.suffix not in {".yaml", ".yml", ".json"}:
            path = Path(root) / cls.folder / f"{source}.yaml"
            if not path.is_file():
                raise unknown(cls.kind, source, slugs(cls.folder, root), f"{Path(root) / cls.folder}/")
        return cls.parse(read_yaml(path), str(path))

    def canonical(self) -> dict[str, Any]:
        """The resolved settings as JSON values, defaults included; a description is for people and decides nothing."""
        return self.model_dump(mode="json", exclude={"description"})


def slugs(folder: str, root: Path = Path("config")) -> list[str]:
    """The slugs that exist as files in `config/<folder>/`."""
    return sorted(path.stem for path in (Path(root) / folder).glob("*.yaml"))


def read_yaml(path: Path) -> Any:
    """The content of a YAML file.

    Raises:
        ConfigError: It cannot be read or parsed.
    """
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not valid YAML: {error}") from None


def _explain(error: ValidationError, model: type[BaseModel]) -> str:
    parts = []
    for problem in error.errors():
        place = ".".join(str(part) for part in problem["loc"])
        text = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            known = _fields(model, problem["loc"][:-1])
            near = near_matches(str(problem["loc"][-1]), known)
            text = "unknown key" + (f" (did you mean {' or '.join(near)}?)" if near else f" (known: {', '.join(known)})" if known else "")
        parts.append(f"{place}: {text}" if place else text)
    return "; ".join(parts)


def _fields(model: type[BaseModel], place: tuple[int | str, ...]) -> list[str]:
    """Field names of the (nested) model that `place` leads to, as far as it can be followed."""
    names: set[str] = set()
    pending = [(model, place)]
    while pending:
        current, rest = pending.pop()
        while rest and not (isinstance(rest[0], str) and rest[0] in current.model_fields):
            rest = rest[1:]
        if not rest:
            names.update(current.model_fields)
            continue
        for inner in _models(current.model_fields[str(rest[0])].annotation):
            pending.append((inner, rest[1:]))
    return sorted(names)


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in getattr(annotation, "__args__", ()) for model in _models(part)]
