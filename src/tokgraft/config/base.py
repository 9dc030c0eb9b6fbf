"""What every configuration model shares: strictness, and reading from a file, a JSON text or a slug."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from tokgraft import jsonl
from tokgraft.config import bounds, strict_yaml
from tokgraft.errors import ConfigError, near_matches, unknown

SLUG = re.compile(r"[A-Za-z0-9][A-Za-z0-9_+-]*\Z")
"""A name that can stand in paths, wildcards and commands as it is; use it with `match`. (`$` would let a line feed end it.)"""
SUFFIXES = {".yaml", ".yml", ".json"}
NO_CHECKOUT = "run in a copy of the project: the folder that holds config/ and workflow/"


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
HARNESS_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.+-]*$"
HarnessName = Annotated[str, Field(pattern=HARNESS_NAME)]
# The same, or a task file of the user's own, whose name for its samples is checked when the file has been read.
HarnessTask = Annotated[str, Field(pattern=rf"{HARNESS_NAME}|^[^\n\r\u2028]+\.yaml$")]


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
            where = f"the {cls.kind} given as JSON"
            return cls.parse(jsonl.parse(source, where, "correct it", error=ConfigError, unique=True), where)
        path = Path(source)
        if path.suffix not in SUFFIXES:
            if source not in (known := slugs(cls.folder, root)):
                raise unknown(cls.kind, source, known, f"{Path(root) / cls.folder}/", cls.aliases(root))
            path = Path(root) / cls.folder / f"{source}.yaml"
        elif not path.exists():
            raise _missing(path)
        return cls.parse(read_yaml(path), str(path))

    @classmethod
    def aliases(cls, root: Path = Path("config")) -> dict[str, list[str]]:
        """Other words by which somebody may ask for a file, in small letters -> the slugs that they stand for."""
        return {}

    def canonical(self) -> dict[str, Any]:
        """The resolved settings as JSON values, defaults included; a description is for people and decides nothing."""
        return self.model_dump(mode="json", exclude={"description"})


def slugs(folder: str, root: Path = Path("config")) -> list[str]:
    """The slugs that exist as files in `config/<folder>/`; hidden files (an editor's) are none.

    Raises:
        ConfigError: There is no such folder `config`, or the name of a file there is no slug: it would become part of paths and of commands.
    """
    if not Path(root).is_dir():
        raise ConfigError(f"there is no folder {root} in {Path.cwd()}", NO_CHECKOUT)
    found = sorted(path for path in (Path(root) / folder).glob("*.yaml") if not path.name.startswith("."))
    for path in found:
        if not SLUG.match(path.stem):
            raise ConfigError(
                f"{path.parent} holds a file named {path.name!r}, which is no slug",
                "rename it: letters, digits, _, - and + only, beginning with a letter or a digit",
            )
    return [path.stem for path in found]


def _missing(path: Path) -> ConfigError:
    """What to do about a file that does not exist: its near matches, or the way to a checkout."""
    if path.parts[0] == "config" and not Path("config").is_dir():
        return ConfigError(f"there is no folder config in {Path.cwd()}", NO_CHECKOUT)
    there = {other.stem: str(other) for folder in ("config", "config/experiments", path.parent) for other in Path(folder).glob("*.yaml")}
    near = [there[stem] for stem in near_matches(path.stem, there)]
    return ConfigError(f"{path} does not exist", f"did you mean {' or '.join(near)}?" if near else "see config/ for what there is")


def read_yaml(path: Path) -> Any:
    """The content of a YAML file; an empty one has no keys.

    Raises:
        ConfigError: It cannot be read or parsed.
    """
    found = strict_yaml.read(path)
    return {} if found is None else found


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
